"""Rows to learn from that are also among the rows kept unseen: with them a score measures memory."""

from __future__ import annotations

from collections.abc import Iterable

from studio.data.checks import Hit, Row
from studio.data.checks._cells import whole
from studio.data.duplicates import matches
from studio.data.templates import Mapping


def leakage(
    train: Iterable[tuple[int, Row]],
    mapping: Mapping,
    held_out: Iterable[Row],
    held_out_mapping: Mapping,
    threshold: float = 0.85,
) -> list[Hit]:
    """The rows of `train`, given as (row id, row), that equal or are like a held-out row, whatever its columns' names.

    `why` names the held-out row by its place, from 1, as people count. `threshold` as in `duplicates.clusters`.
    """
    ids, texts = [], []
    for row_id, row in train:
        ids.append(row_id)
        texts.append(whole(row, mapping))
    found = matches(texts, [whole(row, held_out_mapping) for row in held_out], threshold)
    return [
        Hit(ids[copy.index], f"like row {copy.of + 1} of the held-out rows ({100 * copy.similarity:.0f} %)")
        for copy in found
    ]
