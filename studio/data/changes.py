"""Edits of a table, as records that can be laid over it, taken back, shown and kept.

A change is an Arrow table of row, place, before, after: what stood in the touched cells and what
stands there now, as JSON objects {"c<column>": cell}. A null `before` is a row that comes, a null
`after` one that goes. `place` orders rows; an added one may come between two others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.data.parquet import Kind, Row, plain, to_json, whole_letters
from studio.data.table import Table
from studio.data.views import literal
from studio.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

    Rows = Sequence[int] | np.ndarray

NOTHING_TO_DO = "Nothing would change."


@dataclass(frozen=True)
class Change:
    """One thing a person did, whatever number of rows it touched."""

    what: str  # in words, for the history
    table: pyarrow.Table

    @property
    def rows(self) -> int:
        return self.table.num_rows


def edit(table: Table, row: int, column: str, text: str, seen: str | None = None) -> Change:
    """Another value for one cell, written as text (JSON for lists and objects).

    `seen` is what the person had before their eyes: where the cell says something else by now, the
    edit is refused. Raises DatasetError for that, and for a value the column cannot hold.
    """
    i = table.index(column)
    old = _one(table, row)[1][column]
    if seen is not None and cell_text(old) != seen:
        raise DatasetError(
            f"The cell '{column}' of {table.called(row)} was changed by someone else meanwhile.",
            remedy="Look at what it says now, then edit it again.",
        )
    new = _cell_from(text, table, column, old)
    if to_json(new) == to_json(old):  # equal to Python are 1 and true as well
        raise DatasetError(NOTHING_TO_DO, remedy="Write another value first.")
    return _change(table, f"Edited '{column}' of {table.called(row)}", [(row, {i: old}, {i: new})])


def rewrite(table: Table, rows: Rows, new: Callable[[int, Row], Row | None], what: str) -> Change:
    """Other cells for whole rows, None where a row goes: what a fix or a maker proposes.

    `new` gets a row's number and cells. What comes out as it went in is no change.
    """
    touched: list[tuple[int, dict[int, Any] | None, dict[int, Any] | None]] = []
    for row, old in table.rows(rows):
        cells = new(row, old)
        if cells is None:
            touched.append((row, dict(enumerate(old.values())), None))
            continue
        at = {i: n for i, n in enumerate(table.columns) if to_json(cells.get(n)) != to_json(old[n])}
        if at:
            new_cells = {i: _checked(cells.get(n), table, n) for i, n in at.items()}
            touched.append((row, {i: old[n] for i, n in at.items()}, new_cells))
    return _change(table, what, touched)


def add(table: Table, rows: Sequence[Row], what: str, behind: int | None = None) -> Change:
    """New rows behind row `behind`, or at the end. Raises DatasetError for columns the table has not."""
    strange = list(dict.fromkeys(name for row in rows for name in row if name not in table.columns))
    if strange:
        raise DatasetError(
            f"The data set has no column {' or '.join(map(repr, strange[:5]))}.",
            remedy=f"Name the columns as in the data set: {', '.join(map(repr, table.columns[:12]))}.",
        )
    numbers = _next_row(table)
    start, end = _gap(table, behind)
    step = (end - start) / (len(rows) + 1)
    touched = [
        (numbers + i, None, {at: _checked(row.get(name), table, name) for at, name in enumerate(table.columns)})
        for i, row in enumerate(rows)
    ]
    return _change(table, what, touched, places=[start + step * (i + 1) for i in range(len(rows))])


def duplicate(table: Table, row: int) -> Change:
    """The same row once more, right behind it."""
    import pyarrow

    _one(table, row)
    start, end = _gap(table, row)
    same = _asked(table, f"Duplicated {table.called(row)}", [row], before="NULL", after=_all_cells(table))
    at = {"row": [_next_row(table)], "place": [(start + end) / 2]}
    return Change(same.what, pyarrow.table({**at, **{n: same.table.column(n) for n in ("before", "after")}}, _schema()))


def delete(table: Table, rows: Sequence[int]) -> Change:
    """Rows that go."""
    change = _asked(table, "", rows, before=_all_cells(table), after="NULL")
    there = change.table.column("row").to_pylist()
    return Change(f"Deleted {table.called(there[0]) if len(there) == 1 else f'{len(there):,} rows'}", change.table)


def replace(table: Table, rows: Rows, columns: Sequence[str], find: str, by: str, *, pattern: bool) -> Change:
    """`find` replaced wherever it stands in those cells; as a pattern (RE2) where asked, \\1 its first group.

    Only cells of text are looked at. Raises DatasetError for a pattern that is none, or nothing found.
    """
    texts = [i for i in map(table.index, columns) if table.kinds[table.columns[i]] == "text"]
    if not find or not texts:
        problem = "There is nothing to look for." if not find else "None of the columns holds text."
        raise DatasetError(problem, remedy="Say what to find, and in a column of text.")
    name, options = ("regexp_replace", ", 'g'") if pattern else ("replace", "")
    new = {i: f"{name}(c{i}, {literal(find)}, {literal(by)}{options})" for i in texts}
    # A cell that stays as it is must not stand in the record.
    before = _merged({i: f"c{i}" for i in texts}, new)
    after = _merged(new, new)
    changed = " OR ".join(f"c{i} IS DISTINCT FROM {call}" for i, call in new.items())
    shown = find if len(find) <= 40 else f"{find[:40]}…"
    return _asked(table, f"Replaced '{shown}'", rows, before=before, after=after, where=changed)


def cells(change: Change, columns: Sequence[str], limit: int) -> list[tuple[int, str, Any, Any]]:
    """(row, column, old, new) of the first `limit` touched cells; JSON columns as their text."""
    found: list[tuple[int, str, Any, Any]] = []
    for each in change.table.slice(0, limit).to_pylist():
        before, after = _loaded(each["before"]) or {}, _loaded(each["after"]) or {}
        for key in dict.fromkeys([*before, *after]):
            found.append((each["row"], columns[int(key[1:])], before.get(key), after.get(key)))
    return found[:limit]


def inverse(changes: pyarrow.Table) -> pyarrow.Table:
    """What takes the changes back."""
    return changes.rename_columns(["row", "place", "after", "before"]).select(["row", "place", "before", "after"])


def folded(parts: Iterable[pyarrow.Table]) -> pyarrow.Table:
    """Changes one after the other as one: each row's first `before` and its cells in the end."""
    rows: dict[int, tuple[float, dict[str, Any] | None, dict[str, Any] | None]] = {}
    for part in parts:
        for each in part.to_pylist():
            row, before = each["row"], _loaded(each["before"])
            after = _loaded(each["after"])
            if row in rows:
                _, first, cells = rows[row]
                if before is not None and after is not None:  # else: the row goes, or comes back whole
                    after = {**(cells or {}), **after}
                if first is not None and before is not None:
                    first = {**before, **first}
                rows[row] = (each["place"], first, after)
            else:
                rows[row] = (each["place"], before, after)
    return _arrow([(row, place, before, after) for row, (place, before, after) in rows.items()])


