"""Rows ↔ Parquet. A version of a data set is one such file; nothing ever changes it.

A column keeps the type of its cells where all are texts, whole numbers, numbers or truth values.
Anything else (lists, objects, cells of mixed types) is kept as JSON text, exactly as it was read,
and its field is marked. `Cells` turns what stands in the file back into what the row held.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from studio.data.csv_rows import column_names
from studio.data.files import no_bomb, refuse_bomb
from studio.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]
T = TypeVar("T")
Kind = Literal["text", "whole", "number", "truth", "json", "other"]

MOST_COLUMNS = 5_000
_BATCH = 1_000  # rows; groups are made of whole batches, so that equal rows make equal files
_GROUP = 3_000  # rows a row group: a hundred scattered rows are in a hundred of them
_GROUP_BYTES = 32_000_000  # or fewer, where rows are long
_DICTIONARY = 16_384  # bytes
_MARK = {b"studio": b"json"}
_WHOLE = 2**63
_READ_AHEAD = 16  # batches
_CHUNK = 1_000_000  # bytes of a foreign file read at a time: its row groups may be large

_TYPES: dict[type, Kind] = {str: "text", int: "whole", float: "number", bool: "truth"}


def write_rows(rows: Iterable[Row], path: Path) -> int:
    """Write rows of any shape as one Parquet file; returns how many.

    Reads them once and holds few at a time. Types are those of the first rows; where later ones
    differ, another part is begun, and the parts are put together under types that fit all.
    Raises DatasetError for more than MOST_COLUMNS columns.
    """
    spool = _Spool(path)
    try:
        remaining = iter(rows)
        while batch := list(islice(remaining, _BATCH)):
            spool.add(batch)
        return spool.finish()
    finally:
        spool.clean()


def adopt(
    source: Path,
    path: Path,
    progress: Callable[[float], None] | None = None,
    shown: str = "The Parquet file",
) -> None:
    """Write another program's Parquet file as one of ours: types are kept, what we cannot edit is made plain.

    Row groups become small, so that a page is read fast. `progress` is told the share done, 0 to 1.
    Raises DatasetError for a damaged file, and for more than MOST_COLUMNS columns.
    """
    import pyarrow.parquet

    schema = _plain(schema_of(source, shown))
    _refuse_wide(len(schema))
    marked = [field.name for field in schema if kind_of(field) == "json"]
    with pyarrow.parquet.ParquetFile(source, buffer_size=_CHUNK, pre_buffer=False) as file, Writer(path, schema) as own:
        try:
            for batch in _ahead(no_bomb(file.iter_batches(batch_size=_BATCH), source.stat().st_size, shown)):
                table = pyarrow.Table.from_batches([batch]).rename_columns(schema.names).cast(schema)
                for name in marked:
                    _ = [json.loads(cell) for cell in table.column(name).to_pylist() if cell is not None]
                own.write(table)
                if progress:
                    progress(own.rows / file.metadata.num_rows)
        except (pyarrow.ArrowException, OSError, ValueError, KeyError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the file's
                raise
            raise _damaged(shown) from None


def is_plain(path: Path) -> bool:
    """Whether `adopt` would change no column: another program's file that can be edited as it is."""
    schema = schema_of(path)
    return _plain(schema).equals(schema) and not any(kind_of(field) == "json" for field in schema)


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same, read by a thread while the ones before are worked on: Arrow lets Python go on meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(next, batches, None) for _ in range(_READ_AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(next, batches, None))
            yield batch


def _plain(schema: pyarrow.Schema) -> pyarrow.Schema:
    """A name of its own for each column, and types that cells of any such value can be added to."""
    import pyarrow

    types, fields = pyarrow.types, []
    distinct = len(set(schema.names)) == len(schema.names)
    for name, field in zip(schema.names if distinct else column_names(schema.names), schema, strict=True):
        type_ = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_null(type_) or types.is_large_string(type_) or types.is_string_view(type_):
            type_ = pyarrow.string()
        elif types.is_fixed_size_binary(type_) or types.is_binary_view(type_):
            type_ = pyarrow.binary()
        is_ours = kind_of(field) == "json" and types.is_string(type_)
        fields.append(pyarrow.field(name, type_, metadata=_MARK if is_ours else None))
    return pyarrow.schema(fields)


