"""One version of a data set, with the edits made since laid over it: pages, filters, sorts, SQL.

The rows stay in their Parquet file; duckdb reads what a question needs. Touched rows live whole in
a small table `patch`, which hides their originals. Rows are known by their place in the
file, from 0; added ones by numbers from there on.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.data.parquet import Kind, Row, kind_of, plain, schema_of, to_json, whole_letters
from studio.data.views import ALL, View, holds, in_any_case, literal
from studio.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np

MEMORY = "1GB"  # for sorting and filtering; beyond it duckdb uses the disk
SQL_SECONDS = 20.0
SQL_ROWS = 1_000
SQL_LETTERS = 4_000_000  # in all cells of an answer; rows beyond are left out
CELL_LETTERS = 2_000  # of a cell in an answer
_LESS = "Ask for less: add a WHERE, or leave out a join."
_REVISIONS = itertools.count(1)  # of the whole process: two tables of one file may hold different rows
_INEXACT = re.compile("DECIMAL|BLOB|NULL")  # types that JSON within lists and objects does not keep


@dataclass(frozen=True)
class Answer:
    """What an SQL query gave."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]  # numbers, truth values, None; all else as text of at most CELL_LETTERS
    more: bool  # rows beyond SQL_ROWS or SQL_LETTERS were left out


class TooLarge(DatasetError):
    """A query needs more memory than it may have."""


