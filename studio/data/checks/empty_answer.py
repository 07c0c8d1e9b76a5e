"""Prompts without an answer to learn."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import ANSWER, blank, cells, roles
from studio.data.templates import Mapping


class EmptyAnswer(Check):
    title: ClassVar[str] = "Missing answer"
    about: ClassVar[str] = "There is a prompt, but no answer to learn; such rows are not trained on."
    severity: ClassVar[Severity] = "error"

    def applies(self, mapping: Mapping) -> bool:
        return bool(roles(mapping, ANSWER))

    def why(self, row: Row, mapping: Mapping) -> str | None:
        if blank(row, mapping):
            return None
        answers = [cell for cell in cells(row, mapping) if cell.part == ANSWER]
        return next((f"nothing in {cell.place}" for cell in answers if not cell.text.strip()), None)
