"""Texts too short to teach anything."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import ANSWER, TEXT, cells
from studio.data.templates import Mapping
from studio.settings import setting


class TooShort(Check):
    title: ClassVar[str] = "Very short"
    about: ClassVar[str] = "An answer or text of only a few characters; right for labels, often a slip elsewhere."
    severity: ClassVar[Severity] = "hint"

    characters: int = setting(
        3, "Fewest characters", ge=1, le=10_000, unit="characters", help="Spaces around a text do not count."
    )

    def why(self, row: Row, mapping: Mapping) -> str | None:
        for cell in cells(row, mapping):
            length = len(cell.text.strip())
            if cell.part in (ANSWER, TEXT) and 0 < length < self.characters:  # empty ones have their own checks
                return f"{length} character{'s' * (length > 1)} in {cell.place}"
        return None