class Table:
    """A version's rows. Safe to use from several threads; `apply` has the write to itself."""

    def __init__(self, path: Path) -> None:
        import duckdb
        import pyarrow.parquet

        self.path = path
        schema = schema_of(path)
        self.columns: tuple[str, ...] = tuple(schema.names)
        self.kinds: dict[str, Kind] = {each.name: kind_of(each) for each in schema}
        self.base_rows: int = pyarrow.parquet.read_metadata(path).num_rows
        self.revision = next(_REVISIONS)  # another with every change, and never one that other rows had
        self._lock = threading.Lock()
        # Not `only our folder`: nothing but this one file can be read, and nothing can be loosened again.
        self._database = duckdb.connect(
            config={"memory_limit": MEMORY, "threads": 2, "autoinstall_known_extensions": False}
        )
        for statement in (
            f"SET allowed_paths = [{literal(str(path))}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._database.execute(statement)
        self._create()
        self._ids = lru_cache(maxsize=8)(self._find)

    # -- looking ---------------------------------------------------------------------------------

    def ids(self, view: View = ALL) -> np.ndarray:
        """Rows of the view in its order, int64. Raises DatasetError for a condition that cannot be asked."""
        return self._ids(view, self.revision)

    def fetch(self, rows: Sequence[int] | np.ndarray, letters: int | None = None) -> list[tuple[int, Row]]:
        """(row, its cells) of those rows that exist, in the order asked for.

        With `letters`, texts and JSON are cut to that many and JSON stays text: enough for a table.
        """
        if not len(rows):
            return []
        cells = ", ".join(self._cell(i, letters) for i in range(len(self.columns)))
        wanted = ", ".join(str(int(row)) for row in rows)
        found = self._execute(f"SELECT r, {cells} FROM rows WHERE r IN ({wanted})").fetchall()
        by_row = {each[0]: self._decoded(each[1:], whole=letters is None) for each in found}
        return [(int(row), by_row[int(row)]) for row in rows if int(row) in by_row]

    def rows(self, ids: Sequence[int] | np.ndarray | None = None, batch: int = 2_000) -> Iterator[tuple[int, Row]]:
        """(row, its cells) of all rows, or of `ids`, few in memory at a time."""
        chosen = self.ids() if ids is None else ids
        for at in range(0, len(chosen), batch):
            yield from self.fetch(chosen[at : at + batch])

    def sql(self, query: str, limit: int = SQL_ROWS) -> Answer:
        """One SELECT over the view `data`: columns by name, and `row`, from 1. Raises DatasetError for any other.

        What a query takes before it has a row is not bounded well: see querier.py.
        """
        import duckdb

        try:
            query = whole_letters(query)
            statements = duckdb.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise DatasetError(
                    "Only one SELECT can be asked here.", remedy="For changes use the editor's own buttons."
                )
            cursor = self._database.cursor()
            timer = threading.Timer(SQL_SECONDS, cursor.interrupt)
            timer.start()
            try:
                cursor.execute("BEGIN TRANSACTION READ ONLY")  # a SELECT may have an INSERT inside
                cursor.execute(query)
                return _answer(cursor, limit)
            finally:
                timer.cancel()
                cursor.interrupt()  # a query with rows to come would first be worked out to its end
                cursor.execute("ROLLBACK")
        except (duckdb.OutOfMemoryException, MemoryError):
            raise TooLarge("The query needs more memory than it may have.", remedy=_LESS) from None
        except duckdb.Error as error:
            raise _not_answered(error) from None

    # -- changing --------------------------------------------------------------------------------

    def apply(self, changes: Any) -> None:
        """Lay changes over the rows: an Arrow table of row, place, before, after (see changes.py).

        `before` and `after` are JSON objects {"c<column>": cell}; a null `before` is a row that comes,
        a null `after` one that goes. Raises DatasetError for a cell its column cannot hold; nothing is
        changed then.
        """
        import duckdb

        with self._lock:
            cursor = self._database.cursor()
            cursor.register("changes", changes)
            cursor.execute("BEGIN")
            try:
                self._lay(cursor)
                cursor.execute("COMMIT")
            except duckdb.ConversionException as error:
                cursor.execute("ROLLBACK")
                raise _not_held(error) from None
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.unregister("changes")
            self.revision = next(_REVISIONS)

    def _lay(self, cursor: Any) -> None:
        columns = ", ".join(f"c{i}" for i in range(len(self.columns)))
        cursor.execute(
            f"INSERT INTO patch SELECT r, place, false, {columns} FROM rows "
            "WHERE r IN (SELECT row FROM changes) AND r NOT IN (SELECT r FROM patch)"
        )
        everything = range(len(self.columns))
        fresh = ", ".join(self._from_json(i, i) for i in everything)
        cursor.execute(
            f"INSERT INTO patch SELECT row, place, false, {fresh} FROM ({_written(everything)}) "
            "WHERE before IS NULL AND row NOT IN (SELECT r FROM patch)"  # gone again or not: its number is taken
        )
        cursor.execute("UPDATE patch SET gone = (after IS NULL) FROM changes WHERE r = row")
        # A row that comes back (`before` is null) stands in the patch as it went.
        keys = cursor.execute(
            "SELECT DISTINCT unnest(json_keys(after)) FROM changes WHERE before IS NOT NULL AND after IS NOT NULL"
        ).fetchall()
        chosen = sorted(int(key[1:]) for (key,) in keys)
        if chosen:
            cells = ", ".join(
                f"c{i} = CASE WHEN cells[{at + 1}] IS NULL THEN c{i} ELSE {self._from_json(i, at)} END"
                for at, i in enumerate(chosen)
            )
            cursor.execute(f"UPDATE patch SET {cells} FROM ({_written(chosen)}) WHERE r = row AND before IS NOT NULL")

    def select(self, statement: str, **tables: Any) -> Any:
        """An Arrow table: the engine's own question over `rows` (r, place, c0, c1 …) and the tables handed in."""
        import duckdb

        cursor = self._database.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        try:
            return cursor.sql(statement).to_arrow_table()
        except duckdb.Error as error:
            raise _not_answered(error) from None

    def called(self, row: int) -> str:
        """A row as people know it, who count from 1."""
        return f"row {row + 1:,}" if row < self.base_rows else f"added row {row - self.base_rows + 1:,}"

    def touched(self, rows: Sequence[int]) -> set[int]:
        """Those of `rows` that were edited or added since the version."""
        wanted = ", ".join(str(int(row)) for row in rows) or "NULL"
        return {row for (row,) in self._execute(f"SELECT r FROM patch WHERE r IN ({wanted})").fetchall()}

    def overlay(self) -> dict[int, Row | None]:
        """Touched rows as they are now, None for deleted ones."""
        touched = self.patched().column("r").to_pylist()
        return dict.fromkeys(touched) | dict(self.rows(touched))

    def patched(self) -> Any:
        """An Arrow table of all touched rows: r, place, gone, c0, c1 …"""
        return self.select("SELECT * FROM patch ORDER BY place, r")

    # -- SQL of our own --------------------------------------------------------------------------

    def _create(self) -> None:
        names = ", ".join([*(f"c{i}" for i in range(len(self.columns))), "r"])
        columns = ", ".join(f"c{i}" for i in range(len(self.columns)))
        base = f"{self._read()} AS base({names})"
        shown = ", ".join(
            f"{f'CAST(c{i} AS JSON)' if self.kinds[name] == 'json' else f'c{i}'} AS {_identifier(alias)}"
            for i, (name, alias) in enumerate(zip(self.columns, _distinct(self.columns), strict=True))
        )
        for statement in (
            f"CREATE TABLE patch AS SELECT r, CAST(r AS DOUBLE) AS place, false AS gone, {columns} FROM {base} LIMIT 0",
            f"CREATE VIEW rows AS SELECT r, CAST(r AS DOUBLE) AS place, {columns} FROM {base} "
            "WHERE r NOT IN (SELECT r FROM patch) "
            f"UNION ALL SELECT r, place, {columns} FROM patch WHERE NOT gone",
            f"CREATE VIEW data AS SELECT r + 1 AS row, {shown} FROM rows",
        ):
            self._execute(statement)
        described = self._execute("DESCRIBE patch").fetchall()
        self.types: tuple[str, ...] = tuple(str(each[1]) for each in described[3:])

    def _read(self) -> str:
        """SQL for the file's columns and each row's place, from 0."""
        file = f"read_parquet({literal(str(self.path))}, hive_partitioning = false"  # a folder a=b is no column
        if "file_row_number" in map(str.lower, self.columns):  # duckdb's own name for the place
            return f"(SELECT *, row_number() OVER () - 1 FROM {file}))"
        return f"{file}, file_row_number = true)"

    def _find(self, view: View, revision: int) -> np.ndarray:
        if view == ALL:
            return self._all()
        tables = {}
        wanted = [holds(each, self._as_text(self.index(each.column))) for each in view.conditions]
        if view.search:
            anywhere = (
                f"regexp_matches({self._as_text(i)}, {in_any_case(view.search)})" for i in range(len(self.columns))
            )
            wanted.append(f"({' OR '.join(anywhere)})")
        if view.only is not None:
            import pyarrow

            tables["chosen"] = pyarrow.table({"row": pyarrow.array(view.only, pyarrow.int64())})
            wanted.append("r IN (SELECT row FROM chosen)")
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        order = self._order(view)
        return self.select(f"SELECT r FROM rows{where} ORDER BY {order}", **tables).column("r").to_numpy()

    def _all(self) -> np.ndarray:
        """All rows in order, without asking the file: those of the file but the deleted, added ones in their places."""
        import numpy

        patch = self.select("SELECT r, place, gone FROM patch ORDER BY place, r")
        rows, places, gone = (patch.column(name).to_numpy() for name in ("r", "place", "gone"))
        stored = rows < self.base_rows
        ids = numpy.delete(numpy.arange(self.base_rows), rows[stored & gone])
        added = ~stored & ~gone
        return numpy.insert(ids, numpy.searchsorted(ids, places[added], "right"), rows[added])

    def _order(self, view: View) -> str:
        if not view.sort:
            return "place, r"
        i = self.index(view.sort)
        key = f"length({self._as_text(i)})" if view.by == "length" else f"c{i}"
        return f"{key} {'DESC' if view.descending else 'ASC'} NULLS LAST, place, r"

    def index(self, column: str) -> int:
        """The column's place, from 0. Raises DatasetError where there is no such column."""
        if column not in self.columns:
            raise DatasetError(f"There is no column '{column}'.", remedy=f"Choose one of: {', '.join(self.columns)}.")
        return self.columns.index(column)

    def as_json(self, i: int) -> str:
        """SQL for a cell as JSON, as changes hold it: exactly, so as text where JSON has no such number or type."""
        simple = self.kinds[self.columns[i]] != "other" or (self.nested(i) and not _INEXACT.search(self.types[i]))
        return f"to_json(c{i})" if simple else f"to_json(CAST(c{i} AS VARCHAR))"

    def nested(self, i: int) -> bool:
        """Whether the column's own type, rather than JSON text, makes lists and objects of its cells."""
        return self.types[i].endswith("]") or self.types[i].startswith(("STRUCT", "MAP"))

    def _from_json(self, i: int, at: int) -> str:
        """SQL for a cell of column `i` from the JSON that stands at place `at`, from 0, of `_written`."""
        cell = f"cells[{at + 1}]"
        text = f"({cell} ->> '$')"
        if self.types[i] == "VARCHAR":
            return text
        if self.kinds[self.columns[i]] != "other":
            return f"CAST({cell} AS {self.types[i]})"
        written = f"json_type({cell}) = 'VARCHAR'"
        return f"CASE WHEN {written} THEN CAST({text} AS {self.types[i]}) ELSE CAST({cell} AS {self.types[i]}) END"

    def _as_text(self, i: int) -> str:
        return f"c{i}" if self.types[i] == "VARCHAR" else f"CAST(c{i} AS VARCHAR)"

    def _cell(self, i: int, letters: int | None) -> str:
        if letters is None or self.kinds[self.columns[i]] in ("whole", "number", "truth"):
            return f"c{i}"
        return f"substr({self._as_text(i)}, 1, {letters + 1}) AS c{i}"

    def _decoded(self, cells: Sequence[Any], *, whole: bool) -> Row:
        """A row's cells; JSON is read where it was not cut."""
        return {
            name: json.loads(cell) if whole and cell is not None and self.kinds[name] == "json" else cell
            for name, cell in zip(self.columns, cells, strict=True)
        }

    def _execute(self, statement: str) -> Any:
        import duckdb

        try:
            return self._database.cursor().execute(statement)
        except duckdb.Error as error:
            raise _not_answered(error) from None


def _answer(cursor: Any, limit: int) -> Answer:
    """The first rows that a query gives, one after the other: a thousand may be more than memory holds."""
    rows: list[tuple[Any, ...]] = []
    letters, names = 0, tuple(str(each[0]) for each in cursor.description or ())
    while (cells := cursor.fetchone()) is not None:
        if len(rows) == limit or letters >= SQL_LETTERS:
            return Answer(names, rows, more=True)
        rows.append(tuple(map(_answered, cells)))
        letters += sum(len(cell) for cell in rows[-1] if isinstance(cell, str))
    return Answer(names, rows, more=False)


def _answered(cell: Any) -> Any:
    cell = plain(cell)
    if cell is None or isinstance(cell, (int, float)):
        return cell
    return (cell if isinstance(cell, str) else to_json(cell))[:CELL_LETTERS]


def too_slow() -> DatasetError:
    """The query was ended because of the time it took."""
    return DatasetError(f"The query took longer than {SQL_SECONDS:.0f} seconds and was ended.", remedy=_LESS)


def _not_answered(error: Exception) -> DatasetError:
    """duckdb's own words, without its hints on files and settings."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "INTERRUPT" in first.upper():
        return too_slow()
    return DatasetError(f"The query cannot be answered ({first[:300]}).", remedy="Change it and try again.")


def _not_held(error: Exception) -> DatasetError:
    """duckdb's own words on what does not fit where."""
    first = str(error).strip().splitlines()[0].removeprefix("Conversion Error: ")
    return DatasetError(f"A column cannot hold such a value ({first[:200]}).", remedy="Write a value of its kind.")


def _written(columns: Iterable[int]) -> str:
    """SQL for changes with the new cells of some columns as a list: the text is taken apart once, not once a cell."""
    paths = ", ".join(f"'$.c{i}'" for i in columns)
    return f"SELECT row, changes.place, before, json_extract(after, [{paths}]) AS cells FROM changes"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that SQL, which takes 'Text' for 'text', can tell apart; `row` is taken."""
    taken, distinct = {"row"}, []
    for name in names:
        candidate, count = name or "column", 1
        while candidate.lower() in taken:
            count += 1
            candidate = f"{name}_{count}"
        taken.add(candidate.lower())
        distinct.append(candidate)
    return distinct
