"""From a person's file to a trained model: every format and kind of file is read, edited, saved and learnt from."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.data import changes, library
from studio.data.collection import Version
from studio.data.dataset import Dataset
from studio.data.draft import Draft
from studio.data.formats import FORMATS
from studio.data.templates import Mapping, explain_row, to_messages, to_text
from studio.errors import DatasetError
from studio.events import Queued
from studio.jobs import Jobs, create_run
from studio.launch import worker_environment
from studio.store import State, Store, wait_for_end
from studio.workspace import Workspace
from tests.conftest import ROOT

FILES = Path(__file__).parent / "data" / "files"
CODE = library.SAMPLES / "code_folder" / "code"
REVISED = "Revised."

# The worker's own code, run after run in one process: its imports take longer than such a run.
TRAINER = """
import sys
from pathlib import Path
from studio.worker import execute, warm_up
from studio.workspace import RunFolder, Workspace
warm_up()
for line in sys.stdin:
    folder = Path(line.rstrip())
    execute(RunFolder(folder), Workspace(folder.parents[1]))
"""

Make = Callable[..., RunConfig]
Train = Callable[[Workspace, RunConfig], State]


@dataclass(frozen=True)
class Case:
    """A file, how its columns are read, and the column that is edited."""

    source: Path
    mapping: Mapping
    edited: str
    arrives_as: str = ""  # another kind than it lies here: packed as gzip or Parquet on the way
    by_hand: bool = False  # its column names say nothing


CASES = [
    Case(FILES / "faq.csv", Mapping("instruction", {"instruction": "question", "output": "answer"}), "answer"),
    Case(FILES / "tickets.tsv", Mapping("labelled", {"text": "text", "label": "category"}), "text"),
    Case(
        FILES / "triage.jsonl",
        Mapping("labelled", {"text": "message", "label": "sentiment", "label_2": "topic", "label_3": "urgency"}),
        "message",
    ),
    Case(FILES / "assistant.json", Mapping("messages", {"messages": "messages"}), "messages"),
    Case(FILES / "assistant.json", Mapping("messages", {"messages": "messages"}), "messages", "assistant.parquet"),
    Case(FILES / "sharegpt.jsonl", Mapping("conversations", {"conversations": "conversations"}), "conversations"),
    Case(
        FILES / "sharegpt.jsonl",
        Mapping("conversations", {"conversations": "conversations"}),
        "conversations",
        "sharegpt.jsonl.gz",
    ),
    Case(
        FILES / "preferences.jsonl",
        Mapping("preference", {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
        "chosen",
    ),
    Case(
        FILES / "preferences_sharegpt.json",
        Mapping("preference", {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"}),
        "chosen",
    ),
    Case(
        FILES / "judged.csv",
        Mapping("unpaired", {"prompt": "prompt", "completion": "completion", "label": "label"}),
        "completion",
    ),
    Case(
        FILES / "sentences.ndjson",
        Mapping("prompt_completion", {"prompt": "deutsch", "completion": "english"}),
        "english",
        by_hand=True,
    ),
    Case(FILES / "lighthouse.txt", Mapping("text", {"text": "text"}), "text"),
    Case(CODE, Mapping("text", {"text": "text"}), "text"),
]


@pytest.fixture(scope="module")
def train() -> Iterator[Train]:
    """Trains what a config says, as the queue would."""
    worker = subprocess.Popen(
        [sys.executable, "-c", TRAINER], cwd=ROOT, stdin=subprocess.PIPE, text=True, env=worker_environment()
    )
    assert worker.stdin is not None
    to_worker = worker.stdin

    def run(workspace: Workspace, config: RunConfig) -> State:
        folder = create_run(workspace, config)
        folder.events.append(Queued())
        to_worker.write(f"{folder.path}\n")
        to_worker.flush()
        return wait_for_end(Store(workspace), folder.id, 120)

    yield run
    to_worker.close()
    worker.wait(timeout=20)


def test_the_files_show_every_format() -> None:
    assert {case.mapping.format for case in CASES} == set(FORMATS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.arrives_as or case.source.name)
def test_from_a_file_to_a_trained_model(
    case: Case, train: Train, workspace: Workspace, tmp_path: Path, tiny_config: Make
) -> None:
    name = brought(case, workspace, tmp_path)
    mapping = library.open_source(name, workspace).mapping
    assert mapping == case.mapping
    config = quick(tiny_config, name)
    before = learnt_from(config, workspace)
    row = next(
        i for i, row in enumerate(rows_of(name, workspace)) if row in before.rows and not explain_row(row, mapping)
    )

    version = edited(name, workspace, row, case.edited)
    assert Draft(library.own(workspace, name)).table.fetch([row])[0][1] == rows_of(name, workspace)[row]

    state = train(workspace, config)
    assert state.status == "done", state.problem
    assert math.isfinite(state.metrics["loss"])
    used = used_by(state.id, workspace)
    assert used.dataset.version == version.key
    assert used.dataset.mapping() == case.mapping
    after = learnt_from(used, workspace)
    assert not any(REVISED in said(row, mapping) for row in before.rows)
    assert sum(REVISED in said(row, mapping) for row in after.rows) == 1
    assert state.data is not None
    assert state.data.fingerprint == after.fingerprint != before.fingerprint  # the worker's own hash of its rows


def test_a_run_on_an_older_version_trains_on_that_one(
    jobs: Jobs, workspace: Workspace, tmp_path: Path, tiny_config: Make
) -> None:
    name = brought(CASES[0], workspace, tmp_path)
    config = quick(tiny_config, name)
    oldest, before = library.own(workspace, name).current, learnt_from(config, workspace)
    row = rows_of(name, workspace).index(before.rows[0])
    newest = edited(name, workspace, row, "answer")
    assert library.own(workspace, name).current == newest.key != oldest
    older = quick(tiny_config, name, version=oldest)
    state = wait_for_end(jobs.store, run_id := jobs.submit(older), 120)
    assert state.status == "done", state.problem
    assert used_by(run_id, workspace).dataset.version == oldest
    assert state.data is not None
    assert state.data.fingerprint == before.fingerprint != learnt_from(config, workspace).fingerprint


@pytest.mark.parametrize("gone", ["0123456789abcdef", "../../../etc/passwd"])
def test_a_version_that_is_gone_is_a_sentence_before_anything_is_made(
    gone: str, jobs: Jobs, workspace: Workspace, tmp_path: Path, tiny_config: Make
) -> None:
    name = brought(CASES[0], workspace, tmp_path)
    with pytest.raises(DatasetError, match="'faq' has no version") as caught:
        jobs.submit(quick(tiny_config, name, version=gone))
    assert "list of versions" in caught.value.remedy
    assert list(workspace.runs.iterdir()) == []


def test_a_stratified_split_with_a_test_share_reaches_the_run(
    jobs: Jobs, workspace: Workspace, tmp_path: Path, tiny_config: Make
) -> None:
    path = tmp_path / "tickets.jsonl"
    kinds = ["delivery"] * 20 + ["payment"] * 10
    path.write_text("\n".join(json.dumps({"text": f"Ticket {i}", "category": k}) for i, k in enumerate(kinds)))
    name = library.add(workspace, path, path.name)
    config = quick(tiny_config, name, validation_share=0.2, test_share=0.1, split="stratified", split_column="category")
    state = wait_for_end(jobs.store, run_id := jobs.submit(config), 120)
    assert state.status == "done", state.problem
    assert state.data is not None
    assert (state.data.train_rows, state.data.validation_rows) == (21, 6)
    assert "3 rows are set apart for a last score." in state.notes
    held_out = [json.loads(line) for line in workspace.run(run_id).held_out.read_text().splitlines()]
    assert Counter(turns[-1]["content"] for turns in held_out) == {"delivery": 4, "payment": 2}


# -- the steps -----------------------------------------------------------------------------------


def brought(case: Case, workspace: Workspace, tmp_path: Path) -> str:
    """The data set's name, its columns settled as a person would."""
    path = tmp_path / case.arrives_as if case.arrives_as else case.source
    if case.arrives_as.endswith(".gz"):
        path.write_bytes(gzip.compress(case.source.read_bytes()))
    elif case.arrives_as.endswith(".parquet"):
        write_nested(json.loads(case.source.read_text(encoding="utf-8")), path)
    name = library.add(workspace, path, path.name)
    if case.by_hand:
        with pytest.raises(DatasetError, match="no columns that are known"):
            library.open_source(name, workspace)
        library.set_mapping(workspace, name, case.mapping)
    return name