def cell_text(cell: Any) -> str:
    """A cell as the editor shows it: text, dates and the like as they are, all else as JSON, nothing for None."""
    cell = plain(cell)
    return "" if cell is None else cell if isinstance(cell, str) else to_json(cell)


def _change(
    table: Table,
    what: str,
    touched: Sequence[tuple[int, dict[int, Any] | None, dict[int, Any] | None]],
    places: Sequence[float] | None = None,
) -> Change:
    if not touched:
        raise DatasetError(NOTHING_TO_DO, remedy="Choose other rows, or another change.")
    stand = _standing(table, [row for row, before, _ in touched if before is not None])
    named = []
    for number, (row, before, after) in enumerate(touched):
        place, exact = stand.get(row, (0.0, {}))
        old = _named(table, before)
        if old is not None:
            old |= {key: cell for key, cell in exact.items() if key in old}
        named.append((row, places[number] if places else place, old, _named(table, after)))
    return Change(what, _arrow(named))


def _asked(table: Table, what: str, rows: Rows, *, before: str, after: str, where: str = "true") -> Change:
    """A change that duckdb computes: it may touch a million rows."""
    import pyarrow

    chosen = pyarrow.table({"row": pyarrow.array(rows, pyarrow.int64())})
    found = table.select(
        f"SELECT r AS row, place, CAST({before} AS VARCHAR) AS before, CAST({after} AS VARCHAR) AS after "
        f"FROM rows WHERE r IN (SELECT row FROM chosen) AND ({where}) ORDER BY place, r",
        chosen=chosen,
    ).cast(_schema())
    if not found.num_rows:
        raise DatasetError(NOTHING_TO_DO, remedy="Choose other rows, or look for something else.")
    return Change(what, found)


def _all_cells(table: Table, kinds: Collection[Kind] | None = None) -> str:
    """SQL for a row's cells, of all columns or those of some kinds, as changes hold them."""
    chosen = [i for i, name in enumerate(table.columns) if kinds is None or table.kinds[name] in kinds]
    cells = ", ".join(f"'c{i}', {table.as_json(i)}" for i in chosen)
    return f"json_object({cells})"


