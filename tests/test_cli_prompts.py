"""Searches for prompts and the report on a run from the command line: what is said, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import yaml

from studio import cli
from studio.cli_prompts import _ending, leaderboard
from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Done, Saved, StepDone
from studio.optimiser import Optimiser
from studio.parts import parts
from studio.prompt import Prompt
from studio.prompter import finish
from studio.study import Study, StudySettings, begin, unfinished
from studio.workspace import Workspace
from studio.worth import examine
from tests.coached import Coached, right, rows, write_rows

SIZES = {"pool_rows": 40, "search_rows": 12, "select_rows": 8, "sealed_rows": 8, "max_new_tokens": 2}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A search that a tiny model ends in a moment."""
    source = write_rows(tmp_path / "things.jsonl", rows())
    strategy = {"name": "random_examples", "sets": 2, "shots": 1}
    return {
        "model": "tiny",
        "dataset": {"source": source},
        "rewards": {"similarity": {}},
        "strategy": strategy,
        **SIZES,
    }


def command(workspace: Workspace, *arguments: str) -> int:
    return cli.main(lambda *_: None, ["--workspace", str(workspace.root), *arguments])


def searched(workspace: Workspace, settings: dict[str, Any]) -> Study:
    study = begin(workspace, StudySettings.parse(settings))
    Optimiser(study, parts(workspace, study.settings), Coached(rows()), right, lambda asked, look: "").run()
    return study


def test_a_search_tells_how_it_goes_and_leaves_the_best_prompt_behind(
    workspace: Workspace, tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "prompts.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    left = begin(workspace, StudySettings.parse(settings))  # as somebody leaves it who goes at once
    assert command(workspace, "prompts", str(config), "--resume") == 0
    told = capsys.readouterr().out.splitlines()
    (folder,) = workspace.studies.iterdir()
    assert told[-1] == str(folder) == str(left.binder.folder)
    assert {"Searching ...", "Choosing among the best ...", "Opening the sealed rows ..."} <= set(told)
    assert any(line.startswith("1.") for line in told)
    study = Study(left.binder)
    assert study.best
    assert study.verdict
    assert study.verdict.words in told
    assert Prompt.parse(yaml.safe_load((folder / "best.yaml").read_text(encoding="utf-8"))) == study.best.prompt
    assert (folder / "best.txt").read_text(encoding="utf-8") == study.best.prompt.to_text()


def test_the_leaderboard_has_a_line_a_prompt_the_best_first(workspace: Workspace, settings: dict[str, Any]) -> None:
    study = searched(workspace, settings)
    end, _, heading, *lines, _ = leaderboard(study)
    assert end.startswith("It tried all that its strategy had to try.")
    assert heading.split() == ["chosen", "by", "likelihood", "tokens", "prompt"]
    assert len(lines) == min(10, len(study.tried))
    assert [line.split()[0] for line in lines] == [f"{place}." for place in range(1, len(lines) + 1)]
    assert any(line.endswith("the first one") for line in lines)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rewards": {}}, "Nothing says what a good answer is"),
        ({"rewards": {"exat": {}}}, "'exat' is not a known reward"),
        ({"calls": 3}, "calls leave none to search with"),
        ({"prompt": {"template": "Answer!"}}, "has no placeholder"),
        ({"run": "nothing"}, "no such run"),
        ({"minuets": 3}, "'minuets' is not a setting"),
        (None, "There is no file"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence_and_leaves_nothing(
    workspace: Workspace,
    tmp_path: Path,
    settings: dict[str, Any],
    change: dict[str, Any] | None,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "prompts.yaml"
    if change is not None:
        config.write_text(yaml.safe_dump({**settings, **change}), encoding="utf-8")
    assert command(workspace, "prompts", str(config)) == 1
    told = capsys.readouterr()
    assert problem in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out
    assert not workspace.studies.exists()


def test_another_config_s_search_and_a_finished_one_are_not_gone_on_with(
    workspace: Workspace, settings: dict[str, Any]
) -> None:
    chosen = StudySettings.parse(settings)
    searched(workspace, settings)
    begin(workspace, StudySettings.parse({**settings, "seed": 1}))
    assert unfinished(workspace, chosen) is None
    study = begin(workspace, chosen)
    found = unfinished(workspace, chosen)
    assert found
    assert found.binder.name == study.binder.name


def test_two_processes_do_not_go_on_with_one_search(workspace: Workspace, settings: dict[str, Any]) -> None:
    study = begin(workspace, StudySettings.parse(settings))
    held = filelock.FileLock(study.binder.folder / "lock", is_singleton=False)
    with held, pytest.raises(RunError, match="under way already"):
        finish(workspace, study)
    assert not study.calls


def test_ctrl_c_asks_once_and_leaves_at_the_second(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with _ending(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == [1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert asked == [1]
    assert signal.getsignal(signal.SIGINT) == before
    assert "--resume" in capfd.readouterr().out


def test_what_was_measured_of_a_run_is_said_at_once(
    workspace: Workspace,
    settings: dict[str, Any],
    tiny_config: Callable[..., RunConfig],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = workspace.new_run("things")
    tiny_config(dataset={"source": settings["dataset"]["source"], "validation_share": 0.4}).save(folder.config)
    folder.adapter.mkdir()
    step = StepDone(step=4, total_steps=4, seconds=90.0, tokens=9, metrics={"loss": 1.0})
    for event in (step, Saved(step=4, size=9), Done()):
        folder.events.append(event)
    examine(workspace, folder.id, lambda tuned, rewards: (Coached(rows()), right))
    assert command(workspace, "worth", str(folder.path)) == 0
    told = capsys.readouterr().out
    assert "Base, plain prompt\n" in told
    assert "Fine-tuning did not make it better" in told
    assert "Tuned, optimised prompt: No search for a prompt has ended" in told
    assert "--again" not in told
    searched(workspace, {**settings, "run": folder.id, "tuned": False, "calls": 1000})
    assert command(workspace, "worth", folder.id) == 0
    assert "--again measures anew" in capsys.readouterr().out
    assert command(workspace, "worth", folder.id, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["outdated"]
    assert [each["key"] for each in report["lines"]] == ["base", "base_prompt", "tuned", "tuned_prompt"]
    assert command(workspace, "worth", "nothing") == 1
    assert "no such run" in capsys.readouterr().err
