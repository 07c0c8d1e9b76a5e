"""Rows to classify that nobody has classified."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import blank, cells
from studio.data.templates import Mapping

_NOTHING = {"", "nan", "none", "null", "n/a", "<na>"}


class MissingLabel(Check):
    title: ClassVar[str] = "Missing label"
    about: ClassVar[str] = "The label is empty or not a number; there is no right answer to learn."
    severity: ClassVar[Severity] = "error"

    def applies(self, mapping: Mapping) -> bool:
        return "label" in mapping.columns

    def why(self, row: Row, mapping: Mapping) -> str | None:
        if blank(row, mapping):
            return None
        label = next(cell for cell in cells(row, mapping) if cell.role == "label")
        return f"no label in {label.place}" if label.text.strip().lower() in _NOTHING else None