def _merged(cells: dict[int, str], new: dict[int, str]) -> str:
    """SQL for those cells that change as a JSON object, put together as text: of a thousand columns too."""
    parts = [
        f"CASE WHEN c{i} IS DISTINCT FROM {new[i]} THEN '\"c{i}\":' || to_json({cell}) END" for i, cell in cells.items()
    ]
    return f"'{{' || concat_ws(',', {', '.join(parts)}) || '}}'"


def _named(table: Table, cells: dict[int, Any] | None) -> dict[str, Any] | None:
    """Cells as they stand in the file: JSON columns hold text."""
    if cells is None:
        return None
    kinds = [table.kinds[name] for name in table.columns]
    return {f"c{i}": to_json(v) if kinds[i] == "json" and v is not None else v for i, v in cells.items()}


def _arrow(rows: Sequence[tuple[int, float, dict[str, Any] | None, dict[str, Any] | None]]) -> pyarrow.Table:
    import pyarrow

    columns = {
        "row": [row for row, *_ in rows],
        "place": [place for _, place, *_ in rows],
        "before": [None if before is None else to_json(before) for *_, before, _ in rows],
        "after": [None if after is None else to_json(after) for *_, after in rows],
    }
    return pyarrow.table(columns, schema=_schema())


def _schema() -> pyarrow.Schema:
    import pyarrow

    types = [pyarrow.int64(), pyarrow.float64(), pyarrow.string(), pyarrow.string()]
    return pyarrow.schema(list(zip(["row", "place", "before", "after"], types, strict=True)))


def _loaded(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


def _one(table: Table, row: int) -> tuple[int, Row]:
    found = table.fetch([row])
    if not found:
        raise DatasetError(f"{table.called(row).capitalize()} is not there any more.", remedy="Look at the rows again.")
    return found[0]


def _standing(table: Table, rows: Sequence[int]) -> dict[int, tuple[float, dict[str, Any]]]:
    """Row → its place, and its cells of types that Python knows less exactly than the file."""
    import pyarrow

    chosen = pyarrow.table({"row": pyarrow.array(rows, pyarrow.int64())})
    cells = _all_cells(table, {"other"})
    statement = f"SELECT r, place, CAST({cells} AS VARCHAR) AS cells FROM rows WHERE r IN (SELECT row FROM chosen)"
    found = table.select(statement, chosen=chosen).to_pylist()
    return {each["r"]: (each["place"], json.loads(each["cells"])) for each in found}


def _next_row(table: Table) -> int:
    """A number no row has had, deleted ones included."""
    highest = table.select("SELECT max(r) AS r FROM patch").column("r")[0].as_py()
    return max(table.base_rows, (highest if highest is not None else -1) + 1)


def _gap(table: Table, behind: int | None) -> tuple[float, float]:
    """The places between which new rows go."""
    if behind is None:
        last = table.select("SELECT max(place) AS p FROM patch").column("p")[0].as_py()
        start = max(float(table.base_rows), last if last is not None else 0.0)
        return start, start + 1_000_000.0
    start, _ = _standing(table, [_one(table, behind)[0]])[behind]
    found = table.select(f"SELECT min(place) AS p FROM rows WHERE place > {start!r}").column("p")[0].as_py()
    return start, start + 1.0 if found is None else found


def _cell_from(text: str, table: Table, column: str, old: Any) -> Any:
    """The cell a person's text stands for in that column."""
    kind = table.kinds[column]
    if kind == "text":
        return whole_letters(text)
    if not text.strip():
        return None
    if kind == "json" and isinstance(old, str):
        return text  # a text among cells of several types stays one
    try:
        cell = json.loads(text)
    except (ValueError, RecursionError):
        cell = text
    nested = table.nested(table.index(column))
    if kind == "other" and not nested and not isinstance(cell, str):
        return text.strip()  # a decimal number, say, which Python's would round
    if isinstance(cell, str) and (nested or (kind == "json" and isinstance(old, (list, dict)))):
        raise DatasetError(
            f"The cell '{column}' holds a list or an object, and what was written is not JSON.",
            remedy="Mend the JSON: every bracket and quotation mark needs its partner.",
        )
    return _checked(cell, table, column)


_FITS: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "whole": ((int,), "whole numbers"),
    "number": ((int, float), "numbers"),
    "truth": ((bool,), "true or false"),
}


def _checked(cell: Any, table: Table, column: str) -> Any:
    """The cell, if the column can hold it. Raises DatasetError otherwise."""
    kind = table.kinds[column]
    if cell is None or kind not in _FITS:
        return cell
    types, name = _FITS[kind]
    if isinstance(cell, types) and (kind == "truth") == isinstance(cell, bool):
        return float(cell) if kind == "number" else cell
    raise DatasetError(
        f"The column '{column}' holds {name}, and {cell_text(cell)[:60]!r} is none.",
        remedy="Write a value of that kind.",
    )
