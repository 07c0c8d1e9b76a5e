"""Answers to nothing."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import PROMPT, blank, cells, roles
from studio.data.templates import Mapping


class EmptyPrompt(Check):
    title: ClassVar[str] = "Missing prompt"
    about: ClassVar[str] = "There is an answer, but nothing that it answers."
    severity: ClassVar[Severity] = "error"

    def applies(self, mapping: Mapping) -> bool:
        return bool(roles(mapping, PROMPT))

    def why(self, row: Row, mapping: Mapping) -> str | None:
        # In preference pairs the turns of a whole conversation may ask instead.
        asked = any(cell.part == PROMPT and cell.text.strip() for cell in cells(row, mapping))
        if asked or blank(row, mapping):
            return None
        columns = " and ".join(repr(mapping.columns[role]) for role in roles(mapping, PROMPT))
        return f"nothing in {columns}"
