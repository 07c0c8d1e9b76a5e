"""Tokens kept on disk: found again for the same work only, whatever became of the files; and rows as columns."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.data import kept as module
from studio.data.dataset import Dataset
from studio.data.kept import NOWHERE, Kept
from studio.data.templates import Mapping
from studio.data.tokenised import Tokenised, joined, lengths_of, tokenised
from studio.data.tokens import Encoded
from studio.events import DataReady, Ready
from studio.jobs import create_run
from studio.models.tiny import tiny_tokenizer
from studio.objectives.classify import Classify
from studio.objectives.next_token import NextToken
from studio.worker import execute
from studio.workspace import Workspace
from tabs._live import waited

PAIR = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})
TEXT = Mapping("text", {"text": "p"})
ROWS = [{"p": f"say {i}", "c": f"the number {i}", "label": "odd" if i % 2 else "even"} for i in range(9)]


def dataset(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset("rows", tuple(rows[0]), rows, [])


def prepared(
    kept: Kept, objective: Any = None, mapping: Mapping = PAIR, rows: Any = ROWS, tokenizer: Any = None
) -> Any:
    objective = objective or NextToken(max_length=40)
    sides = dataset(rows[2:]), dataset(rows[:2])
    return objective.prepare(*sides, mapping, tokenizer or tiny_tokenizer(), lambda *_: None, kept)


@pytest.mark.parametrize(
    ("objective", "mapping"),
    [
        (NextToken(max_length=40), PAIR),
        (NextToken(max_length=16), TEXT),
        (Classify(max_length=6), Mapping("labelled", {"text": "p", "label": "label"})),
    ],
)
def test_what_was_kept_is_what_was_made(tmp_path: Path, objective: Any, mapping: Mapping) -> None:
    plain = prepared(NOWHERE, objective, mapping)
    first, again = Kept(tmp_path), Kept(tmp_path)
    assert prepared(first, objective, mapping) == prepared(again, objective, mapping) == plain
    assert (first.found, first.made) == (0, len(plain.train) + len(plain.validation))
    assert (again.found, again.made) == (first.made, 0)


def _told_more() -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["number"])
    return tokenizer


def _with_template() -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("\n", " ")
    return tokenizer


@pytest.mark.parametrize(
    "change",
    [
        {"objective": NextToken(max_length=39)},
        {"objective": NextToken(max_length=40, loss_on="everything")},
        {"objective": NextToken(max_length=40, chat_template="none")},
        {"mapping": Mapping("prompt_completion", {"prompt": "c", "completion": "p"})},
        {"rows": [{**row, "c": row["c"] + "!"} for row in ROWS]},
        {"rows": [*reversed(ROWS)]},
        {"tokenizer": _told_more()},
        {"tokenizer": _with_template()},
    ],
)
def test_other_work_is_done_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    prepared(Kept(tmp_path))
    kept = Kept(tmp_path)
    assert prepared(kept, **change) == prepared(NOWHERE, **change)
    assert kept.found == 0 < kept.made


def _again(folder: Path, tokenizer: Any) -> bool:
    """Whether a row made with `tokenizer` is found again."""
    kept, one = Kept(folder), Encoded([1, 2], [-100, 2], False)
    kept.rows(Encoded, dataset(ROWS), tokenizer, {}, lambda: ([one], {}))
    return kept.found == 1


def test_special_tokens_that_are_split_make_other_tokens(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    assert [_again(tmp_path, tokenizer), _again(tmp_path, tokenizer)] == [False, True]
    tokenizer.split_special_tokens = True
    assert not _again(tmp_path, tokenizer)


def test_tokens_with_a_date_in_them_are_kept_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(date):
        @classmethod
        def today(cls) -> date:  # pyright: ignore[reportIncompatibleMethodOverride]
            return date.today() + timedelta(days=1)

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%d %B %Y') }}"
    assert [_again(tmp_path, tokenizer), _again(tmp_path, tokenizer)] == [False, True]
    monkeypatch.setattr(module, "date", Tomorrow)
    assert not _again(tmp_path, tokenizer)


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    values = bytes(module._read(path, Encoded, path.stem)[0].flat("input_ids").tobytes())  # pyright: ignore[reportOptionalSubscript]
    data[data.index(values)] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not Arrow at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: shutil.copy(next(each for each in path.parent.iterdir() if each != path), path),
        _flipped,
    ],
)
def test_a_damaged_or_foreign_entry_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    prepared(Kept(tmp_path))
    right = prepared(NOWHERE)
    path = max(tmp_path.iterdir(), key=lambda each: each.stat().st_size)
    damage(path)
    mending, after = Kept(tmp_path), Kept(tmp_path)
    assert prepared(mending) == right
    assert mending.made > 0
    assert prepared(after) == right
    assert after.made == 0


def test_the_oldest_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ENTRIES", 4)  # two each
    for length in (30, 31, 30, 32):
        prepared(Kept(tmp_path), NextToken(max_length=length))
        time.sleep(0.02)  # a file system's clock ticks every 4 ms or so
    found = {length: Kept(tmp_path) for length in (30, 32, 31)}
    for length, kept in found.items():
        prepared(kept, NextToken(max_length=length))
    assert [kept.made == 0 for kept in found.values()] == [True, True, False]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_full_disk_or_a_folder_that_cannot_be_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert prepared(Kept(tmp_path / "file")) == prepared(NOWHERE)
    monkeypatch.setattr(module, "_AIR", 1 << 62)
    assert prepared(Kept(tmp_path / "new")) == prepared(NOWHERE)
    assert not list((tmp_path / "new").iterdir())


def test_columns_behave_as_the_list_they_stand_for() -> None:
    rows = [Encoded(list(range(n)), [-100] * n, n == 3) for n in (2, 5, 3, 4)]
    columns = tokenised(Encoded, iter(rows))
    assert columns == rows
    assert [columns[-1], *columns[1:3], *columns[::-2]] == [rows[-1], *rows[1:3], *rows[::-2]]
    assert joined([columns[2:], columns.take([1, 1])]) == [*rows[2:], rows[1], rows[1]]
    assert lengths_of(columns[1:]) == lengths_of(rows[1:]) == [5, 3, 4]
    assert isinstance(columns[:0], Tokenised)
    assert not columns[:0]
    with pytest.raises(IndexError):
        columns[4]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_run_says_what_it_waited_for(workspace: Workspace, tiny_config: Callable[..., RunConfig]) -> None:
    told, ready = [], []
    for _ in range(2):
        folder = create_run(workspace, tiny_config(training={"max_steps": 1, "answer_rows": 0}))
        execute(folder, workspace)
        events, _ = folder.events.read_from()
        told += [event for event in events if isinstance(event, DataReady)]
        ready += [event for event in events if isinstance(event, Ready)]
    assert told[0].tokens == told[1].tokens
    assert [each.rows_found for each in ready] == [0, 40]
    assert [each.rows_made for each in ready] == [40, 0]
    assert set(ready[0].seconds) == {"data", "model", "method", "trainer"}
    assert "kept" not in waited(ready[0])
    assert "kept from an earlier run; model" in waited(ready[1])
