"""Any file a person has → rows. What cannot be read is said in one sentence, never as a traceback."""

from __future__ import annotations

import codecs
import io
import re
from pathlib import Path
from typing import Any

from studio.data.csv_rows import parse_csv
from studio.data.dataset import Dataset, SetAside
from studio.data.json_rows import looks_like_json, parse_json
from studio.errors import DatasetError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
_KINDS = "Save it as CSV, TSV, JSON, JSON Lines, Parquet or plain text and choose that file."
_PARQUET = b"PAR1"
_OTHER_KINDS = (  # first bytes of what people rename by mistake
    (b"PK\x03\x04", "a ZIP archive or an Excel or Word file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
)

Parsed = tuple[list[dict[str, Any]], list[SetAside]]


def read(path: Path, name: str | None = None) -> Dataset:
    """The rows of a file. `name`, where given, stands for the file's own name and decides its kind.

    Content counts more than the name: JSON Lines in a .json, Parquet in a .csv are read as what they
    are. Raises DatasetError for whatever is not rows.
    """
    shown = Path(name or path.name).name
    data = _content(path, shown)
    suffix = Path(shown).suffix.lower()
    if data.startswith(_PARQUET):
        (rows, aside), notes = _parquet(data, shown), ()
    elif suffix == ".parquet":
        raise DatasetError(f"{shown} is not a Parquet file, whatever its name says.", remedy=_KINDS)
    else:
        text, notes = _text(data, shown)
        rows, aside = _parse(text, suffix, shown)
    if not rows:
        raise _no_rows(shown, aside)
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return Dataset(shown, columns, rows, aside, notes)


def _content(path: Path, shown: str) -> bytes:
    """All bytes of a regular file of a known kind."""
    try:
        if path.is_dir():
            raise DatasetError(f"{shown} is a folder.", remedy="Choose a file in it.")
        if not path.exists():
            raise DatasetError(f"There is no file {shown}.", remedy="Check its name and place.")
        if Path(shown).suffix.lower() not in SUFFIXES or not path.is_file():
            raise DatasetError(f"{shown} is not of a kind that can be read.", remedy=_KINDS)
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"{shown} cannot be read ({reason}).", remedy="Check its permissions, or choose another file."
        ) from None
    if not data:
        raise DatasetError(f"{shown} is empty.", remedy="Choose a file with rows in it.")
    return data


def _parse(text: str, suffix: str, shown: str) -> Parsed:
    if re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE) and suffix != ".txt":
        raise DatasetError(
            f"{shown} is a web page, not data.", remedy="Download the file itself (often called 'raw') and choose that."
        )
    if suffix == ".txt":
        return _paragraphs(text), []
    if suffix in (".csv", ".tsv") and not looks_like_json(text):
        return parse_csv(text, shown)
    return parse_json(text, shown)


def _paragraphs(text: str) -> list[dict[str, Any]]:
    """One row a paragraph; a blank line stands between paragraphs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [{"text": part.strip()} for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]


def _parquet(data: bytes, shown: str) -> Parsed:
    """Rows of a Parquet file; lists and structs become Python's own."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist(), []
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, MemoryError):
        raise DatasetError(
            f"{shown} is a damaged Parquet file, or one of a kind that cannot be read here.",
            remedy="Download or export it again; CSV and JSON Lines work too.",
        ) from None


def _text(data: bytes, shown: str) -> tuple[str, tuple[str, ...]]:
    """(text, notes on how it was read). Raises DatasetError for what is not text."""
    for first_bytes, kind in _OTHER_KINDS:
        if data.startswith(first_bytes):
            raise DatasetError(f"{shown} is {kind}, whatever its name says.", remedy=_KINDS)
    encoding, notes = _encoding(data), ()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text, notes = data.decode("cp1252", "replace"), _GUESSED
    text = text.removeprefix("\ufeff")
    if re.search(r"[\x00-\x08\x0e-\x1a]", text) or text.count("\ufffd") > len(text) // 100:
        raise DatasetError(f"{shown} is not text: it holds binary data.", remedy=_KINDS)
    if not text.strip():
        raise DatasetError(f"{shown} is empty.", remedy="Choose a file with rows in it.")
    return text, notes


_GUESSED = ("The file is not UTF-8 and was read as Windows-1252: check that letters with accents look right.",)


def _encoding(data: bytes) -> str:
    """UTF-8 unless a byte order mark, or the zeros of Latin text in UTF-16, say otherwise."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-32" if data.startswith(codecs.BOM_UTF32_LE) else "utf-16"
    head = data[:2000]
    half = len(head) // 2
    for encoding, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if half > 1 and zeros.count(0) > half * 0.6 and not letters.count(0):
            return encoding
    return "utf-8"


def _no_rows(shown: str, aside: list[SetAside]) -> DatasetError:
    if aside:
        return DatasetError(
            f"{shown} has no row that can be read: line {aside[0].line} has {aside[0].reason}.",
            remedy="Mend the rows, or save the file again as 'CSV UTF-8'.",
        )
    return DatasetError(f"{shown} has no rows, at most a header.", remedy="Choose a file with rows in it.")