def kind_of(field: Any) -> Kind:
    """What a column of a Parquet file holds."""
    import pyarrow

    if (field.metadata or {}).get(b"studio") == b"json":
        return "json"
    types = pyarrow.types
    if types.is_string(field.type) or types.is_large_string(field.type):
        return "text"
    if types.is_integer(field.type):
        return "whole"
    if types.is_boolean(field.type):
        return "truth"
    return "number" if types.is_floating(field.type) else "other"


def schema_of(path: Path, shown: str = "The Parquet file") -> pyarrow.Schema:
    """The columns of a Parquet file that people know as `shown`. Raises DatasetError for damaged ones and bombs."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            refuse_bomb(file.metadata, path.stat().st_size, shown)
            return file.schema_arrow
    except (pyarrow.ArrowException, OSError, ValueError, KeyError):
        raise _damaged(shown) from None


def _damaged(shown: str) -> DatasetError:
    return DatasetError(
        f"{shown} is damaged, or of a kind of Parquet that cannot be read here.",
        remedy="Download or export it again; CSV and JSON Lines work too.",
    )


def rows_of(path: Path) -> Iterator[Row]:
    """All rows of a Parquet file in order, cells as they were before `write_rows`."""
    for batch in batches_of(path):
        yield from decoded(batch)


def batches_of(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """The file's record batches in order, `_BATCH` rows at most."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_BATCH)


