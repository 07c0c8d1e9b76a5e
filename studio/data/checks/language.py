"""Texts in another language than the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import ClassVar

from studio.data.checks import Check, Hit, Row, Severity
from studio.data.checks._cells import LABEL, cells
from studio.data.language import language
from studio.data.templates import Mapping
from studio.settings import setting


class Language(Check):
    title: ClassVar[str] = "Other language"
    about: ClassVar[str] = "Not in the language that most texts of the same column are in; short texts and code pass."
    severity: ClassVar[Severity] = "warning"

    expected: str = setting(
        "", "Expected language", max_length=8, pattern="^[a-z]*$",
        help="Its code, such as en or de. Empty: whatever most texts of a column are in.",
        source="Lui and Baldwin 2012, langid.py",
    )  # fmt: skip

    def begin(self, mapping: Mapping) -> _Languages:
        return _Languages(mapping, self.expected)


class _Languages:
    """Languages by role and speaker: a prompt in English and an answer in French is what a translator learns from."""

    def __init__(self, mapping: Mapping, expected: str) -> None:
        self._mapping = mapping
        self._expected = expected
        self._spoken: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)

    def look(self, row_id: int, row: Row) -> None:
        for cell in cells(row, self._mapping):
            if cell.part != LABEL and (code := language(cell.text)):
                self._spoken[cell.role, cell.part].append((row_id, cell.place, code))

    def end(self) -> list[Hit]:
        whys: dict[int, str] = {}
        for spoken in self._spoken.values():
            usual = self._expected or Counter(code for _, _, code in spoken).most_common(1)[0][0]
            for row_id, place, code in spoken:
                if code != usual:
                    whys.setdefault(row_id, f"{place} looks like {code}, not {usual}")
        return [Hit(row_id, whys[row_id]) for row_id in sorted(whys)]
