"""What identifies a person or opens a door."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import cells, rewritten
from studio.data.personal import KINDS, find, mask
from studio.data.templates import Mapping


class PersonalData(Check):
    title: ClassVar[str] = "Personal data"
    about: ClassVar[str] = (
        "E-mail addresses, telephone, card and account numbers, keys and tokens. Names are not found."
    )
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "Mask them"

    def why(self, row: Row, mapping: Mapping) -> str | None:
        found = {
            f"{KINDS[each.kind]} in {cell.place}": None for cell in cells(row, mapping) for each in find(cell.text)
        }
        return ", ".join(found) or None

    def fix(self, row: Row, mapping: Mapping, row_id: int) -> Row:
        return rewritten(row, mapping, mask)
