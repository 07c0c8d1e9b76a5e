"""Delimited text → rows. The delimiter is found by trying; quotes and line breaks in fields are kept."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from studio.data.text import Findings, lines
from studio.errors import DatasetError

_FIELD_LIMIT = 20_000_000  # characters; the csv module's own limit, 131,072, is less than a long article
_LONGEST = 100_000  # lines of one record; a quotation left open must not gather up the whole file
_WIDEST = 20_000  # columns
_DELIMITERS = (",", ";", "\t", "|")
_NEVER = "\x1f"  # a delimiter no text holds: one column, whose commas are just commas
_END = "\x1eend"  # a last record of our own; when it does not come back, a quotation was left open
_UNCLOSED = "a quotation mark that is never closed, or not where it should be"


@dataclass
class _Record:
    line: int  # where it begins, from 1
    raw: str
    fields: list[str] | None  # None: the quotation marks do not fit


def csv_rows(chunks: Iterator[str], name: str, findings: Findings) -> Iterator[dict[str, Any]]:
    """Rows by header, all cells as text. Records that do not fit the header are set aside.

    A quotation that is never closed costs the row it stands in; reading goes on at the next line.
    Raises DatasetError where there are more columns than any table has.
    """
    head = next(chunks)
    declared, delimiter = _delimiter(head)
    source = lines(chain([head], chunks), findings)
    skipped = len(list(islice(source, declared)))
    records = _records(source, delimiter, skipped + 1, findings)
    header = _header(records, name, findings)
    short = 0
    for record in records:
        if record.fields is None:
            findings.put_aside(record.line, _UNCLOSED, record.raw)
        elif findings.cut_off and not record.raw.endswith(("\n", "\r")):
            findings.put_aside(record.line, "the row at which the file breaks off", record.raw)
        elif any(record.fields[len(header) :]):
            findings.put_aside(
                record.line, f"{len(record.fields)} fields where the header has {len(header)}", record.raw
            )
        else:
            missing = len(header) - len(record.fields)
            short += missing > 0
            yield dict(zip(header, record.fields + [""] * missing, strict=False))
    rest = "fewer fields than the header: the last columns were left empty."
    findings.count(short, f"1 row has {rest}", f"{{}} rows have {rest}")


@dataclass
class _Feed:
    """Lines for the csv module. Remembers those of the record at hand, so that it can be read again."""

    source: Iterator[str]
    number: int  # of the line that comes next, from 1
    taken: list[str] = field(default_factory=list)
    again: deque[str] = field(default_factory=deque)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) > _LONGEST:
            raise csv.Error("a quotation that does not end")
        line = self.again.popleft() if self.again else next(self.source)
        self.taken.append(line)
        self.number += 1
        return line

    def begin(self) -> int:
        """The number of the line the next record begins on."""
        self.taken.clear()
        return self.number

    def go_back(self) -> None:
        """Hand all but the first line of the record out once more."""
        self.again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1


def _records(source: Iterator[str], delimiter: str, first: int, findings: Findings) -> Iterator[_Record]:
    """All records but blank lines.

    Quotation marks are read strictly, so that one left open does not swallow the rows behind it unseen;
    a mark within a single line (`5" screen`) is taken as it is meant.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    feed = _Feed(source, first)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        line = feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            if findings.cut_off and not feed.taken[-1].endswith(("\n", "\r")):  # its lines are no rows of their own
                yield _Record(line, "".join(feed.taken), None)
                return
            fields = _leniently(feed.taken[0], delimiter)
            feed.go_back()
            yield _Record(line, feed.taken[0], fields)
            continue
        if any(cell.strip() for cell in fields):
            yield _Record(line, feed.taken[0] if len(feed.taken) == 1 else "".join(feed.taken), fields)


def _leniently(line: str, delimiter: str) -> list[str] | None:
    """The fields of a line whose quotation marks stand oddly; None where one is left open."""
    try:
        fields, *rest = csv.reader([line if line.endswith(("\n", "\r")) else f"{line}\n", _END], delimiter=delimiter)
    except csv.Error:
        return None
    return fields if rest == [[_END]] else None


def _delimiter(head: str) -> tuple[int, str]:
    """(lines that only declare it, as Excel's own `sep=;` does; the one under which most records fit the header)."""
    if declared := re.match(r'"?sep=(.)"?(\r\n?|\n)', head):
        return 1, declared[1]
    best = max(_DELIMITERS, key=lambda delimiter: _fit(head, delimiter))
    return 0, best if _fit(head, best)[1] > 1 else _NEVER


def _fit(head: str, delimiter: str) -> tuple[float, int]:
    """(share of the first records as wide as the header, width of the header); (0, 0): no table."""
    begin = io.StringIO(head[:200_000], newline="")
    records = islice(_records(begin, delimiter, 1, Findings()), 100)
    widths = [len(record.fields) for record in records if record.fields]
    if len(head) > 200_000 and 1 < len(widths) < 100:
        widths.pop()  # cut in two
    if not widths or widths[0] < 2:
        return 0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _header(records: Iterator[_Record], name: str, findings: Findings) -> list[str]:
    """Column names from the first record; notes where a name had to be made."""
    record = next(records, None)
    if record is None:
        return []
    if record.fields is None:
        raise DatasetError(
            f"{name} has {_UNCLOSED}, in its header on line {record.line}.",
            remedy="Open it in a spreadsheet, save it as 'CSV UTF-8' and upload that.",
        )
    if len(record.fields) > _WIDEST:
        raise DatasetError(
            f"{name} has {len(record.fields):,} columns, more than the {_WIDEST:,} that can be read.",
            remedy="Save only the columns to train on, one row a line.",
        )
    names = column_names(record.fields)
    if made := [repr(one) for one, cell in zip(names, record.fields, strict=True) if one != cell.strip()]:
        listed = ", ".join(made[:5]) + (f" and {len(made) - 5} more" if len(made) > 5 else "")
        findings.notes.append(f"Columns without a name of their own were given one: {listed}.")
    return names


def column_names(fields: list[str]) -> list[str]:
    """A name of its own for each column: blank ones are numbered, repeated ones get a suffix."""
    names: dict[str, int] = {}  # name → the last suffix tried for it
    for position, cell in enumerate(fields, start=1):
        wanted = name = cell.strip() or f"column {position}"
        while name in names:
            names[wanted] += 1
            name = f"{wanted} {names[wanted]}"
        names[name] = 1
    return list(names)
