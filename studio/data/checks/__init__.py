"""WHAT can be wrong with rows. One file per check; the file name is its key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from studio.catalog import Entry, discover, key_of
from studio.data.templates import Mapping

Row = dict[str, Any]  # as in the file: column → value
Severity = Literal["error", "warning", "hint"]

DELETE = "Delete the rows"
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")
_EVERY = 1000  # rows between two calls of `progress`


@dataclass(frozen=True)
class Hit:
    """A row a check stopped at. Of copies only the later ones are hits, never the row that stays."""

    row_id: int
    why: str  # what and where, e.g. "e-mail address in 'output'"; rows are named as people count, from 1


class Scan(Protocol):
    """One check on its way through the rows."""

    def look(self, row_id: int, row: Row) -> None:
        """Take note of a row; called once for each, in order."""
        ...

    def end(self) -> list[Hit]:
        """What was found, in the rows' order. What needs all rows at once is worked out here."""
        ...


class Check(Entry):
    """Base of all checks: thresholds as settings, what is looked for, and how it is mended.

    A check of single rows overrides `why`; one that compares rows overrides `begin`.
    """

    severity: ClassVar[Severity]
    remedy: ClassVar[str] = DELETE  # what `fix` does, as on a button; "" where there is none
    default: ClassVar[bool] = True  # whether it is run unless asked otherwise

    def applies(self, mapping: Mapping) -> bool:
        """Whether it makes sense for data of this format."""
        return True

    def why(self, row: Row, mapping: Mapping) -> str | None:
        """What is wrong with the row and where; None where nothing is."""
        raise NotImplementedError

    def begin(self, mapping: Mapping) -> Scan:
        """A fresh scan of one data set."""
        return _RowByRow(self, mapping)

    def fix(self, row: Row, mapping: Mapping, row_id: int) -> Row | None:
        """The mended row, None to delete it; `row` itself is not changed. Meant for rows that are hits."""
        return None if self.remedy else row


@dataclass(frozen=True)
class Finding:
    """All hits of one check, with what the page says about it."""

    check: str  # its key
    title: str
    severity: Severity
    about: str
    remedy: str
    hits: list[Hit]


def checks() -> dict[str, type[Check]]:
    """Key → settings class of every check there is."""
    return discover(sys.modules[__name__], Check)  # pyright: ignore[reportReturnType]


def examine(
    rows: Iterable[tuple[int, Row]],
    mapping: Mapping,
    chosen: Sequence[Check] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Finding]:
    """Findings that have hits, errors first, after one pass over `rows`, given as (row id, row).

    None chosen: every check that is run by default. Checks that do not apply to the mapping are left
    out. `progress` gets the number of rows seen, every 1,000 rows, and may raise to cancel.
    """
    if chosen is None:
        chosen = [check() for check in checks().values() if check.default]
    scans = [(check, check.begin(mapping)) for check in chosen if check.applies(mapping)]
    for seen, (row_id, row) in enumerate(rows, start=1):
        for _, scan in scans:
            scan.look(row_id, row)
        if progress and seen % _EVERY == 0:
            progress(seen)
    findings = [_finding(check, scan.end()) for check, scan in scans]
    found = [finding for finding in findings if finding.hits]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _finding(check: Check, hits: list[Hit]) -> Finding:
    return Finding(key_of(check), check.title, check.severity, check.about, check.remedy, hits)


class _RowByRow:
    """The scan of a check that needs one row at a time."""

    def __init__(self, check: Check, mapping: Mapping) -> None:
        self._check = check
        self._mapping = mapping
        self._hits: list[Hit] = []

    def look(self, row_id: int, row: Row) -> None:
        if why := self._check.why(row, self._mapping):
            self._hits.append(Hit(row_id, why))

    def end(self) -> list[Hit]:
        return self._hits
