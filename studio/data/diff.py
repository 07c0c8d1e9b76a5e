"""Which rows differ between two versions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from studio.data.parquet import Row, schema_of
from studio.data.table import Table
from studio.errors import DatasetError

MOST_SHOWN = 1_000
_MOST_COMPARED = 10_000  # pairs of rows in one gap; beyond, they are taken in turn


@dataclass(frozen=True)
class Difference:
    """One row: `old` is None where it came, `new` where it went."""

    old_row: int | None  # its place in the older version, from 0
    new_row: int | None
    old: Row | None
    new: Row | None


@dataclass(frozen=True)
class Diff:
    """Counts are of all rows, `shown` are the first MOST_SHOWN differences in the newer version's order."""

    same: int
    changed: int
    added: int
    removed: int
    shown: list[Difference]


def diff(older: Path, newer: Path) -> Diff:
    """Compare by content: equal rows match, one for one; what is left between the same neighbours was changed.

    Raises DatasetError where the columns differ.
    """
    if schema_of(older).names != schema_of(newer).names:
        raise DatasetError(
            "The two versions have different columns.", remedy="Compare versions of one and the same data set."
        )
    tables = Table(older), Table(newer)
    left, right = _unmatched(*tables), _unmatched(tables[1], tables[0])
    pairs = [pair for gap in _gaps(left, right) for pair in _paired(*gap, *tables)]
    changed = sum(old is not None and new is not None for old, new in pairs)
    shown = pairs[:MOST_SHOWN]
    old_cells = dict(tables[0].fetch([old for old, _ in shown if old is not None]))
    new_cells = dict(tables[1].fetch([new for _, new in shown if new is not None]))
    return Diff(
        same=tables[0].base_rows - len(left),
        changed=changed,
        added=len(right) - changed,
        removed=len(left) - changed,
        shown=[
            Difference(
                old,
                new,
                old_cells[old] if old is not None else None,
                new_cells[new] if new is not None else None,
            )
            for old, new in shown
        ],
    )


def _unmatched(own: Table, other: Table) -> list[int]:
    """Rows of `own` that have no equal partner in `other`: of three equal rows against two, one is left."""
    return (
        own.select(
            f"WITH mine AS ({_numbered(own)}) SELECT r FROM mine ANTI JOIN theirs USING (h, n) ORDER BY r",
            theirs=other.select(_numbered(other)),
        )
        .column("r")
        .to_pylist()
    )


def _numbered(table: Table) -> str:
    """Each row's hash, and which of the rows with that hash it is."""
    cells = ", ".join(f"c{i}" for i in range(len(table.columns)))
    return (
        f"SELECT r, h, row_number() OVER (PARTITION BY h ORDER BY r) AS n FROM (SELECT r, hash({cells}) AS h FROM rows)"
    )


def _gaps(left: list[int], right: list[int]) -> list[tuple[list[int], list[int]]]:
    """Unmatched rows of both sides that stand between the same matched ones.

    What matched keeps its order under editing, so rows with as many matched ones before them do.
    """
    gaps: dict[int, tuple[list[int], list[int]]] = {}
    for side, rows in enumerate((left, right)):
        for before, row in enumerate(rows):
            gaps.setdefault(row - before, ([], []))[side].append(row)
    return [gap for _, gap in sorted(gaps.items())]


Pair = tuple[int | None, int | None]


def _paired(old: list[int], new: list[int], older: Table, newer: Table) -> list[Pair]:
    """(old row, new row) of one gap; None where there is no partner. In order, where as many cells as can be agree."""
    if not old or not new or len(old) == len(new) or len(old) * len(new) > _MOST_COMPARED:
        return list(zip_longest(old, new))
    before = [list(row.values()) for _, row in older.fetch(old)]
    after = [list(row.values()) for _, row in newer.fetch(new)]
    # best[i][j]: cells that agree when old[i:] and new[j:] are paired in order.
    best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            paired = _alike(before[i], after[j]) + best[i + 1][j + 1]
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < len(old) and j < len(new):
        if best[i][j] > 0 and best[i][j] == _alike(before[i], after[j]) + best[i + 1][j + 1]:
            pairs.append((old[i], new[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((old[i], None))
            i += 1
        else:
            pairs.append((None, new[j]))
            j += 1
    return [*pairs, *((row, None) for row in old[i:]), *((None, row) for row in new[j:])]


def _alike(old: list[Any], new: list[Any]) -> int:
    return sum(one == other for one, other in zip(old, new, strict=True))