def write_nested(rows: list[dict[str, Any]], path: Path) -> None:
    """Lists of structs, as other tools write them; content in parts has no place there."""
    import pyarrow
    import pyarrow.parquet

    plain = [row for row in rows if all(isinstance(turn["content"], str) for turn in row["messages"])]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain), path)


def quick(make: Make, name: str, **dataset: Any) -> RunConfig:
    return make(
        dataset={"source": name, "validation_share": 0.25, **dataset},
        objective={"max_length": 512},
        training={"max_steps": 2, "answer_rows": 0},
    )


def edited(name: str, workspace: Workspace, row: int, column: str) -> Version:
    """Another word behind one cell's last text, saved as a version."""
    draft = Draft(library.own(workspace, name))
    old = draft.table.fetch([row])[0][1][column]
    text = changes.cell_text(revised(old))
    draft.do(lambda table: changes.edit(table, row, column, text, seen=changes.cell_text(old)), "someone")
    return draft.save("someone")


def revised(cell: Any) -> Any:
    """In turns, the last one's text: of a turn's keys it stands last."""
    if isinstance(cell, list):
        return [*cell[:-1], revised(cell[-1])]
    if isinstance(cell, dict):
        *before, last = cell
        return {**{key: cell[key] for key in before}, last: revised(cell[last])}
    return f"{cell} {REVISED}"


def learnt_from(config: RunConfig, workspace: Workspace) -> Dataset:
    """The rows such a run learns from."""
    chosen = config.dataset
    opened = library.open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    return library.divided(opened, (chosen.validation_share, chosen.test_share), config.seed).train


def used_by(run_id: str, workspace: Workspace) -> RunConfig:
    return RunConfig.parse(json.loads(workspace.run(run_id).config.read_text(encoding="utf-8")))


def rows_of(name: str, workspace: Workspace) -> list[dict[str, Any]]:
    return library.look(name, workspace).train.load().rows


def said(row: dict[str, Any], mapping: Mapping) -> str:
    """What a model reads of a row."""
    if mapping.format == "text":
        return to_text(row, mapping)
    return " ".join(message["content"] for message in to_messages(row, mapping) or [])
