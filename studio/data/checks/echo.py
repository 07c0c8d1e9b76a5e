"""Answers that only repeat their prompt."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import ANSWER, PROMPT, cells, roles
from studio.data.templates import Mapping
from studio.data.turns import TURN_KEYS


class Echo(Check):
    title: ClassVar[str] = "Answer repeats the prompt"
    about: ClassVar[str] = "Prompt and answer are the same but for case and spaces."
    severity: ClassVar[Severity] = "warning"

    def applies(self, mapping: Mapping) -> bool:
        return mapping.format in TURN_KEYS or bool(roles(mapping, PROMPT) and roles(mapping, ANSWER))

    def why(self, row: Row, mapping: Mapping) -> str | None:
        asked: set[str] = set()
        for cell in cells(row, mapping):
            plain = " ".join(cell.text.lower().split())
            if cell.part == PROMPT and plain:
                asked.add(plain)
            elif cell.part == ANSWER and plain in asked:
                return f"{cell.place} is what was asked"
        return None
