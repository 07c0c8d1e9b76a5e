"""The workspace's own data sets: a folder each, under a name of the server's making.

NAME/about.json         title, how the columns are read, which version is the current one
NAME/versions/KEY.*     a version's rows (.parquet) and where they come from (.json); never changed
NAME/history/KEY/       the changes that led to that version
NAME/draft/             the changes since the current version (draft.py)
NAME/aside.jsonl        rows of the file that could not be read
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from studio.data.dataset import SetAside
from studio.data.files import Reading, open_rows
from studio.data.parquet import Row, adopt, is_plain, schema_of, write_rows
from studio.data.templates import Mapping
from studio.data.trees import conversations, is_tree
from studio.errors import DatasetError
from studio.workspace import Workspace, slug

Progress = Callable[[float], None]  # share done, 0..1

_NAME = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{8}")
_KEY = re.compile(r"[0-9a-f]{16}")
_TOLD_EVERY = 5_000  # rows
_LARGE = 200_000_000  # bytes of a Parquet file that is kept as it came, if it needs no change
_UPDATING = threading.Lock()  # one for all data sets: it is held for as long as a small file takes


@dataclass(frozen=True)
class Version:
    """Rows that never change. `key` is made from them: the same rows have the same key."""

    key: str
    rows: int
    created: float  # seconds since the epoch
    by: str
    parent: str  # the version it was made from; "": it came so
    what: tuple[str, ...]  # the changes that led to it, in words


@dataclass(frozen=True)
class Kept:
    """One data set of the workspace. Its folder's name is its own."""

    name: str
    title: str
    original_name: str
    uploaded: float  # seconds since the epoch
    mapping: Mapping | None  # as a person chose it; None: to be detected
    current: str  # key of the version that is looked at, edited and trained on
    notes: tuple[str, ...]  # what the person should know about how the file was read
    folder: Path

    def path(self, version: str = "") -> Path:
        """The Parquet file of a version; the current one's unless another is named. Raises DatasetError."""
        key = version or self.current
        path = self.folder / "versions" / f"{key}.parquet"
        if not _KEY.fullmatch(key) or not path.is_file():
            raise DatasetError(
                f"'{self.title}' has no version {key[:40]}.", remedy="Choose one from its list of versions."
            )
        return path

    def history(self, version: str) -> Path:
        """The folder with the changes that led to a version; there may be none. Raises DatasetError."""
        self.path(version)
        return self.folder / "history" / version

    def set_aside(self) -> list[SetAside]:
        """Rows of the file that could not be read."""
        return read_aside(self.folder / "aside.jsonl")


def store_aside(path: Path, rows: list[SetAside]) -> None:
    """Keep rows that could not be read; no file where there are none."""
    if rows:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)


@lru_cache(maxsize=8)
def read_aside(path: Path) -> list[SetAside]:
    """What `store_aside` wrote, which never changes. The list is shared: do not change it."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [SetAside(**json.loads(line)) for line in file]


def add(workspace: Workspace, path: Path, original_name: str, progress: Progress | None = None) -> str:
    """Keep a file's rows; returns the name they can be opened by.

    The same file twice is two data sets: the first may be someone else's, and edited since. Raises
    DatasetError for what is not rows; nothing is kept then. A large Parquet file may become the version
    itself: it must not be written to afterwards.
    """
    shown = clean(original_name)
    reading = open_rows(path, shown)

    def write(to: Path) -> None:
        if _is_parquet(path) and not is_tree(schema_of(path, shown).names):
            if path.stat().st_size > _LARGE and is_plain(path):
                _take(path, to)  # the next save makes it one of ours; nobody should wait for that now
            else:
                adopt(path, to, progress, shown)
        else:
            write_rows(shaped(_told(reading, progress), reading.notes), to)

    return _keep(workspace, PurePosixPath(shown).stem, shown, write, reading, by="upload")


def add_rows(workspace: Workspace, title: str, rows: Iterable[Row], *, mapping: Mapping | None, by: str) -> str:
    """Keep rows that were made rather than brought: a copy of a sample, what a maker wrote."""

    def write(to: Path) -> None:
        write_rows(rows, to)

    return _keep(workspace, title, title, write, None, mapping=mapping, by=by)


def listed(workspace: Workspace) -> list[Kept]:
    """All data sets, newest first."""
    if not workspace.datasets.is_dir():
        return []
    found = (find(workspace, entry.name) for entry in workspace.datasets.iterdir())
    return sorted(filter(None, found), key=lambda kept: (-kept.uploaded, kept.name))


def find(workspace: Workspace, name: str) -> Kept | None:
    """The data set of that name; None for any name that is not one, hostile ones included."""
    return reread(workspace.datasets / name) if _NAME.fullmatch(name) else None


def reread(folder: Path) -> Kept | None:
    """What is known of a data set by now."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if not _KEY.fullmatch(about["current"]):
            return None
        return Kept(
            name=folder.name,
            title=about["title"],
            original_name=about["original_name"],
            uploaded=float(about["uploaded"]),
            mapping=Mapping.parse(about["mapping"]) if about["mapping"] else None,
            current=about["current"],
            notes=tuple(about["notes"]),
            folder=folder,
        )
    except (OSError, ValueError, LookupError, TypeError, DatasetError):
        return None  # no data set, or a damaged one


