"""A version's rows with unsaved edits over them, for processes that are handed a file and the edited rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.data.parquet import Row, plain, rows_of, schema_of
from studio.errors import DatasetError

Edited = dict[int, Row | None]  # row number → the row as it is now; None: deleted


def edited_rows(file: Path | None, edited: Edited, columns: list[str]) -> tuple[int, Iterator[tuple[int, Row]]]:
    """(how many rows there are, their numbers and cells). Numbers beyond the file's end are new rows.

    Raises DatasetError where one of `columns` is missing or the file cannot be read.
    """
    stored = _count(file, columns) if file else 0
    deleted = sum(row is None and number < stored for number, row in edited.items())
    new = [(number, row) for number, row in sorted(edited.items()) if number >= stored and row is not None]

    def every() -> Iterator[tuple[int, Row]]:
        for number, row in enumerate(rows_of(file)) if file else ():
            if (now := edited.get(number, row)) is not None:
                yield number, now
        yield from new

    return stored - deleted + len(new), every()


def sendable(row: Row) -> Row:
    """The row with what JSON cannot hold as text, at any depth."""
    return {column: plain(cell) for column, cell in row.items()}


def _count(file: Path, columns: list[str]) -> int:
    import pyarrow.parquet

    absent = [column for column in columns if column not in schema_of(file).names]
    if absent:
        raise DatasetError(
            f"The data set has no column {' or '.join(map(repr, absent))}.",
            remedy="Choose which column plays which part under 'Columns' in the Dataset tab.",
        )
    return pyarrow.parquet.read_metadata(file).num_rows
