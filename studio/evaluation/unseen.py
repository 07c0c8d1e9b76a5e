"""Which rows models are asked: those that none of them was trained on, test rows before all others."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from studio.config import RunConfig
from studio.data.checks._cells import whole
from studio.data.duplicates import matches
from studio.data.labels import Cell, Head, read_cell, several, target
from studio.data.library import Opened, divided, open_source
from studio.data.parquet import Row
from studio.data.splits import THRESHOLD
from studio.data.templates import Mapping, as_text, to_messages, to_text
from studio.data.turns import Message
from studio.errors import DatasetError
from studio.evaluation.passing import task_of
from studio.sandbox import Task, available
from studio.workspace import Workspace

_LOOKED_AT = 4_000  # rows at least, where there are as many, that are held against those that were learnt
_SHARED = 10  # learnt rows with one question, and one in twenty of all: beyond both it tells no row from another


@dataclass(frozen=True)
class Item:
    """One row."""

    asked: list[Message]  # empty where a text is read
    right: str
    task: Task | None = None  # where a program is asked for, and there are tests of it


@dataclass(frozen=True)
class Naming:
    """What heads are asked for."""

    head: Head
    separator: str  # between the labels of a cell


def named(labels: Iterable[str]) -> str:
    """Several labels as one answer, whatever letters they are of."""
    return json.dumps(sorted(labels), ensure_ascii=False)


# -- what runs have seen -----------------------------------------------------------------------------------


@dataclass
class Seen:
    """The rows of runs, as `whole` tells them, by what they were to these runs."""

    learnt: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)  # questions, by how many learnt rows have them
    chosen_by: dict[str, set[str]] = field(default_factory=dict)  # title of a run → by what it kept its best state
    tests: list[set[str]] = field(default_factory=list)  # of each run that has any: rows without a say in its training
    notes: list[str] = field(default_factory=list)

    def learn(self, rows: Sequence[Row], mapping: Mapping) -> None:
        """These were trained on."""
        self.learnt += [whole(row, mapping) for row in rows]
        self.asked.update(question for row in rows if (question := _question(row, mapping)))

    @property
    def questions(self) -> set[str]:
        """Those by which a learnt row is known again, be its answer another one."""
        most = max(_SHARED, len(self.learnt) // 20)
        return {question for question, rows in self.asked.items() if rows <= most}


def seen_by(workspace: Workspace, runs: Iterable[tuple[str, RunConfig]]) -> Seen:
    """What runs, by their titles, have seen of their data; a note where that is gone."""
    seen = Seen()
    for title, config in runs:
        try:
            _look(seen, workspace, title, config)
        except DatasetError:
            seen.notes.append(f"The data that {title} learnt is gone, so that these rows may be among them.")
    return seen


def _look(seen: Seen, workspace: Workspace, title: str, config: RunConfig) -> None:
    chosen, old = config.dataset, config.old
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    shares = chosen.validation_share, chosen.test_share
    sides = divided(opened, shares, config.seed, chosen.split, chosen.split_column)
    seen.learn(sides.train.rows, opened.mapping)
    if sides.test:
        seen.tests.append({whole(row, opened.mapping) for row in sides.test.rows})
    if sides.validation and config.training.load_best_model_at_end:
        seen.chosen_by[title] = {whole(row, opened.mapping) for row in sides.validation.rows}
    if old.source and old.replay_share > 0:
        replayed = open_source(old.source, workspace, old.mapping(), old.version)
        shares = (min(old.rows / replayed.train.total, 0.5), 0.0)  # as `studio.old_data` divides it
        seen.learn(divided(replayed, shares, config.seed).train.rows, replayed.mapping)


def _question(row: Row, mapping: Mapping) -> str:
    """All that is asked; "" where nothing is."""
    if mapping.format == "labelled":
        return as_text(row.get(mapping.columns["text"])).strip()
    messages = (to_messages(row, mapping) or [])[:-1]
    return "\n".join(each["content"] for each in messages if each["role"] != "system").strip()


# -- the rows ----------------------------------------------------------------------------------------------


def items(opened: Opened, seen: Seen, count: int, seed: int, naming: Naming | None) -> tuple[list[Item], list[str]]:
    """`count` rows that nobody was trained on, and what there is to know of them.

    Raises DatasetError where there are none.
    """
    mapping, learnt, questions = opened.mapping, set(seen.learnt), seen.questions
    rows, notes = _pool(opened, seen, learnt)
    unseen = [row for row in rows if whole(row, mapping) not in learnt]
    fresh = [row for row in unseen if _question(row, mapping) not in questions]
    drawn = random.Random(seed).sample(fresh, min(len(fresh), max(_LOOKED_AT, 2 * count)))  # noqa: S311
    texts = [whole(row, mapping) for row in drawn]
    alike = {each.index for each in matches(texts, seen.learnt, THRESHOLD)}
    found = [item for place, row in enumerate(drawn) if place not in alike and (item := _item(row, opened, naming))]
    if not found:
        raise _none(opened, rows, naming)
    if gone := len(rows) - len(unseen) + len(alike):
        notes.append(f"{gone:,} rows are left out: one of the models was trained on them, or on much the same.")
    if gone := len(unseen) - len(fresh):
        notes.append(f"{gone:,} rows are left out: one of the models learnt their question, with another answer.")
    notes += [
        f"{title} kept its best state by rows that are asked here, which flatters it: test rows would not."
        for title, by in seen.chosen_by.items()
        if by.intersection(texts)
    ]
    if all(each.task for each in found) and not available()[0]:
        notes.append(f"Whether the programs that are asked for pass their tests is left out. {available()[1]}")
    return found[:count], [*seen.notes, *notes]


def _pool(opened: Opened, seen: Seen, learnt: set[str]) -> tuple[list[Row], list[str]]:
    """Where there are any: rows that all runs with test rows hold out as such. Else those held out, or all."""
    if seen.tests:
        tests = set.intersection(*seen.tests) - learnt
        if rows := [row for row in opened.train.load().rows if whole(row, opened.mapping) in tests]:
            return rows, ["Only test rows are asked, which had no say in training."]
    return (opened.validation or opened.train).load().rows, []


def _none(opened: Opened, rows: Sequence[Row], naming: Naming | None) -> DatasetError:
    if any(_item(row, opened, naming) for row in rows):
        return DatasetError(
            f"Each of the {len(rows):,} rows of {opened.title}, or one much like it, was trained on by one of the "
            "models: that it knows them would say nothing.",
            remedy="Choose other data, or a run that held rows out.",
        )
    return DatasetError(
        f"{opened.title} has no row with {'a text and a label' if naming else 'a question and an answer'}.",
        remedy="Choose which column plays which part under 'Columns' in the Dataset tab, or another data set.",
    )


def _item(row: Row, opened: Opened, naming: Naming | None) -> Item | None:
    """None where nothing is asked, or no answer known."""
    mapping = opened.mapping
    if naming:
        return _labelled(row, opened, naming)
    if mapping.format == "text":
        text = to_text(row, mapping)
        return Item([], text) if text.strip() else None
    messages = to_messages(row, mapping) or []
    asked = [each for each in messages[:-1] if each["role"] != "system"]
    return Item(messages[:-1], messages[-1]["content"], task_of(row)) if asked else None


def _labelled(row: Row, opened: Opened, naming: Naming) -> Item | None:
    name = naming.head.name
    if opened.mapping.format != "labelled" or name not in opened.train.columns:
        raise DatasetError(
            f"{opened.title} has no labels in a column '{name}', which is what these runs name.",
            remedy="Choose data with that column, read as 'labelled' under 'Columns' in the Dataset tab.",
        )
    text, cell = as_text(row.get(opened.mapping.columns["text"])), read_cell(row.get(name))
    right = "" if cell == "" else _right(cell, naming)
    return Item([{"role": "user", "content": text}], right) if text.strip() and right else None


def _right(cell: Cell, naming: Naming) -> str:
    """What a head would have to say, as training read such cells; "" where that is no number and must be."""
    head = naming.head
    if head.kind == "labels":
        return named(several(cell, naming.separator))
    known, text = target(head, cell, naming.separator), cell if isinstance(cell, str) else "; ".join(cell)
    if head.kind == "number":
        return f"{float(text):.12g}" if known else ""
    return head.labels[int(known[0])] if known else text
