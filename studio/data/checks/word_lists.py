"""How often groups of words occur: a look at one-sidedness, no judgement of it."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import field_validator

from studio.data.checks import Check, Hit, Row, Severity
from studio.data.checks._cells import whole
from studio.data.templates import Mapping
from studio.errors import ConfigError
from studio.settings import setting

_GROUPS = "female: she, her, hers, woman, women, girl, girls; male: he, him, his, man, men, boy, boys"


class WordLists(Check):
    """One hit per group, at the first row where one of its words stands."""

    title: ClassVar[str] = "Word groups"
    about: ClassVar[str] = "How often the words of each group occur: counts, not a verdict."
    severity: ClassVar[Severity] = "hint"
    remedy: ClassVar[str] = ""
    default: ClassVar[bool] = False

    groups: str = setting(
        _GROUPS, "Groups of words", max_length=20_000, help="name: word, word; name: word, word. Case does not count."
    )

    @field_validator("groups")
    @classmethod
    def _readable(cls, groups: str) -> str:
        if not _parsed(groups):
            raise ConfigError("'groups' names no words.", remedy="Write it as 'name: word, word; name: word, word'.")
        return groups

    def begin(self, mapping: Mapping) -> _Counts:
        return _Counts(mapping, _parsed(self.groups))


class _Counts:
    def __init__(self, mapping: Mapping, groups: dict[str, list[str]]) -> None:
        self._mapping = mapping
        self._patterns = {
            name: re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
            for name, words in groups.items()
        }
        self._seen: dict[str, list[int]] = {}  # group → [first row, occurrences, rows]

    def look(self, row_id: int, row: Row) -> None:
        text = whole(row, self._mapping)
        for name, pattern in self._patterns.items():
            if times := sum(1 for _ in pattern.finditer(text)):
                seen = self._seen.setdefault(name, [row_id, 0, 0])
                seen[1] += times
                seen[2] += 1

    def end(self) -> list[Hit]:
        return [
            Hit(first, f"{name}: {times:,} times in {rows:,} rows")
            for name, (first, times, rows) in sorted(self._seen.items(), key=lambda each: each[1][0])
        ]


def _parsed(groups: str) -> dict[str, list[str]]:
    """Group → its words; groups without a name or words are left out."""
    found = {}
    for group in re.split(r"[;\n]", groups):
        name, _, words = group.partition(":")
        listed = [word.strip() for word in words.split(",") if word.strip()]
        if name.strip() and listed:
            found[name.strip()] = listed
    return found
