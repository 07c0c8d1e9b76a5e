"""Which rows are learnt from and which are kept unseen: train, validation and test, by their indices."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from studio.data.checks._cells import whole
from studio.data.dataset import canonical
from studio.data.duplicates import clusters
from studio.data.templates import Mapping
from studio.data.turns import as_text
from studio.errors import DatasetError

Row = dict[str, Any]
How = Literal["random", "stratified", "grouped", "clusters"]
Indices = tuple[list[int], list[int], list[int]]  # train, validation, test; each ascending

THRESHOLD = 0.85  # likeness from which `clusters` keeps rows together


def split_indices(
    rows: Sequence[Row],
    *,
    how: How,
    shares: tuple[float, float],
    seed: int,
    column: str | None = None,
    texts: Callable[[Row], str] | Mapping | None = None,
) -> Indices:
    """Every index once. `shares` are those of validation and test, each in 0..1, together less than 1.

    Equal rows always stand on one side, or a score would measure memory. Train is never empty; a side
    with a share gets at least one row where there are enough groups of rows. `stratified` keeps the
    shares of each value of `column`, `grouped` all rows of one value together, `clusters` near
    duplicates, whose texts `texts` gives.

    Raises DatasetError for shares, a column or texts that cannot be used, and for a single group.
    """
    if min(shares) < 0 or sum(shares) >= 1:
        raise DatasetError(
            f"Validation and test cannot have the shares {shares[0]:g} and {shares[1]:g} of the rows.",
            remedy="Choose shares of 0 or more that leave some rows to train on.",
        )
    bonds = [[canonical(row) for row in rows]]
    if how == "grouped":
        bonds.append(_values(rows, column))
    elif how == "clusters":
        bonds.append(_cluster_names(rows, texts))
    groups = _together(bonds)
    if len(groups) < 2 and any(shares) and rows:
        raise DatasetError(
            "All rows belong together, so none can be held out.",
            remedy="Split by another column, split at random, or set both shares to 0.",
        )
    random.Random(seed).shuffle(groups)  # noqa: S311 - a split anyone can repeat, not a secret
    if how == "stratified":
        return _stratified(groups, _values(rows, column), shares)
    return _sides(_dealt(groups, shares))


def _values(rows: Sequence[Row], column: str | None) -> list[str]:
    """The column's value in each row, as text."""
    if not column or not any(column in row for row in rows):
        known = ", ".join(repr(name) for name in dict.fromkeys(name for row in rows[:100] for name in row))
        raise DatasetError(
            f"There is no column {column!r} to split by; there is {known or 'no column at all'}.",
            remedy="Choose one of the data set's columns.",
        )
    return [as_text(row.get(column)) for row in rows]


def _cluster_names(rows: Sequence[Row], texts: Callable[[Row], str] | Mapping | None) -> list[str]:
    """One name for all rows of a cluster, another for each row that is in none."""
    if texts is None:
        raise DatasetError(
            "Which texts near duplicates are looked for in is not known.",
            remedy="Choose which column plays which part, or split at random.",
        )
    read = texts if callable(texts) else lambda row: whole(row, texts)
    names = [f"row {index}" for index in range(len(rows))]
    for number, cluster in enumerate(clusters([read(row) for row in rows], THRESHOLD)):
        for index in cluster:
            names[index] = f"cluster {number}"
    return names


def _together(bonds: list[list[str]]) -> list[list[int]]:
    """Indices by group; what shares a name in any of the lists is in one group, directly or through others."""
    leaders = list(range(len(bonds[0])))

    def leader(index: int) -> int:
        while leaders[index] != index:
            leaders[index] = leaders[leaders[index]]
            index = leaders[index]
        return index

    for names in bonds:
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            one, other = sorted((leader(first.setdefault(name, index)), leader(index)))
            leaders[other] = one
    groups: dict[int, list[int]] = {}
    for index in range(len(leaders)):
        groups.setdefault(leader(index), []).append(index)
    return list(groups.values())


def _stratified(groups: list[list[int]], labels: list[str], shares: tuple[float, float]) -> Indices:
    """Each label dealt by itself. Only where no label is large enough for a side, the whole is dealt."""
    strata: dict[str, list[list[int]]] = {}
    for group in groups:
        strata.setdefault(labels[group[0]], []).append(group)  # equal rows have equal labels
    dealt: list[list[list[int]]] = [[], [], []]
    for label in sorted(strata):
        for side, part in zip(dealt, _dealt(strata[label], shares, least=0), strict=True):
            side += part
    wanted = [True, *(share > 0 for share in shares)]
    complete = all(side or not needed for side, needed in zip(dealt, wanted, strict=True))
    return _sides(dealt if complete else _dealt(groups, shares))


def _dealt(groups: list[list[int]], shares: tuple[float, float], least: int = 1) -> list[list[list[int]]]:
    """[train, validation, test] as lists of groups; a held-out side takes what fits into its share.

    `least` groups are left for each side that is still to come, and one for train. A side that nothing
    fits into gets the smallest group, as long as train keeps one; with `least` 0 it stays empty.
    """
    total = sum(map(len, groups))
    left, held = list(groups), []
    for number, share in enumerate(shares):
        spare = len(left) - 1 - least * sum(later > 0 for later in shares[number + 1 :])
        room, side, rest = round(total * share), [], []
        for group in left:
            if len(group) <= room and len(side) < spare:
                side.append(group)
                room -= len(group)
            else:
                rest.append(group)
        if least and share > 0 and not side and len(rest) > 1:
            side.append(rest.pop(rest.index(min(rest, key=len))))
        held.append(side)
        left = rest
    return [left, *held]


def _sides(dealt: list[list[list[int]]]) -> Indices:
    train, validation, test = (sorted(index for group in side for index in group) for side in dealt)
    return train, validation, test
