"""Rows that hardly differ from an earlier one."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Hit, Row, Severity
from studio.data.checks._cells import whole
from studio.data.checks.duplicate import Duplicates
from studio.data.duplicates import copies
from studio.data.templates import Mapping
from studio.settings import setting


class NearDuplicate(Check):
    """The rows that can go; each is like an earlier row that stays. Equal rows are left to `duplicate`."""

    title: ClassVar[str] = "Near duplicate"
    about: ClassVar[str] = "Shares most runs of three words with an earlier row."
    severity: ClassVar[Severity] = "warning"

    threshold: float = setting(
        0.85, "Likeness", ge=0.5, le=1.0, step=0.01,
        help="Share of the word triples of two rows that both have; 1 finds what differs in case or spaces only.",
        source="Broder 1997, On the resemblance and containment of documents",
    )  # fmt: skip

    def begin(self, mapping: Mapping) -> _Texts:
        return _Texts(mapping, self.threshold)


class _Texts:
    """Keeps the text of every row that has no equal before it."""

    def __init__(self, mapping: Mapping, threshold: float) -> None:
        self._mapping = mapping
        self._threshold = threshold
        self._equal = Duplicates(mapping)
        self._ids: list[int] = []
        self._texts: list[str] = []

    def look(self, row_id: int, row: Row) -> None:
        if self._equal.first(row_id, row) == row_id:
            self._ids.append(row_id)
            self._texts.append(whole(row, self._mapping))

    def end(self) -> list[Hit]:
        return [
            Hit(self._ids[copy.index], f"like row {self._ids[copy.of] + 1} ({100 * copy.similarity:.0f} %)")
            for copy in copies(self._texts, self._threshold)
        ]
