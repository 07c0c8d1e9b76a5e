"""Conversations whose turns do not take turns."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import blank
from studio.data.templates import Mapping, explain_row
from studio.data.turns import TURN_KEYS


class Turns(Check):
    title: ClassVar[str] = "Broken conversation"
    about: ClassVar[str] = "A turn is empty or nobody's we know, or the turns do not alternate; it is not trained on."
    severity: ClassVar[Severity] = "error"

    def applies(self, mapping: Mapping) -> bool:
        return mapping.format in TURN_KEYS

    def why(self, row: Row, mapping: Mapping) -> str | None:
        return None if blank(row, mapping) else explain_row(row, mapping) or None
