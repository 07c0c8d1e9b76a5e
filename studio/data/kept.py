"""Tokenised rows kept on disk under a hash of all they were made from: nobody waits for the same work twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from studio.data.tokenised import Tokenised, schema_of, tokenised

if TYPE_CHECKING:
    from studio.data.dataset import Dataset

Row = TypeVar("Row")

_MOST_BYTES = 2_000_000_000  # of all entries together; the ones not used for longest go first
_MOST_ENTRIES = 64
_AIR = 1_000_000_000  # bytes that stay free on the disk: what a run learns must fit, what it can make again need not
_STALE = 3600  # seconds after which a file that was begun is taken for given up


class Kept:
    """A folder of entries, each one Arrow file under its key. `found` and `made` count its rows since it was opened."""

    def __init__(self, folder: Path | None) -> None:
        """Without a folder nothing is kept."""
        self.folder = folder
        self.found = 0
        self.made = 0

    def rows(
        self,
        kind: type[Row],
        dataset: Dataset,
        tokenizer: Any,
        settings: dict[str, Any],
        make: Callable[[], tuple[Sequence[Row], dict[str, int]]],
    ) -> tuple[Tokenised[Row], dict[str, int]]:
        """What `make` gives, its rows of `kind` and counts to go with them, from disk where it was made before.

        The outcome depends on nothing but the rows of `dataset`, the (fast) tokenizer and `settings`.
        """
        if self.folder is None:
            rows, counts = make()
            return tokenised(kind, rows), counts
        if "strftime_now" in str(tokenizer.chat_template):  # today's date is among the tokens
            settings = {**settings, "today": date.today().isoformat()}
        recipe = [_code(), kind.__name__, dataset.fingerprint, _digest_of(tokenizer), settings]
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{key}.arrow"
        if (known := _read(path, kind, key)) is not None:
            self.found += len(known[0])
            return known
        rows, counts = make()
        made = tokenised(kind, rows)
        self.made += len(made)
        _store(path, made, {"key": key, "counts": counts, "sum": _sum(made)})
        # Read back, the rows are the disk's: memory that training needs is free again.
        return _read(path, kind, key) or (made, counts)


def _store(path: Path, rows: Tokenised[Any], about: dict[str, Any]) -> None:
    """Whole or not at all; that a disk is full is no reason not to train."""
    import pyarrow.ipc

    partial = path.with_name(f".{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if rows.table.nbytes > min(_MOST_BYTES, shutil.disk_usage(path.parent).free - _AIR):
            return
        try:
            table = rows.table.replace_schema_metadata({"about": json.dumps(about)})
            with pyarrow.ipc.new_file(partial, table.schema) as file:
                file.write_table(table)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _tidy(path.parent)


def _tidy(folder: Path) -> None:
    """Remove what is beyond the bounds, and files that were begun and given up."""
    entries = [(each, each.stat()) for each in folder.iterdir()]
    size = number = 0
    for path, stat in sorted(entries, key=lambda entry: -entry[1].st_mtime):
        if path.name.startswith("."):
            if stat.st_mtime < time.time() - _STALE:
                _remove(path)
            continue
        size, number = size + stat.st_size, number + 1
        if number > _MOST_ENTRIES or size > _MOST_BYTES:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # on Windows, one that a run has open
        path.unlink(missing_ok=True)


def _read(path: Path, kind: type[Row], key: str) -> tuple[Tokenised[Row], dict[str, int]] | None:
    """An entry, mapped into memory; None where there is none, or it is damaged or another's."""
    import pyarrow

    try:
        with pyarrow.ipc.open_file(pyarrow.memory_map(str(path))) as file:
            table = file.read_all()
        about = json.loads(table.schema.metadata[b"about"])
        if about["key"] != key or not table.schema.equals(schema_of(kind)):
            return None
        table.validate(full=True)
        rows = Tokenised(kind, table.replace_schema_metadata(None))
        if _sum(rows) != about["sum"]:
            return None
        os.utime(path)  # it was used: others are removed before it
        return rows, dict(about["counts"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sum(rows: Tokenised[Any]) -> int:
    """Of lists. A gigabyte takes half a second; a bit that a disk lost would train on anything."""
    total = 0
    for field in schema_of(rows.kind):
        if str(field.type).startswith("large_list"):
            total = zlib.crc32(rows.flat(field.name).tobytes(), total)
    return total


def _digest_of(tokenizer: Any) -> str:
    """Of its vocabulary, added tokens included, its template and its special tokens."""
    text = tokenizer.backend_tokenizer.to_str()
    # What stands in front is how the last call cut and padded.
    digest = hashlib.sha256(text[text.index('"added_tokens"') :].encode())
    known = (
        tokenizer.chat_template,
        tokenizer.special_tokens_map,
        tokenizer.model_max_length,
        getattr(tokenizer, "split_special_tokens", False),
        type(tokenizer).__name__,
    )
    digest.update(json.dumps(known, sort_keys=True, default=str).encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """What turns rows into tokens: another version of it may do it another way."""
    digest = hashlib.sha256()
    for name in ("transformers", "tokenizers", "jinja2"):
        digest.update(version(name).encode())
    studio = Path(__file__).parents[1]
    for path in sorted([*studio.glob("data/*.py"), *studio.glob("objectives/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


NOWHERE = Kept(None)
