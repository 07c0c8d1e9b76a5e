"""Tokenised rows as columns, in memory or mapped from a file: a hundred thousand rows are a few flat arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    import numpy
    import pyarrow

Row = TypeVar("Row")
_BATCH = 1_000  # rows that become Arrow's at a time


class Tokenised(Sequence[Row], Generic[Row]):
    """Rows of one dataclass, each made when it is asked for. A token takes 8 bytes here, some 50 as lists of ints.

    The dataclass has `input_ids` and `labels`, both lists of numbers; Arrow types follow from its annotations.
    """

    def __init__(self, kind: type[Row], table: pyarrow.Table) -> None:
        self.kind = kind
        self.table = table
        self._arrays = {name: _one_chunk(table.column(name)) for name in table.column_names}
        self._cells = {name: _reader(array) for name, array in self._arrays.items()}

    @property
    def lengths(self) -> numpy.ndarray:
        """Tokens of each row, int64 of shape (rows,)."""
        import numpy

        return numpy.diff(self._arrays["input_ids"].offsets.to_numpy())

    def flat(self, name: str) -> numpy.ndarray:
        """A column of lists end to end; of anything else, a value a row."""
        import pyarrow

        array = self._arrays[name]
        if pyarrow.types.is_large_list(array.type):
            return array.flatten().to_numpy()
        return array.to_numpy(zero_copy_only=False)

    def take(self, places: Sequence[int]) -> Tokenised[Row]:
        """Those rows, in that order; one may come several times."""
        import pyarrow

        return Tokenised(self.kind, self.table.take(pyarrow.array(places, pyarrow.int64())))

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Tokenised[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Tokenised[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Tokenised(self.kind, self.table.slice(start, max(0, stop - start)))
            return self.take(range(start, stop, step))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return self.kind(**{name: read(place) for name, read in self._cells.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as lists, which it stands in for


def tokenised(kind: type[Row], rows: Iterable[Row]) -> Tokenised[Row]:
    """Rows as columns; what is so already stays as it is."""
    import pyarrow

    if isinstance(rows, Tokenised):
        return rows
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    schema = schema_of(kind)
    batches = [
        pyarrow.RecordBatch.from_pydict({name: [getattr(row, name) for row in part] for name in names}, schema)
        for part in _parts(rows)
    ]
    return Tokenised(kind, pyarrow.Table.from_batches(batches, schema).combine_chunks())


def cut(kind: type[Row], columns: dict[str, Any], offsets: dict[str, Any]) -> Tokenised[Row]:
    """Rows of `kind` out of flat columns: each that holds lists is cut at its `offsets`, from 0 to its length."""
    import pyarrow

    schema = schema_of(kind)
    arrays = [
        pyarrow.LargeListArray.from_arrays(
            pyarrow.array(offsets[field.name], pyarrow.int64()),
            pyarrow.array(columns[field.name], field.type.value_type),
        )
        if pyarrow.types.is_large_list(field.type)
        else pyarrow.array(columns[field.name], field.type)
        for field in schema
    ]
    # Types first: a list's own field is named otherwise where it was made from arrays.
    return Tokenised(kind, pyarrow.Table.from_arrays(arrays, schema=schema))


def joined(rows: Sequence[Tokenised[Row]]) -> Tokenised[Row]:
    """The rows of all, in order."""
    import pyarrow

    return Tokenised(rows[0].kind, pyarrow.concat_tables([each.table for each in rows]).combine_chunks())


def lengths_of(rows: Sequence[Any]) -> Sequence[int]:
    """Tokens of each row, without making any where they are columns."""
    return rows.lengths.tolist() if isinstance(rows, Tokenised) else [len(row.input_ids) for row in rows]


def schema_of(kind: type[Any]) -> pyarrow.Schema:
    """Arrow's types for the annotations of a dataclass of rows."""
    import pyarrow

    types = {
        "list[int]": pyarrow.large_list(pyarrow.int32()),
        "list[float]": pyarrow.large_list(pyarrow.float64()),
        "bool": pyarrow.bool_(),
        "str": pyarrow.large_string(),
    }
    return pyarrow.schema([(field.name, types[str(field.type)]) for field in fields(kind)])


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == _BATCH:
            yield part
            part = []
    if part:
        yield part


def _one_chunk(column: pyarrow.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _reader(array: Any) -> Callable[[int], Any]:
    """Place → cell as Python knows it; lists by way of numpy, ten times as fast as Arrow's own."""
    import pyarrow

    if not pyarrow.types.is_large_list(array.type):
        return lambda place: array[place].as_py()
    values, offsets = array.values.to_numpy(), array.offsets.to_numpy()
    return lambda place: values[offsets[place] : offsets[place + 1]].tolist()
