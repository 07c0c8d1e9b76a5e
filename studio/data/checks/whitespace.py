"""Spaces and line breaks around texts."""

from __future__ import annotations

import re
from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import cells, rewritten
from studio.data.templates import Mapping

_LEADING_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")


class Whitespace(Check):
    title: ClassVar[str] = "Spaces around a text"
    about: ClassVar[str] = "Spaces or line breaks before or behind a text, which a model learns to write too."
    severity: ClassVar[Severity] = "hint"
    remedy: ClassVar[str] = "Remove them"

    def why(self, row: Row, mapping: Mapping) -> str | None:
        for cell in cells(row, mapping):
            if cell.text.strip() and _bare(cell.text) != cell.text:
                return f"around {cell.place}"
        return None

    def fix(self, row: Row, mapping: Mapping, row_id: int) -> Row:
        return rewritten(row, mapping, _bare)


def _bare(text: str) -> str:
    """Without spaces around it; the first line of several keeps its indentation, which code lives by."""
    text = _LEADING_LINES.sub("", text).rstrip()
    return text if "\n" in text else text.lstrip()
