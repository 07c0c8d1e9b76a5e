"""Texts torn into lines, as they come out of PDF files and tables."""

from __future__ import annotations

import re
from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import cells, rewritten
from studio.data.templates import Mapping
from studio.settings import setting

_BLANK_LINES = re.compile(r"(?:\r?\n[^\S\n]*){3,}")


class LineBreaks(Check):
    title: ClassVar[str] = "Many line breaks"
    about: ClassVar[str] = "Several blank lines in a row; a model learns to write them too."
    severity: ClassVar[Severity] = "hint"
    remedy: ClassVar[str] = "Leave one blank line"

    blank_lines: int = setting(
        3, "Blank lines in a row", ge=2, le=1000, unit="lines", help="From so many on, a row is shown."
    )

    def why(self, row: Row, mapping: Mapping) -> str | None:
        for cell in cells(row, mapping):
            most = max((run[0].count("\n") - 1 for run in _BLANK_LINES.finditer(cell.text)), default=0)
            if most >= self.blank_lines:
                return f"{most} blank lines in a row in {cell.place}"
        return None

    def fix(self, row: Row, mapping: Mapping, row_id: int) -> Row:
        return rewritten(row, mapping, lambda text: _BLANK_LINES.sub("\n\n", text))
