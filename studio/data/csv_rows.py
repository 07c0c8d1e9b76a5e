"""Delimited text → rows. The delimiter is found by trying; quotes and line breaks in fields are kept."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from studio.data.dataset import SetAside
from studio.errors import DatasetError

_FIELD_LIMIT = 10_000_000  # characters; the csv module's own limit, 131,072, is less than a long article
_DELIMITERS = (",", ";", "\t", "|")
_NEVER = "\x1f"  # a delimiter no text holds: one column, whose commas are just commas
_END = "\x1eend"  # a last record of our own; when it does not come back, a quotation was left open


def parse_csv(text: str, name: str) -> tuple[list[dict[str, Any]], list[SetAside]]:
    """Rows by header, all cells as text, and the records that have more fields than the header.

    Raises DatasetError where a quotation never ends or a field is beyond all measure.
    """
    text, delimiter = _delimiter(text)
    try:
        records = list(_records(text, delimiter))
    except csv.Error as error:
        raise _unreadable(name, f"cannot be read as a table ({error})") from None
    line, last = records.pop()
    if last != [_END]:
        raise _unreadable(name, f"has a quotation mark that is never closed, in the row that begins on line {line}")
    if not records:
        return [], []
    header = _header(records[0][1])
    rows, aside = [], []
    for line, fields in records[1:]:
        if any(fields[len(header) :]):
            aside.append(SetAside(line, f"{len(fields)} fields where the header has {len(header)}"))
        else:
            fields += [""] * (len(header) - len(fields))
            rows.append(dict(zip(header, fields, strict=False)))
    return rows, aside


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line the record begins on, its fields), blank lines left out, `_END` last."""
    csv.field_size_limit(_FIELD_LIMIT)
    ending = "" if text.endswith(("\n", "\r")) else "\n"
    reader = csv.reader(io.StringIO(f"{text}{ending}{_END}", newline=""), delimiter=delimiter)
    begin = 1
    for fields in reader:
        if any(field.strip() for field in fields):
            yield begin, fields
        begin = reader.line_num + 1


def _delimiter(text: str) -> tuple[str, str]:
    """(text behind Excel's own `sep=;` line, the delimiter under which most records fit the header)."""
    if declared := re.match(r'"?sep=(.)"?\r?\n', text):
        return text[declared.end() :], declared[1]
    best = max(_DELIMITERS, key=lambda delimiter: _fit(text, delimiter))
    return text, best if _fit(text, best)[1] > 1 else _NEVER


def _fit(text: str, delimiter: str) -> tuple[float, int]:
    """(share of the first records as wide as the header, width of the header); (0, 0): no table."""
    try:
        widths = [len(fields) for _, fields in islice(_records(text[:200_000], delimiter), 100)][:-1]
    except csv.Error:
        return 0, 0
    if not widths or widths[0] < 2:
        return 0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _header(fields: list[str]) -> list[str]:
    """Column names, each one of its own: blank ones are numbered, repeated ones get a suffix."""
    names: list[str] = []
    for position, field in enumerate(fields, start=1):
        wanted = field.strip() or f"column {position}"
        name, count = wanted, 1
        while name in names:
            count += 1
            name = f"{wanted} {count}"
        names.append(name)
    return names


def _unreadable(name: str, what: str) -> DatasetError:
    return DatasetError(f"{name} {what}.", remedy="Open it in a spreadsheet, save it as 'CSV UTF-8' and upload that.")