def decoded(batch: pyarrow.RecordBatch | pyarrow.Table) -> list[Row]:
    """Rows of a batch, JSON text turned back into what it stands for."""
    columns = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        cells = column.to_pylist()
        if kind_of(field) == "json":
            cells = [None if cell is None else json.loads(cell) for cell in cells]
        columns[field.name] = cells
    names = list(columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


class Writer:
    """Record batches of one schema → a Parquet file whose bytes depend on the rows alone."""

    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        import pyarrow.parquet

        self.rows = 0
        # Uncompressed: a filter reads every text, and a page of scattered rows unpacks a hundred groups.
        # A small dictionary serves labels; one of every text would cost more than the texts.
        self._file = pyarrow.parquet.ParquetWriter(
            path, schema, compression="none", dictionary_pagesize_limit=_DICTIONARY
        )
        self._schema = schema
        self._waiting: list[pyarrow.Table] = []  # not yet whole batches
        self._group: list[pyarrow.Table] = []

    def write(self, table: pyarrow.Table) -> None:
        import pyarrow

        self.rows += table.num_rows
        self._waiting.append(table)
        waiting = pyarrow.concat_tables(self._waiting)
        while waiting.num_rows >= _BATCH:
            self._add(waiting.slice(0, _BATCH))
            waiting = waiting.slice(_BATCH)
        self._waiting = [waiting] if waiting.num_rows else []

    def _add(self, batch: pyarrow.Table) -> None:
        self._group.append(batch)
        rows = sum(each.num_rows for each in self._group)
        if rows >= _GROUP or sum(each.nbytes for each in self._group) >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._group:
            group = pyarrow.concat_tables(self._group).combine_chunks()
            self._file.write_table(group, row_group_size=group.num_rows)
            self._group = []

    def close(self) -> None:
        self._group += self._waiting
        self._flush()
        self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends the file. What was to be written when an error came is given up."""
        if kind is None:
            self.close()
        else:
            with suppress(OSError):  # the error that came first is the one to tell
                self._file.close()


class _Spool:
    """Parts of one data set, each under the types that its rows agree on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[tuple[Path, dict[str, Kind | None]]] = []
        self._writer: Writer | None = None

    def add(self, batch: Sequence[Row]) -> None:
        names = list(dict.fromkeys(name for row in batch for name in row))
        cells = {name: [row.get(name) for row in batch] for name in names}
        found: dict[str, Kind | None] = {name: _common(values) for name, values in cells.items()}
        kinds = self._kinds(found)
        _refuse_wide(len(kinds))
        if self._writer is None:
            part = self._path.with_name(f"{self._path.name}.part{len(self._parts)}")
            self._parts.append((part, kinds))
            self._writer = Writer(part, _schema(kinds))
        self._writer.write(_table(cells, kinds, len(batch)))

    def _kinds(self, found: dict[str, Kind | None]) -> dict[str, Kind | None]:
        """The open part's kinds where these cells fit them; else that part is closed, and new ones hold."""
        if self._writer is not None:
            open_ = self._parts[-1][1]
            if all(name in open_ and kind in (None, open_[name]) for name, kind in found.items()):
                return open_
            self._writer.close()
            self._writer = None
            return {**open_, **{name: _wider(open_.get(name), kind) for name, kind in found.items()}}
        return found

    def finish(self) -> int:
        """One file under the final name; the number of rows."""
        if self._writer is None:
            self._writer = Writer(self._path.with_name(f"{self._path.name}.part0"), _schema({}))
            self._parts.append((self._path.with_name(f"{self._path.name}.part0"), {}))
        self._writer.close()
        if len(self._parts) == 1:
            self._parts[0][0].replace(self._path)
            return self._writer.rows
        kinds = self._parts[-1][1]  # each part's kinds are wider than those before
        with Writer(self._path, _schema(kinds)) as whole:
            for part, own in self._parts:
                for batch in batches_of(part):
                    whole.write(_widened(batch, own, kinds))
        return whole.rows

    def clean(self) -> None:
        if self._writer is not None:
            self._writer.__exit__(Exception)
        for part, _ in self._parts:
            part.unlink(missing_ok=True)


def _refuse_wide(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise DatasetError(
            f"The rows have more than {MOST_COLUMNS:,} columns.",
            remedy="Give all rows the same few keys; what differs from row to row belongs into a list or an object.",
        )


def _common(cells: list[Any]) -> Kind | None:
    """The kind that all cells are of; None where all are empty."""
    types = set(map(type, cells)) - {type(None)}
    if not types:
        return None
    kind = _TYPES.get(next(iter(types)), "json") if len(types) == 1 else "json"
    if kind == "whole" and any(cell is not None and not -_WHOLE <= cell < _WHOLE for cell in cells):
        return "json"
    return kind


def _wider(one: Kind | None, other: Kind | None) -> Kind | None:
    return one or other if one is None or other is None or one == other else "json"


def _schema(kinds: dict[str, Kind | None]) -> pyarrow.Schema:
    import pyarrow

    types = {"whole": pyarrow.int64(), "number": pyarrow.float64(), "truth": pyarrow.bool_()}
    return pyarrow.schema(
        [
            pyarrow.field(name, types.get(kind or "", pyarrow.string()), metadata=_MARK if kind == "json" else None)
            for name, kind in kinds.items()
        ]
    )


def _table(cells: dict[str, list[Any]], kinds: dict[str, Kind | None], rows: int) -> pyarrow.Table:
    import pyarrow

    nothing = [None] * rows
    columns = [
        _as_json(cells.get(n, nothing)) if kind == "json" else cells.get(n, nothing) for n, kind in kinds.items()
    ]
    schema = _schema(kinds)
    return pyarrow.table([_array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _array(cells: list[Any], type_: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    try:
        return pyarrow.array(cells, type_)
    except UnicodeEncodeError:
        return pyarrow.array([None if cell is None else whole_letters(cell) for cell in cells], type_)


def _widened(batch: pyarrow.RecordBatch, own: dict[str, Kind | None], kinds: dict[str, Kind | None]) -> pyarrow.Table:
    """A part's batch under the final kinds: what was text, number or truth becomes JSON where others differ."""
    import pyarrow

    schema, columns = _schema(kinds), []
    for field, kind in zip(schema, kinds.values(), strict=True):
        if own.get(field.name) is None:
            columns.append(pyarrow.nulls(batch.num_rows, field.type))
        elif own[field.name] == kind:
            columns.append(batch.column(field.name))
        else:
            columns.append(_array(_as_json(batch.column(field.name).to_pylist()), field.type))
    return pyarrow.table(columns, schema=schema)


def _as_json(cells: list[Any]) -> list[str | None]:
    return [None if cell is None else to_json(cell) for cell in cells]


def to_json(cell: Any) -> str:
    """A cell as JSON text; other languages' letters stay readable, so that they can be searched for."""
    try:
        text = json.dumps(cell, ensure_ascii=False, default=plain)
    except TypeError:  # a key that JSON has none like, such as a date
        text = json.dumps(plain(cell), ensure_ascii=False)
    return whole_letters(text)


def plain(cell: Any) -> Any:
    """The cell with what JSON cannot hold as text, at any depth: bytes, dates, decimals, a map's keys."""
    if cell is None or isinstance(cell, (str, int, float)):
        return cell
    if isinstance(cell, dict):
        return {str(plain(key)): plain(value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [plain(each) for each in cell]
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


def whole_letters(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no file can hold."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
