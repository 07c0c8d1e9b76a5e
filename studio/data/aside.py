"""Rows that could not be read, as a file that can be mended and brought again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from studio.data.dataset import SetAside

_DELIMITED = (".csv", ".tsv")
_DELIMITERS = ",;\t|"


def ending(original_name: str) -> str:
    """How the file is called at its end, so that it is read as the one the rows come from."""
    suffixes = PurePosixPath(original_name.lower().removesuffix(".gz")).suffix
    return suffixes if suffixes in (*_DELIMITED, ".txt") else ".jsonl"


def write_aside(path: Path, rows: Sequence[SetAside], columns: Sequence[str]) -> None:
    """The rows as they stood in their file; behind a header where the path's ending asks for one."""
    raw = [row.raw for row in rows]
    head = [_header(columns, raw[0])] if path.suffix in _DELIMITED and raw else []
    path.write_text("\n".join([*head, *(text.rstrip("\r\n") for text in raw), ""]), encoding="utf-8")


def _header(columns: Sequence[str], line: str) -> str:
    """The column names, parted as the rows are."""
    line_ = io.StringIO()
    csv.writer(line_, delimiter=max(_DELIMITERS, key=line.count), lineterminator="").writerow(columns)
    return line_.getvalue()
