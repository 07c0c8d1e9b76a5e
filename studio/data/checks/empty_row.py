"""Rows in which nothing is written."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import blank
from studio.data.templates import Mapping


class EmptyRow(Check):
    title: ClassVar[str] = "Empty row"
    about: ClassVar[str] = "No column that plays a part holds anything but spaces."
    severity: ClassVar[Severity] = "error"

    def why(self, row: Row, mapping: Mapping) -> str | None:
        return "nothing is written in it" if blank(row, mapping) else None
