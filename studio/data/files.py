"""Any file a person has → rows. What cannot be read is said in one sentence, never as a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from studio.data.code_files import code_rows
from studio.data.csv_rows import column_names, csv_rows
from studio.data.dataset import Dataset, SetAside
from studio.data.json_rows import json_rows, looks_like_json
from studio.data.text import CHUNK, GZIP, KINDS, LONGEST, Findings, lines, text_of, unpacked
from studio.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow.parquet

_TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt")
SUFFIXES = (*_TEXTS, ".parquet", *(f"{suffix}.gz" for suffix in _TEXTS))
_PARQUET = b"PAR1"
_BATCH = 128  # rows of a Parquet file held at a time
_BOMB_RATIO, _BOMB_SIZE = 1_000, 4_000_000_000  # declared by a Parquet file: times its size, bytes
_SWOLLEN = 1_000_000_000  # bytes that come of one all the same: of equal cells it keeps but one

Row = dict[str, Any]
Batch = TypeVar("Batch", bound=Any)


class Reading:
    """A file being read. Iterate once for its rows; `set_aside` and `notes` are whole when the iteration has ended.

    Iterating raises DatasetError where the file turns out to hold no rows, or cannot be read on.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name  # as the person knows it
        self.share = 0.0  # of the file read so far, 0 to 1
        self._path = path
        self._findings = Findings()

    @property
    def set_aside(self) -> list[SetAside]:
        return self._findings.set_aside

    @property
    def notes(self) -> list[str]:
        return self._findings.notes

    def __iter__(self) -> Iterator[Row]:
        found = False
        try:
            for row in self._rows():
                found = True
                yield row
        except OSError as error:
            raise _unreadable(self.name, error) from None
        if not found:
            raise _no_rows(self.name, self.set_aside)
        self.share = 1.0

    def _rows(self) -> Iterator[Row]:
        if self._path.is_dir():
            yield from self._sharing(code_rows(self._path, self.name, self._findings))
            return
        size = self._path.stat().st_size
        if not size:
            raise DatasetError(f"{self.name} is empty.", remedy="Choose a file with rows in it.")
        with self._path.open("rb") as file:
            first = file.read(4)
            file.seek(0)
            if first == _PARQUET:
                yield from self._sharing(_parquet_rows(file, size, self.name, self._findings))
            elif _kind(self.name) == ".parquet":
                raise DatasetError(f"{self.name} is not a Parquet file, whatever its name says.", remedy=KINDS)
            else:
                packed = first.startswith(GZIP)
                if packed != self.name.lower().endswith(".gz"):
                    self.notes.append(f"The file is {'' if packed else 'not '}a gzip archive, whatever its name says.")
                source = unpacked(file, self.name, self._findings) if packed else file
                chunks = self._counted(text_of(source, self.name, self._findings), file, size)
                yield from _text_rows(chunks, _kind(self.name), self.name, self._findings)

    def _counted(self, chunks: Iterator[str], file: BinaryIO, size: int) -> Iterator[str]:
        for chunk in chunks:
            self.share = min(1.0, file.tell() / size)
            yield chunk

    def _sharing(self, rows: Iterator[tuple[float, Row]]) -> Iterator[Row]:
        for self.share, row in rows:
            yield row


def open_rows(path: Path, name: str | None = None) -> Reading:
    """A file, or a folder of source code, to be read row by row: however large it is, few rows are held.

    `name`, where given, stands for the file's own name and decides its kind. Content counts more than the
    name: JSON Lines in a .json, Parquet in a .csv are read as what they are. Raises DatasetError for what
    is not there or of no known kind.
    """
    shown = Path(name or path.name).name
    try:
        if not path.exists():
            raise DatasetError(f"There is no file {shown}.", remedy="Check its name and place.")
        if not path.is_dir() and (_kind(shown) is None or not path.is_file()):
            raise DatasetError(f"{shown} is not of a kind that can be read.", remedy=KINDS)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(shown, error) from None
    return Reading(path, shown)


def read(path: Path, name: str | None = None) -> Dataset:
    """All rows of a file at once; see `open_rows`. Raises DatasetError for whatever is not rows."""
    reading = open_rows(path, name)
    rows = list(reading)
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return Dataset(reading.name, columns, rows, reading.set_aside, tuple(reading.notes))