def versions(kept: Kept) -> list[Version]:
    """All versions, newest first."""
    found = []
    for path in (kept.folder / "versions").glob("*.json"):
        if not path.with_suffix(".parquet").is_file():
            continue  # cut off before its rows had their name
        with contextlib.suppress(OSError, ValueError, TypeError):
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Version(**{**values, "what": tuple(values["what"])}))
    return sorted(found, key=lambda version: -version.created)


def new_version(kept: Kept, write: Callable[[Path], None], *, parent: str, by: str, what: Iterable[str]) -> Version:
    """Keep what `write` puts into a file as a version, and make it the current one.

    Rows that a version holds already are that version again, with its own parent and changes.
    """
    partial = kept.folder / "versions" / f".{secrets.token_hex(8)}"
    try:
        write(partial)
        version = _version(partial, parent=parent, by=by, what=tuple(what))
        path = partial.with_name(f"{version.key}.parquet")
        known = {each.key: each for each in versions(kept)}
        if version.key not in known:
            _write_json(path.with_suffix(".json"), asdict(version))
            partial.replace(path)
        set_current(kept, version.key)
        return known.get(version.key, version)
    except OSError as error:
        raise _not_kept(kept.title, error) from None
    finally:
        partial.unlink(missing_ok=True)


def set_current(kept: Kept, key: str) -> None:
    """Look at, edit and train on another version from now on; all versions stay."""
    kept.path(key)
    _update(kept, current=key)


def store_mapping(kept: Kept, mapping: Mapping) -> None:
    """Keep how the columns are read."""
    _update(kept, mapping=mapping.plain())


def remove(kept: Kept) -> None:
    """Delete the folder. It loses its name first, so that it is never seen half deleted."""
    nameless = kept.folder.with_name(f".{secrets.token_hex(8)}")
    kept.folder.rename(nameless)
    shutil.rmtree(nameless)


def clean(original_name: str) -> str:
    """A browser's file name without folders, control characters or undue length; its ending is kept."""
    last = re.split(r"[/\\]", original_name)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    path = PurePosixPath(printable or "untitled")
    return f"{path.stem[:80]}{path.suffix}"


def _keep(
    workspace: Workspace,
    title: str,
    original_name: str,
    write: Callable[[Path], None],
    reading: Reading | None,
    *,
    by: str,
    mapping: Mapping | None = None,
) -> str:
    """A folder gets its name when it is whole: a cut-off copy is never listed."""
    temporary = workspace.datasets / f".{secrets.token_hex(8)}"
    try:
        (temporary / "versions").mkdir(parents=True)
        partial = temporary / "versions" / "partial"
        write(partial)
        version = _version(partial, parent="", by=by, what=())
        name = f"{slug(title)}-{secrets.token_hex(4)}"
        partial.rename(partial.with_name(f"{version.key}.parquet"))
        _write_json(temporary / "versions" / f"{version.key}.json", asdict(version))
        about = {
            "title": title,
            "original_name": original_name,
            "uploaded": time.time(),
            "mapping": mapping.plain() if mapping else None,
            "current": version.key,
            "notes": list(reading.notes) if reading else [],
        }
        if reading is not None:
            store_aside(temporary / "aside.jsonl", reading.set_aside)
        _write_json(temporary / "about.json", about)
        temporary.rename(workspace.datasets / name)
        return name
    except OSError as error:
        raise _not_kept(original_name, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def shaped(rows: Iterable[Row], notes: list[str]) -> Iterator[Row]:
    """The rows; message trees as conversations, with a note on that."""
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return
    if not is_tree(first.keys()):
        yield from chain([first], remaining)
        return
    dropped: Counter[str] = Counter()
    yield from conversations(chain([first], remaining), dropped=dropped)
    left_out = f"; {dropped.total():,} messages had no place in one" if dropped else ""
    notes.append(f"Message trees became conversations, the best-ranked path of each{left_out}.")


def _told(reading: Reading, progress: Progress | None) -> Iterator[Row]:
    for number, row in enumerate(reading):
        if progress and number % _TOLD_EVERY == 0:
            progress(reading.share)
        yield row


def _version(path: Path, *, parent: str, by: str, what: tuple[str, ...]) -> Version:
    import pyarrow.parquet

    with path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    rows = pyarrow.parquet.read_metadata(path).num_rows
    if not rows:
        raise DatasetError("No rows are left.", remedy="Keep at least one row.")
    return Version(key, rows, time.time(), by, parent, what)


def _take(path: Path, to: Path) -> None:
    """The file under another name; a copy of it where the two lie on different disks."""
    try:
        to.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, to)


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _update(kept: Kept, **values: Any) -> None:
    path = kept.folder / "about.json"
    try:
        with _UPDATING:
            _write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})
    except FileNotFoundError:
        raise deleted() from None
    except OSError as error:
        raise _not_kept(kept.title, error) from None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{secrets.token_hex(8)}")
    try:
        partial.write_text(json.dumps(values, ensure_ascii=False, indent=2), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def deleted() -> DatasetError:
    """Somebody deleted the data set that somebody else looks at."""
    return DatasetError("The data set was deleted meanwhile.", remedy="Choose another one, or bring its file again.")


def _not_kept(shown: str, error: OSError) -> DatasetError:
    return DatasetError(
        f"{shown} cannot be kept ({error.strerror or error}).",
        remedy="Free some space, or choose another folder with --workspace.",
    )
