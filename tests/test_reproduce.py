"""What a run was made of is told, the same of it gives the same again, and what changed is named."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio import __version__
from studio.again import again
from studio.config import RunConfig
from studio.data import changes, library
from studio.data.draft import Draft
from studio.differences import circumstances, differences
from studio.errors import DatasetError
from studio.events import DataReady, Done, EvalDone, Made, StepDone
from studio.jobs import Jobs
from studio.made import changes as made_changes
from studio.store import State, Store, wait_for_end
from studio.workspace import RunFolder, Workspace
from tabs import runs
from tabs._live import payload
from tabs._versus import overlay_payload

MADE = Made(
    rows="a" * 64,
    held_out="b" * 64,
    studio="1",
    python="3.11.1",
    packages={"torch": "2.12.0", "peft": "0.21.2"},
    system="Linux x86_64",
    processor="A",
    gpu="",
    threads=2,
    products="",
    padded="",
)


def trained(jobs: Jobs, config: RunConfig) -> State:
    state = wait_for_end(jobs.store, jobs.submit(config), timeout=120)
    assert state.status == "done", state.problem
    return state


def numbers(folder: RunFolder) -> list[tuple[int, dict[str, float]]]:
    """All losses, gradient norms and scores."""
    aside = ("tokens_per_second", "memory")
    return [
        (event.step, {name: value for name, value in event.metrics.items() if name not in aside})
        for event in folder.events.read_from()[0]
        if isinstance(event, StepDone | EvalDone)
    ]


def changed(path: Path) -> None:
    """One letter of one row."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("the number is 3, row 10", "the number is 3, row 11", 1), encoding="utf-8")


def test_run_again_gives_the_same_to_the_bit_and_refuses_other_rows(
    jobs: Jobs, tiny_config: Callable[..., RunConfig], rows_file: Path
) -> None:
    config = tiny_config(training={"dtype": "float32", "eval_steps": 2, "answer_rows": 0}, comparison="c", label="mine")
    first = trained(jobs, config)
    assert first.made
    assert (first.made.studio, first.made.python) == (__version__, platform.python_version())
    assert first.made.packages["torch"] == version("torch")
    assert first.made.threads == 1
    assert first.made.products == ""
    opened = library.open_source(str(rows_file), jobs.workspace)
    assert first.made.rows == opened.train.load().fingerprint

    page: Any = SimpleNamespace(workspace=jobs.workspace, store=jobs.store, jobs=jobs)
    event: Any = SimpleNamespace(_data={"action": "again", "runs": [first.id]})
    second_id = runs._act(page, event)[2]
    second = wait_for_end(jobs.store, second_id, timeout=120)
    one, other = (numbers(jobs.workspace.run(each.id)) for each in (first, second))
    assert len(one) >= 6
    assert one == other
    assert second.config == {**first.config, "comparison": ""}
    told = overlay_payload(jobs.store, [first.id, second.id], "")
    assert told["differences"] == []
    assert ("torch", [version("torch")] * 2) in told["everything"]
    assert ["Finetune Studio", __version__] in json.loads(json.dumps(payload(jobs.store, jobs, first.id, 0)["made"]))

    changed(rows_file)
    with pytest.raises(DatasetError, match="are others than those this run read"):
        runs._act(page, event)
    third = trained(jobs, config)
    lines = dict(overlay_payload(jobs.store, [first.id, third.id], "")["differences"])
    assert lines.keys() <= {"Rows as read (SHA-256)", "Held-out rows (SHA-256)"}
    assert "Rows as read (SHA-256)" in lines


def state_of(config: RunConfig, *, made: Made | None = None, train: str = "") -> State:
    data = DataReady(
        train_rows=1, validation_rows=1, truncated_rows=0, skipped_rows=0, tokens=1, trained_tokens=1, fingerprint=train
    )
    return State(id="a", config=config.to_dict(), made=made, data=data)


def test_a_version_that_is_kept_is_the_one_that_is_run_again(workspace: Workspace, rows_file: Path) -> None:
    name = library.add(workspace, rows_file, "rows.jsonl")
    opened = library.open_source(name, workspace)
    sides = library.divided(opened, (0.1, 0.0), 0)
    assert sides.validation
    config = RunConfig.parse({"model": "tiny", "dataset": {"source": name, "version": opened.version}})
    made = replace(MADE, rows=sides.read.fingerprint, held_out=sides.validation.fingerprint)
    draft = Draft(library.own(workspace, name))
    draft.do(lambda table: changes.delete(table, [0]), "me")
    draft.save("me")
    assert library.open_source(name, workspace).version != opened.version
    assert again(state_of(config, made=made), workspace).dataset.version == opened.version
    current = config.model_copy(update={"dataset": config.dataset.model_copy(update={"version": ""})})
    with pytest.raises(DatasetError):
        again(state_of(current, made=made), workspace)


def test_a_run_of_an_older_studio_is_held_against_the_rows_it_trained_on(
    workspace: Workspace, tiny_config: Callable[..., RunConfig], rows_file: Path
) -> None:
    config = tiny_config()
    sides = library.divided(library.open_source(str(rows_file), workspace), (0.2, 0.0), config.seed)
    state = state_of(config, train=sides.train.fingerprint)
    assert again(state, workspace) == config
    assert circumstances(state) == {"Rows trained on (SHA-256)": sides.train.fingerprint[:12]}
    with pytest.raises(DatasetError):
        again(state_of(config, train="0" * 64), workspace)
    rows_file.unlink()
    with pytest.raises(DatasetError, match="There is no data set or file"):
        again(state, workspace)


def test_what_changed_is_named(tiny_config: Callable[..., RunConfig]) -> None:
    later = replace(MADE, rows="c" * 64, packages={"torch": "2.13.0"}, processor="B", gpu="H200")
    states = [state_of(tiny_config(seed=seed), made=made) for seed, made in ((1, MADE), (2, later))]
    lines = differences([each.config for each in states], beside=[circumstances(each) for each in states])
    assert dict(lines) == {
        "seed": ["1", "2"],
        "Rows as read (SHA-256)": ["a" * 12, "c" * 12],
        "torch": ["2.12.0", "2.13.0"],
        "peft": ["0.21.2", "–"],
        "Processor": ["A", "B"],
        "GPU": ["–", "H200"],
    }


def test_a_run_that_went_on_under_other_versions_says_so(workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).settled().save(folder.config)
    for event in (MADE, MADE, replace(MADE, packages={**MADE.packages, "torch": "2.13.0"}), Done()):
        folder.events.append(event)
    state = Store(workspace).state(folder.id)
    assert state.notes == ["Went on with other than before: torch 2.12.0 → 2.13.0."]
    assert state.made
    assert made_changes(state.made, MADE) == ["torch 2.13.0 → 2.12.0"]
