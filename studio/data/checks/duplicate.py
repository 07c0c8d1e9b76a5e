"""Rows that stand in the data more than once."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from studio.data.checks import Check, Hit, Row, Severity
from studio.data.checks._cells import blank
from studio.data.dataset import canonical
from studio.data.templates import Mapping


class Duplicate(Check):
    """The first of equal rows stays and is no hit."""

    title: ClassVar[str] = "Duplicate"
    about: ClassVar[str] = "The same as an earlier row in every column that plays a part; it would count twice."
    severity: ClassVar[Severity] = "warning"

    def begin(self, mapping: Mapping) -> Duplicates:
        return Duplicates(mapping)


class Duplicates:
    """Rows by a digest of their cells: 16 bytes a row, however long it is."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._first: dict[bytes, int] = {}
        self._hits: list[Hit] = []

    def look(self, row_id: int, row: Row) -> None:
        if not blank(row, self._mapping) and (first := self.first(row_id, row)) != row_id:
            self._hits.append(Hit(row_id, f"the same as row {first + 1}"))

    def first(self, row_id: int, row: Row) -> int:
        """The first row seen that equals this one; the row itself where it is the first."""
        played = {role: row.get(column) for role, column in self._mapping.columns.items()}
        digest = hashlib.blake2b(canonical(played).encode(), digest_size=16).digest()
        return self._first.setdefault(digest, row_id)

    def end(self) -> list[Hit]:
        return self._hits
