"""New data from old. One file per maker; the file name is its key."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from operator import length_hint
from typing import Any, ClassVar, Literal

from studio.catalog import Entry, discover
from studio.errors import DatasetError

Row = dict[str, Any]
Ask = Callable[[list[dict[str, str]]], str]  # messages → the local model's answer; raises to cancel
Progress = Callable[[int, int], None]  # rows done, rows in all; 0 where nobody knows how many there are

_LOOKED_AT = 1_000  # rows in which a column must occur: data may come as a stream and be of any length


@dataclass(frozen=True)
class Made:
    """A row that was made. `origin` counts the source rows from 0; None: it comes from no single row."""

    row: Row
    origin: int | None
    kind: Literal["new", "changed"]  # to stand beside the rows there are, or in place of its origin


class Maker(Entry):
    """Base of all makers: settings, and how they turn rows into rows."""

    needs_model: ClassVar[bool] = False

    def make(
        self, rows: Iterable[Row], ask: Ask | None, progress: Progress, dropped: Counter[str] | None = None
    ) -> Iterator[Made]:
        """The rows made, one by one; those of `rows` are left as they are.

        `dropped`, where given, counts by reason what nothing was made of. Raises DatasetError where
        a setting does not fit the columns.
        """
        raise NotImplementedError


def makers() -> dict[str, type[Maker]]:
    """Key → settings class of every maker there is."""
    return discover(sys.modules[__name__], Maker)  # pyright: ignore[reportReturnType]


def walk(rows: Iterable[Row], progress: Progress) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    """(columns of the first rows, every row with its index); each row is reported once it is done."""
    total = length_hint(rows)
    ahead = iter(rows)
    first = list(islice(ahead, _LOOKED_AT))
    columns = list(dict.fromkeys(column for row in first for column in row))

    def each() -> Iterator[tuple[int, Row]]:
        for index, row in enumerate(chain(first, ahead)):
            yield index, row
            progress(index + 1, total)

    return columns, each()


def require(wanted: Iterable[str], columns: list[str], setting: str) -> None:
    """Raise DatasetError where a column that the setting with that label names is not there."""
    missing = [column for column in wanted if column not in columns]
    if missing and columns:
        raise DatasetError(
            f"The data has no column {' or '.join(map(repr, missing))}; it has {', '.join(map(repr, columns[:12]))}.",
            remedy=f"Name one that it has under '{setting}'.",
        )
