"""What can be said of a data set before anything is trained: how it reads, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.data import checked
from studio.data.checks import Finding, checks, examine
from studio.data.dataset import SetAside
from studio.data.dataset_info import INFO
from studio.data.formats import FORMATS
from studio.data.library import Part, look, settle
from studio.data.parquet import Row, rows_of
from studio.data.templates import CHOOSE_COLUMNS, Mapping, explain_row
from studio.errors import DatasetError
from studio.workspace import Workspace

SHOWN = 5  # examples of a finding, and rows set aside; the count says how many there are
_ORIGINS = {"sample": "the sample's own", "yours": "as chosen for it", "file": f"from {INFO}"}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """One data set. Lines of the file are counted from 1; the row ids of findings from 0, as everywhere."""

    title: str
    mapping: Mapping
    origin: str  # of the mapping, in words
    rows: int
    learnable: int  # of them: those with something to learn
    held_out: int  # rows it brings of its own to score on
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    set_aside: list[SetAside]
    findings: list[Finding]


def report(source: str, workspace: Workspace, tell: Tell | None = None) -> Report:
    """Read and check the data set that `library.look` finds; `tell` gets what is going on, in words.

    Raises DatasetError where the data set cannot be used: unreadable, no rows, a format that is not
    known, or no row to learn from.
    """
    tell = tell or (lambda _: None)
    tell(f"Reading {source} ...")
    found = look(source, workspace)
    opened = settle(found)
    rows = _Learnable(opened.train, opened.mapping)
    total = opened.train.total
    findings = examine(rows, opened.mapping, progress=lambda seen: tell(f"Checked {seen:,} of {total:,} rows ..."))
    if not rows.count:
        raise DatasetError(
            f"{found.title} has no row to learn from: in the first one {rows.why}.",
            remedy=f"Fill in what is missing. Or: {CHOOSE_COLUMNS}",
        )
    checked.keep(workspace, opened.train.path, [key for key, cls in checks().items() if cls.default], findings)
    return Report(
        title=found.title,
        mapping=opened.mapping,
        origin=_ORIGINS[found.kind] if found.mapping else "detected",
        rows=total,
        learnable=rows.count,
        held_out=opened.validation.total if opened.validation else 0,
        columns=opened.train.columns,
        notes=opened.train.notes,
        set_aside=opened.train.set_aside,
        findings=findings,
    )


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON holds it, rows counted from 1."""
    return {
        "usable": True,
        "title": report.title,
        "format": report.mapping.format,
        "mapping": dict(report.mapping.columns),
        "mapping_origin": report.origin,
        "rows": report.rows,
        "rows_to_learn_from": report.learnable,
        "held_out_rows": report.held_out,
        "columns": list(report.columns),
        "notes": list(report.notes),
        "set_aside": {
            "count": len(report.set_aside),
            "first": [{"line": row.line, "reason": row.reason} for row in report.set_aside[:SHOWN]],
        },
        "findings": [
            {
                "check": finding.check,
                "title": finding.title,
                "severity": finding.severity,
                "count": len(finding.hits),
                "examples": [{"row": hit.row_id + 1, "why": hit.why} for hit in finding.hits[:SHOWN]],
            }
            for finding in report.findings
        ],
    }


def lines(report: Report) -> Iterator[str]:
    """The report for people, without characters that a terminal would act on."""
    for line in _lines(report):
        yield "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def _lines(report: Report) -> Iterator[str]:
    held_out = f", and {report.held_out:,} held out" if report.held_out else ""
    yield f"Data set: {report.title}"
    yield f"Format:   {FORMATS[report.mapping.format].label} ({report.mapping.format}), {report.origin}"
    yield f"Mapping:  {', '.join(f'{role}: {column}' for role, column in report.mapping.columns.items())}"
    yield f"Columns:  {', '.join(report.columns)}"
    yield f"Rows:     {report.rows:,}, {report.learnable:,} of them to learn from{held_out}"
    for note in report.notes:
        yield f"Note:     {note}"
    if report.set_aside:
        yield f"{_rows(len(report.set_aside))} could not be read and {_were(len(report.set_aside))} set aside:"
        yield from _first([f"line {row.line}: {row.reason}" for row in report.set_aside[:SHOWN]], report.set_aside)
    for finding in report.findings:
        yield f"{finding.severity.capitalize()}: {finding.title}, {_rows(len(finding.hits))}"
        yield from _first([f"row {hit.row_id + 1:,}: {hit.why}" for hit in finding.hits[:SHOWN]], finding.hits)
    if not report.findings:
        yield "The checks found nothing."


def _first(shown: list[str], things: list[Any]) -> Iterator[str]:
    yield from (f"  {line}" for line in shown)
    if len(things) > len(shown):
        yield f"  and {len(things) - len(shown):,} more"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


class _Learnable:
    """A part's rows with their ids; those with something to learn are counted as they pass."""

    def __init__(self, part: Part, mapping: Mapping) -> None:
        self.count = 0
        self.why = ""  # the first row that has nothing has nothing
        self._part = part
        self._mapping = mapping

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        for row_id, row in enumerate(rows_of(self._part.path)):
            why = explain_row(row, self._mapping)
            self.why = self.why or why
            self.count += not why
            yield row_id, row
