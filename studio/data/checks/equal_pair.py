"""Preference pairs without a preference."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import cells
from studio.data.templates import Mapping


class EqualPair(Check):
    title: ClassVar[str] = "Chosen is rejected"
    about: ClassVar[str] = "The better and the worse answer are the same: there is nothing to prefer."
    severity: ClassVar[Severity] = "error"

    def applies(self, mapping: Mapping) -> bool:
        return {"chosen", "rejected"} <= mapping.columns.keys()

    def why(self, row: Row, mapping: Mapping) -> str | None:
        words: dict[str, list[str]] = {"chosen": [], "rejected": []}
        for cell in cells(row, mapping):
            words.get(cell.role, []).extend(cell.text.split())
        if not words["chosen"] or words["chosen"] != words["rejected"]:
            return None
        return f"{mapping.columns['chosen']!r} and {mapping.columns['rejected']!r} are the same"
