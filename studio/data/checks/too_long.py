"""Rows longer than a model reads."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import whole
from studio.data.templates import Mapping
from studio.settings import setting


class TooLong(Check):
    title: ClassVar[str] = "Very long"
    about: ClassVar[str] = "Training cuts what goes beyond the cut-off length, often the end of the answer."
    severity: ClassVar[Severity] = "hint"

    characters: int = setting(
        8000, "Most characters", ge=10, le=10_000_000, unit="characters",
        help="Of all texts of a row together. A token is about four characters of English.",
    )  # fmt: skip

    def why(self, row: Row, mapping: Mapping) -> str | None:
        length = len(whole(row, mapping))
        return f"{length:,} characters" if length > self.characters else None
