"""Random sequences of changes, held against a plain Python list."""

import random
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from studio.data import changes
from studio.data.changes import Change, cell_text, folded, inverse
from studio.data.parquet import Row, write_rows
from studio.data.table import Table
from studio.errors import DatasetError
from tests.data.test_changes import NASTY, rows_of

WORDS = [*NASTY, "alpha", "beta", "gamma"]
Model = list[tuple[int, Row]]


def mixed(path: Path) -> Table:
    """Fifty rows; of their columns some are JSON text, others Parquet's own nested and exact types."""
    write_rows([{"text": WORDS[i % 13], "n": i, "json": [i, {"k": None}] if i % 2 else "t"} for i in range(50)], path)
    own = pyarrow.parquet.read_table(path)
    turns = [[{"role": "user", "content": WORDS[i % 13]}] if i % 5 else None for i in range(50)]
    own = own.append_column("turns", pyarrow.array(turns))
    own = own.append_column("when", pyarrow.array([1_700_000_000 + i for i in range(50)], pyarrow.timestamp("s")))
    own = own.append_column("price", pyarrow.array([Decimal(f"{i}12345678901234567890.123456789") for i in range(50)]))
    pyarrow.parquet.write_table(own, path, row_group_size=7)
    return Table(path)


class Both:
    """The table and, beside it, a plain list on which the same is done."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.model: Model = rows_of(table)
        self.chance = random.Random(seed)
        self.next = table.base_rows

    def place(self) -> int:
        return self.chance.randrange(len(self.model))

    def edit(self) -> Change:
        row, cells = self.model[self.place()]
        column = self.chance.choice(["text", "n", "json", "turns", "price"])
        new: Any = {
            "text": self.chance.choice(WORDS),
            "n": self.chance.choice([None, 7, -(2**63), 2**63 - 1]),
            "json": self.chance.choice([{"a": [1, None]}, [True], 3]),
            "turns": self.chance.choice([[], [{"role": "user", "content": self.chance.choice(WORDS)}]]),
            "price": self.chance.choice([None, Decimal("0.000000001")]),
        }[column]
        as_typed = cell_text(str(new) if isinstance(new, Decimal) else new)
        stays_text = column == "json" and isinstance(cells["json"], str)
        change = changes.edit(self.table, row, column, as_typed, seen=cell_text(cells[column]))
        cells[column] = as_typed if stays_text else new
        return change

    def duplicate(self) -> Change:
        at = self.place()
        change = changes.duplicate(self.table, self.model[at][0])
        self.model.insert(at + 1, (self.next, deepcopy(self.model[at][1])))
        self.next += 1
        return change

    def add(self) -> Change:
        at = self.chance.choice([None, self.place()])
        new = [{"text": word, "json": {"w": word}} for word in self.chance.sample(WORDS, 3)]
        change = changes.add(self.table, new, "Added 3 rows", behind=None if at is None else self.model[at][0])
        filled = [{name: row.get(name) for name in self.table.columns} for row in new]
        end = len(self.model) if at is None else at + 1
        self.model[end:end] = [(self.next + i, row) for i, row in enumerate(filled)]
        self.next += 3
        return change

    def delete(self) -> Change:
        gone = [self.model[at][0] for at in self.chance.sample(range(len(self.model)), min(3, len(self.model) - 10))]
        change = changes.delete(self.table, gone)
        self.model = [(row, cells) for row, cells in self.model if row not in gone]
        return change

    def replace(self) -> Change:
        find, by = self.chance.choice(["a", "'", "\\", "l", "\0"]), self.chance.choice(["", "é'", "\\1"])
        rows = [row for row, _ in self.model]
        change = changes.replace(self.table, rows, ["text"], find, by, pattern=False)
        for _, row in self.model:
            row["text"] = row["text"] and row["text"].replace(find, by)
        return change

    def rewrite(self) -> Change:
        at = self.place()
        chosen = {self.model[i][0] for i in range(at, min(at + 4, len(self.model)))}

        def new(row: int, old: Row) -> Row:
            return {**old, "text": f"{old['text']}{row}", "json": [old["json"]]}

        change = changes.rewrite(self.table, sorted(chosen), new, "Rewrote")
        self.model = [(row, new(row, cells) if row in chosen else cells) for row, cells in self.model]
        return change

    def step(self) -> Change | None:
        kind = self.chance.choice(["edit", "edit", "edit", "duplicate", "add", "delete", "replace", "rewrite"])
        try:
            change = getattr(self, kind)()
        except DatasetError as error:
            if error.problem == changes.NOTHING_TO_DO:
                return None  # the model, too, stayed as it is
            raise
        self.table.apply(change.table)
        return change


def test_a_long_sequence_agrees_with_a_plain_list(tmp_path):
    both = Both(mixed(tmp_path / "rows.parquet"), seed=1)
    start, log = rows_of(both.table), []
    while len(log) < 60:
        if change := both.step():
            log.append(change.table)
            if len(log) % 20 == 0:
                assert rows_of(both.table) == both.model
    end = rows_of(both.table)
    assert end == both.model

    at_once = Table(both.table.path)
    at_once.apply(folded(log))
    assert rows_of(at_once) == end
    at_once.apply(inverse(folded(log)))
    assert rows_of(at_once) == start
    at_once.apply(folded(log))
    for change in reversed(log):
        at_once.apply(inverse(change))
    assert rows_of(at_once) == start
    for change in log:
        at_once.apply(change)
    assert rows_of(at_once) == end
    for change in reversed(log[-20:]):  # the table that lived through it all knows what it undoes
        both.table.apply(inverse(change))
    at_once = Table(both.table.path)
    at_once.apply(folded(log[:-20]))
    assert rows_of(both.table) == rows_of(at_once)
