"""Base and tuned model with the plain and the searched prompt: the same unseen rows for all, measured once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.data.turns import Message
from studio.errors import DatasetError, ModelError, RunError
from studio.events import Done, Saved, StepDone
from studio.optimiser import Optimiser
from studio.parts import parts
from studio.prompt import Prompt
from studio.recommend import recommend
from studio.rewards import Reward
from studio.study import Study, StudySettings, begin
from studio.workspace import Workspace
from studio.worth import ALONE, Goal, Key, Side, examine, known, measure, outdated, plan
from tests.coached import Coached, right, rows, write_rows

Make = Callable[..., RunConfig]


class Learnt(Coached):
    """Knows most by heart, whatever it is shown."""

    def _skill(self, messages: Sequence[Message]) -> float:
        return 0.8


class Models:
    """Hands out the two, and remembers what each was asked."""

    def __init__(self) -> None:
        self.base, self.tuned = Coached(rows()), Learnt(rows())
        self.rewards: Mapping[str, Reward] = {}

    def __call__(self, tuned: bool, rewards: Mapping[str, Reward]) -> tuple[Coached, Goal]:
        self.rewards = rewards
        return self.tuned if tuned else self.base, right


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path, tiny_config: Make) -> str:
    """One that has ended; a third of its rows were held out."""
    source = write_rows(tmp_path / "things.jsonl", rows())
    folder = workspace.new_run("things")
    tiny_config(dataset={"source": source, "validation_share": 0.4}).save(folder.config)
    folder.adapter.mkdir()
    folder.events.append(StepDone(step=4, total_steps=4, seconds=90.0, tokens=1234, metrics={"loss": 1.0}))
    folder.events.append(Saved(step=4, size=2_000_000, peak_memory=1.5))
    folder.events.append(Done())
    return folder.id


def search(workspace: Workspace, run: str, speaker: Coached | None = None, **changes: Any) -> Study:
    """A finished one."""
    chosen = {"run": run, "rewards": {"exact": {}}, "search_rows": 12, "select_rows": 8, "sealed_rows": 64, **changes}
    study = begin(workspace, StudySettings.parse({"tuned": False, **chosen}))
    Optimiser(study, parts(workspace, study.settings), speaker or Coached(rows()), right, lambda asked, look: "").run()
    return study


def questions(speaker: Coached) -> set[str]:
    return {said[-1] for _, said in speaker.asked}


def test_without_a_search_the_plain_prompt_is_measured_and_the_rest_says_how_to_get_it(
    workspace: Workspace, run: str
) -> None:
    assert known(workspace, run) is None
    models = Models()
    report = examine(workspace, run, models)
    assert list(models.rewards) == ["similarity"]  # which suits answers of a few words
    base, tuned = report.side("base"), report.side("tuned")
    assert base
    assert tuned
    assert tuned.mean > base.mean
    switches: dict[Key, str] = {"base_prompt": "false", "tuned_prompt": "true"}
    for key, switch in switches.items():
        line = report.line(key)
        assert line.side is None
        assert f"'tuned: {switch}'" in line.note
    assert report.training.model_dump() == {"seconds": 90.0, "tokens": 1234, "memory": 1.5, "size": 2_000_000}
    assert recommend(report).outcome == "untried"
    assert known(workspace, run) == report
    assert not outdated(workspace, run, report)


def test_all_four_answer_the_rows_that_searches_left_sealed(workspace: Workspace, run: str) -> None:
    found = search(workspace, run)
    search(workspace, run, Learnt(rows()), tuned=True)
    assert found.best
    assert found.best.prompt.demonstrations
    models = Models()
    report = examine(workspace, run, models)
    sealed = {each.fields["row"] for each in parts(workspace, found.settings).sealed}
    assert questions(models.base) == questions(models.tuned) == sealed
    assert report.rows == len(sealed)
    prompted, base = report.side("base_prompt"), report.side("base")
    assert prompted
    assert base
    assert prompted.mean > base.mean
    assert prompted.prompt_tokens > base.prompt_tokens
    assert report.line("base_prompt").study == found.binder.name
    assert all(len(each.side.scores) == report.rows for each in report.lines if each.side)


def test_a_prompt_that_two_lines_share_is_asked_once(workspace: Workspace, run: str) -> None:
    search(workspace, run, Learnt(rows()), tuned=True)  # nothing that it is shown helps it
    models = Models()
    report = examine(workspace, run, models)
    assert report.line("tuned_prompt").prompt == report.line("tuned").prompt == Prompt()
    assert report.side("tuned_prompt") == report.side("tuned")
    assert "nothing better" in report.line("tuned_prompt").note
    assert len(models.tuned.asked) == report.rows + ALONE


def test_rows_that_one_of_two_searches_looked_at_are_left_out(workspace: Workspace, run: str) -> None:
    base, tuned = search(workspace, run), search(workspace, run, tuned=True, seed=1)
    sealed = [{each.fields["row"] for each in parts(workspace, one.settings).sealed} for one in (base, tuned)]
    assert sealed[0] != sealed[1]
    asked = {each.fields["row"] for each in plan(workspace, run).examples}
    assert asked == sealed[0] & sealed[1]


def test_two_searches_that_share_too_few_sealed_rows_are_not_compared(workspace: Workspace, run: str) -> None:
    search(workspace, run, sealed_rows=4)
    search(workspace, run, tuned=True, seed=3, sealed_rows=4)
    with pytest.raises(DatasetError, match="share too few sealed rows"):
        plan(workspace, run)


def test_a_later_search_makes_what_was_measured_old_and_an_unfinished_one_does_not(
    workspace: Workspace, run: str
) -> None:
    report = examine(workspace, run, Models())
    begin(workspace, StudySettings.parse({"run": run, "tuned": False, "rewards": {"exact": {}}}))
    assert not outdated(workspace, run, report)
    search(workspace, run)
    assert outdated(workspace, run, report)
    assert not outdated(workspace, run, examine(workspace, run, Models()))


def test_whoever_leaves_amid_it_keeps_what_was_known(workspace: Workspace, run: str) -> None:
    class Left(Exception):
        pass

    report = examine(workspace, run, Models())
    told: list[tuple[float, float]] = []

    def tell(doing: str, done: float, total: float) -> None:
        told.append((done, total))
        if done > report.rows:
            raise Left

    with pytest.raises(Left):
        examine(workspace, run, Models(), tell)
    assert known(workspace, run) == report
    assert told[-1][1] == 2 * (report.rows + ALONE)


def test_a_report_that_somebody_damaged_is_measured_anew(workspace: Workspace, run: str) -> None:
    examine(workspace, run, Models())
    path = workspace.run(run).worth
    for text in ("{", "[]", json.dumps({"title": 1})):
        path.write_text(text, encoding="utf-8")
        assert known(workspace, run) is None


def test_what_cannot_be_measured_is_refused_in_a_sentence(workspace: Workspace, run: str, tiny_config: Make) -> None:
    for name in ("nothing", "../things"):
        with pytest.raises(RunError, match="no such run"):
            known(workspace, name)
        with pytest.raises(RunError, match="no such run"):
            plan(workspace, name)
    labels = workspace.new_run("labels")
    tiny_config(objective={"name": "classify"}).save(labels.config)
    with pytest.raises(RunError, match="does not answer in words"):
        plan(workspace, labels.id)
    workspace.run(run).adapter.rmdir()
    with pytest.raises(ModelError, match="saved no adapter"):
        plan(workspace, run)


def test_rows_that_do_not_fit_count_as_unanswered(workspace: Workspace, run: str) -> None:
    examples = plan(workspace, run).examples
    lengths = sorted(len(each.fields["row"]) for each in examples)
    told: list[int] = []
    side = measure(Learnt(rows(), window=lengths[-3] - 1), right, Prompt(), examples, 8, told.append)
    assert side.left_out == sum(each >= lengths[-3] for each in lengths) >= 3
    assert len(side.scores) == len(examples)
    assert side.prompt_tokens < lengths[-3]
    assert told[-1] == len(examples) + ALONE
    with pytest.raises(DatasetError, match="None of the"):
        measure(Learnt(rows(), window=1), right, Prompt(), examples, 8)


def test_a_side_says_how_sure_its_mean_is() -> None:
    side = Side(scores=(0.0, 1.0) * 20, prompt_tokens=9, answer_tokens=1, seconds=0.1, memory=0)
    low, high = side.interval
    assert 0.3 < low < side.mean == 0.5 < high < 0.7
    assert side.tokens == 10
