"""A table's rows as a file of one's own: JSON Lines, CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from studio.data.changes import cell_text
from studio.data.draft import write_table
from studio.data.parquet import to_json
from studio.data.table import Table
from studio.errors import DatasetError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell: OWASP, "CSV Injection"

Progress = Callable[[float], None]  # share done, 0..1


def export(table: Table, path: Path, progress: Progress | None = None) -> int:
    """Write all rows, edits included, in the format the path's ending names; how many cells were made safe.

    In CSV a text that a spreadsheet would run as a formula gets an apostrophe in front, which such
    programs do not show. Raises DatasetError for another ending.
    """
    writers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in writers:
        raise DatasetError(f"'{path.suffix}' is no format to write.", remedy=f"Choose one of: {', '.join(writers)}.")
    return writers[path.suffix](table, path, progress or (lambda _: None))


def _jsonl(table: Table, path: Path, progress: Progress) -> int:
    ids = table.ids()
    with path.open("w", encoding="utf-8") as file:
        for done, (_, row) in enumerate(table.rows(ids)):
            file.write(to_json(row) + "\n")
            if done % 5_000 == 0:
                progress(done / len(ids))
    return 0


def _csv(table: Table, path: Path, progress: Progress) -> int:
    ids, safe = table.ids(), 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # with its mark, spreadsheets know it is UTF-8
        writer = csv.writer(file)
        writer.writerow([neutral(name) for name in table.columns])
        for done, (_, row) in enumerate(table.rows(ids)):
            texts = [cell_text(cell) for cell in row.values()]
            written = [isinstance(cell, (str, bytes)) for cell in row.values()]  # else: a number may begin with a minus
            cells = [neutral(text) if own else text for text, own in zip(texts, written, strict=True)]
            safe += sum(old != new for old, new in zip(texts, cells, strict=True))
            writer.writerow(cells)
            if done % 5_000 == 0:
                progress(done / len(ids))
    return safe


def _parquet(table: Table, path: Path, progress: Progress) -> int:
    write_table(table, path)
    progress(1.0)
    return 0


def neutral(text: str) -> str:
    """A cell no spreadsheet runs."""
    return f"'{text}" if text.startswith(_FORMULA) else text
