"""Rows in memory, and those of a file that could not be read."""

from __future__ import annotations

import hashlib
import json
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
