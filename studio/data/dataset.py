"""Rows as they stand in a file, and the seeded split that keeps some of them unseen."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class SetAside:
    """A row that could not be read. `line` counts from 1 (in a JSON list: the row's place)."""

    line: int
    reason: str
    raw: str = ""  # the row as it stood in the file, cut at 100,000 characters: mended, it can be brought again


@dataclass(frozen=True)
class Dataset:
    """Rows of one file. They are shared between readers: copy a row before changing it."""

    name: str  # as the person knows it: the file's name, never its path
    columns: tuple[str, ...]  # in the order they first appear; a row may lack some
    rows: list[dict[str, Any]]
    set_aside: list[SetAside]
    notes: tuple[str, ...] = ()  # what the person should know about how the file was read

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of the rows in order; the same for the same content in any file format."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(canonical(row).encode() + b"\n")
        return digest.hexdigest()


def canonical(row: dict[str, Any]) -> str:
    """One spelling for equal rows: JSON with sorted keys, ASCII only, other types as their text."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)


def split(rows: list[dict[str, Any]], share: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(train, held out), each in the file's order; about `share` of the rows are held out.

    Equal rows stand on one side only, or the held-out score would measure memory. Both sides get at
    least one row when `share` > 0, unless all rows are equal: then none is held out.
    """
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(canonical(row), []).append(index)
    if share <= 0 or len(groups) < 2:
        return list(rows), []
    held = _held_indices(list(groups.values()), min(round(len(rows) * share), len(rows) - 1), seed)
    return (
        [row for index, row in enumerate(rows) if index not in held],
        [row for index, row in enumerate(rows) if index in held],
    )


def _held_indices(groups: list[list[int]], target: int, seed: int) -> set[int]:
    """Indices of whole groups, at most `target` of them but never none."""
    random.Random(seed).shuffle(groups)  # noqa: S311 - a split anyone can repeat, not a secret
    held: set[int] = set()
    for group in groups:
        if len(held) + len(group) <= target:
            held.update(group)
    return held or set(min(groups, key=len))