def _kind(name: str) -> str | None:
    """The ending that tells how to read a file, without `.gz`; None where it is not one of SUFFIXES."""
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    return ending.removesuffix(".gz") if ending else None


def _text_rows(chunks: Iterator[str], suffix: str | None, name: str, findings: Findings) -> Iterator[Row]:
    head = next(chunks)
    chunks = chain([head], chunks)
    if suffix == ".txt":
        return _paragraphs(chunks, findings)
    if re.match(r"\s*<(!doctype|html)", head, re.IGNORECASE):
        raise DatasetError(
            f"{name} is a web page, not data.", remedy="Download the file itself (often called 'raw') and choose that."
        )
    if suffix in (".csv", ".tsv") and not looks_like_json(head):
        return csv_rows(chunks, name, findings)
    return json_rows(chunks, name, findings)


def _paragraphs(chunks: Iterator[str], findings: Findings) -> Iterator[Row]:
    """One row a paragraph; a blank line stands between paragraphs."""
    begin, size, part = 1, 0, []
    for number, line in enumerate(chain(lines(chunks, findings), ["\n"]), start=1):
        if not line.isspace():
            begin = begin if size else number
            size += len(line)
            if size <= LONGEST:
                part.append(line)
        elif size:
            if size > LONGEST:
                findings.put_aside(
                    begin, f"a paragraph of more than {LONGEST // 1_000_000} million characters", part[0]
                )
            else:
                yield {"text": "".join(part).replace("\r\n", "\n").replace("\r", "\n").strip()}
            size, part = 0, []


def _parquet_rows(file: BinaryIO, size: int, name: str, findings: Findings) -> Iterator[tuple[float, Row]]:
    """(share read, row) of a Parquet file, batch by batch; lists and structs become Python's own."""
    import pyarrow
    import pyarrow.parquet

    try:
        parquet = pyarrow.parquet.ParquetFile(file, buffer_size=CHUNK, pre_buffer=False)  # a row group is never held
        refuse_bomb(parquet.metadata, size, name)
        found, names = 0, column_names(parquet.schema_arrow.names)
        if names != parquet.schema_arrow.names:
            findings.notes.append("Columns without a name of their own were given one.")
        for batch in no_bomb(parquet.iter_batches(batch_size=_BATCH), size, name):
            for row in batch.rename_columns(names).to_pylist() if names else []:
                found += 1
                yield found / parquet.metadata.num_rows, row
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError):
        raise DatasetError(
            f"{name} is a damaged Parquet file, or one of a kind that cannot be read here.",
            remedy="Download or export it again; CSV and JSON Lines work too.",
        ) from None


def refuse_bomb(metadata: pyarrow.parquet.FileMetaData, size: int, name: str) -> None:
    """Raise DatasetError for a Parquet file of `size` bytes that says it unpacks beyond all measure."""
    declared = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if declared > _BOMB_SIZE and declared > _BOMB_RATIO * size:
        raise _beyond(name, declared)


def no_bomb(batches: Iterable[Batch], size: int, name: str) -> Iterator[Batch]:
    """The same record batches. Raises DatasetError where they swell, whatever their file of `size` bytes declares."""
    swollen = 0
    for batch in batches:
        swollen += sum(_written_out(column).nbytes for column in batch.columns)
        if swollen > _SWOLLEN and swollen > _BOMB_RATIO * size:
            raise _beyond(name, swollen)
        yield batch


def _written_out(column: Any) -> Any:
    """With each cell, where it names one of a few."""
    return column.dictionary_decode() if hasattr(column, "dictionary_decode") else column


def _beyond(name: str, swollen: int) -> DatasetError:
    return DatasetError(
        f"{name} unpacks to {swollen // 1_000_000:,} MB or more, which is beyond what is read.",
        remedy="If its content is sound, split it and choose the parts.",
    )


def _unreadable(shown: str, error: Exception) -> DatasetError:
    reason = getattr(error, "strerror", None) or error
    return DatasetError(f"{shown} cannot be read ({reason}).", remedy="Check its permissions, or choose another file.")


def _no_rows(shown: str, aside: list[SetAside]) -> DatasetError:
    if aside:
        return DatasetError(
            f"{shown} has no row that can be read: line {aside[0].line} has {aside[0].reason}.",
            remedy="Mend the rows, or save the file again as 'CSV UTF-8'.",
        )
    return DatasetError(f"{shown} has no rows, at most a header.", remedy="Choose a file with rows in it.")
