"""Unsaved changes of a data set: done, undone, done again, kept on disk at once, saved as a version.

`draft/` holds one Parquet file a change, numbered from 1, and `draft.json` with the version they lie
over and how many of them count: undo takes one off that number, and the next new change drops what
was undone. A crash loses nothing that a person saw done.
"""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from studio.data import collection
from studio.data.changes import Change, folded, inverse
from studio.data.collection import Kept, Version
from studio.data.parquet import Writer, batches_of, schema_of
from studio.data.table import Table
from studio.errors import DatasetError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One change of the history."""

    what: str
    who: str
    when: float  # seconds since the epoch
    rows: int
    undone: bool


def _alone(method: Callable[Concatenate[Draft, P], R]) -> Callable[Concatenate[Draft, P], R]:
    """One change at a time, whoever makes it. Raises DatasetError where the data set was deleted meanwhile."""

    @functools.wraps(method)
    def locked(self: Draft, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            there = collection.reread(self.kept.folder)
            if there is None or there.uploaded != self.kept.uploaded:  # the same file may have come again
                raise collection.deleted()
            return method(self, *args, **kwargs)

    return locked


class Draft:
    """A data set opened for editing. One object a data set and process: `lock` keeps editors in turn."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.lock = threading.RLock()
        self.folder = kept.folder / "draft"
        self._open()

    def _open(self) -> None:
        state = self._state()
        if state["base"] != self.kept.current:  # saved or left behind, and cut off before it was cleared away
            shutil.rmtree(self.folder, ignore_errors=True)
            state = {"base": self.kept.current, "head": 0}
        self.base: str = state["base"]
        self.head: int = state["head"]
        self.table = changed(self.kept.path(self.base), self.folder, self.head)

    @_alone
    def do(self, make: Callable[[Table], Change], who: str) -> Change:
        """Make a change and lay it over the rows; it is on disk before this returns."""
        change = make(self.table)

        def keep() -> None:
            self.folder.mkdir(exist_ok=True)
            for number in self._numbers():
                if number > self.head:
                    self._file(number).unlink()
            _write(self._file(self.head + 1), change, who)

        self._move(change.table, self.head + 1, keep)
        return change

    @_alone
    def undo(self) -> str:
        """Take the last change back; what it was, in words."""
        if not self.head:
            raise DatasetError("There is nothing to undo.", remedy="Changes made before the last save stay.")
        self._move(inverse(_read(self._file(self.head))), self.head - 1)
        return _about(self._file(self.head + 1))["what"]

    @property
    def can_redo(self) -> bool:
        """Whether something was undone that can be done again."""
        return self._file(self.head + 1).exists()

    @_alone
    def redo(self) -> str:
        """Do the change again that was undone last; what it was, in words."""
        path = self._file(self.head + 1)
        if not self.can_redo:
            raise DatasetError("There is nothing to do again.", remedy="Only what was undone can be done again.")
        self._move(_read(path), self.head + 1)
        return _about(path)["what"]

    @_alone
    def save(self, who: str) -> Version:
        """The rows as they are now, as a new version; the history goes with it. Nothing to save: DatasetError."""
        if not self.head:
            raise DatasetError("There is nothing to save.", remedy="The data set is as it was saved last.")
        what = [entry.what for entry in self.history() if not entry.undone]
        version = collection.new_version(
            self.kept, functools.partial(write_table, self.table), parent=self.base, by=who, what=what
        )
        if version.parent:  # else: edited and edited back; rows that came so have no history
            history = self.kept.history(version.key)
            history.parent.mkdir(exist_ok=True)
            if not history.exists():
                self.folder.rename(history)
        self._reopen()
        return version

    @_alone
    def discard(self) -> None:
        """Forget all unsaved changes."""
        self._reopen()

    @_alone
    def go_to(self, version: str) -> None:
        """Look at another version from now on. Raises DatasetError while there are unsaved changes."""
        if self.head:
            raise DatasetError(
                f"There are {self.head} unsaved changes.", remedy="Save or discard them, then choose the version."
            )
        collection.set_current(self.kept, version)
        self._reopen()

    @_alone
    def lies(self) -> tuple[Path, Path, int]:
        """For `changed`: the version's file, the folder of the changes over it, how many of them count."""
        return self.table.path, self.folder, self.head

    @_alone
    def history(self) -> list[Entry]:
        """Changes since the version, oldest first, undone ones included."""
        return [_entry(self._file(number), number > self.head) for number in self._numbers()]

    def _reopen(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.kept = collection.reread(self.kept.folder) or self.kept
        self._open()

    def _state(self) -> dict[str, Any]:
        """What the draft lies over, and how many changes count; none where that cannot be read."""
        try:
            state = json.loads((self.folder / "draft.json").read_text(encoding="utf-8"))
            return {"base": str(state["base"]), "head": max(0, min(int(state["head"]), len(self._numbers())))}
        except (OSError, ValueError, LookupError, TypeError):
            return {"base": self.kept.current, "head": 0}

    def _move(self, changes: Any, head: int, keep: Callable[[], None] = lambda: None) -> None:
        """Lay changes over the rows and write down that they count; neither where one cannot be done."""
        self.table.apply(changes)
        try:
            keep()
            self._set_head(head)
        except OSError as error:
            self.table.apply(inverse(changes))
            raise DatasetError(
                f"The change cannot be kept ({error.strerror or error}).", remedy="Free some space and try again."
            ) from None

    def _set_head(self, head: int) -> None:
        path = self.folder / "draft.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"base": self.base, "head": head}), encoding="utf-8")
        partial.replace(path)
        self.head = head

    def _file(self, number: int) -> Path:
        return numbered(self.folder, number)

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.parquet"))


def history_of(kept: Kept, version: str) -> list[Entry]:
    """The changes that led to a saved version, oldest first."""
    kept.path(version)
    return [_entry(path, False) for path in sorted(kept.history(version).glob("[0-9]*.parquet"))]


def change_of(folder: Path, number: int) -> Change:
    """A kept change, from 1. `folder`: a draft's or a version's history."""
    path = numbered(folder, number)
    return Change(_about(path)["what"], _read(path))


def changed(path: Path, folder: Path, head: int) -> Table:
    """A version's rows under the first `head` changes of a draft's folder."""
    table = Table(path)
    if head:
        table.apply(folded(_read(numbered(folder, number)) for number in range(1, head + 1)))
    return table


def write_table(table: Table, path: Path) -> None:
    """The table's rows in their order as a Parquet file, few in memory at a time."""
    schema = schema_of(table.path).remove_metadata()
    with Writer(path, schema) as writer:
        for part in merged(table):
            writer.write(part.cast(schema))


def merged(table: Table) -> Iterator[Any]:
    """The rows as Arrow tables, in order: the file's batches with the touched rows in their places."""
    import numpy
    import pyarrow

    schema = schema_of(table.path).remove_metadata()
    patched = table.patched()
    touched = numpy.sort(patched.column("r").to_numpy())
    patched = patched.filter(pyarrow.array(~patched.column("gone").to_numpy()))  # in the order of their places
    places = patched.column("place").to_numpy()
    cells = patched.select([f"c{i}" for i in range(len(schema))]).rename_columns(schema.names).cast(schema)

    at = 0
    for batch in batches_of(table.path):
        end = at + len(batch)
        part = pyarrow.Table.from_batches([batch]).cast(schema)
        hidden = touched[slice(*numpy.searchsorted(touched, [at, end]))] - at
        first, last = numpy.searchsorted(places, [at, end])
        if len(hidden) or first < last:
            kept = numpy.ones(len(batch), dtype=bool)
            kept[hidden] = False
            both = numpy.concatenate([numpy.arange(at, end)[kept], places[first:last]])
            order = pyarrow.array(numpy.argsort(both, kind="stable"))
            part = pyarrow.concat_tables([part.filter(pyarrow.array(kept)), cells.slice(first, last - first)]).take(
                order
            )
        yield part
        at = end
    if behind := len(places) - numpy.searchsorted(places, at):
        yield cells.slice(len(places) - behind)


def unsaved(kept: Kept) -> int:
    """How many changes no version holds yet, told without opening the data set."""
    try:
        state = json.loads((kept.folder / "draft" / "draft.json").read_text(encoding="utf-8"))
        return int(state["head"]) if state["base"] == kept.current else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


class Desk:
    """What is open in this process: at most `most` drafts and as many tables that are only looked at."""

    def __init__(self, most: int = 4) -> None:
        self._drafts = _Recent(most, Draft)
        self._tables = _Recent(most, Table)

    def draft(self, kept: Kept) -> Draft:
        """The one draft of that data set."""
        return self._drafts.get(_known(kept), kept)

    def table(self, path: Path) -> Table:
        """A version that is only looked at."""
        return self._tables.get(path, path)

    def forget(self, kept: Kept) -> None:
        """Its folder goes."""
        self._drafts.drop(_known(kept))


def _known(kept: Kept) -> tuple[Path, float]:
    """What a data set is known by: deleted and brought again, it may have the same folder."""
    return kept.folder, kept.uploaded


class _Recent(Generic[T]):
    """The things asked for last, made when they are missing. Whoever still looks at an older one keeps it alive."""

    def __init__(self, most: int, make: Callable[[Any], T]) -> None:
        self._most = most
        self._make = make
        self._kept: dict[Hashable, T] = {}
        # Two of one draft would not hear each other.
        self._alive: WeakValueDictionary[Hashable, T] = WeakValueDictionary()
        self._turns: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: Hashable, source: Any) -> T:
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # making one takes seconds where much was edited: only who wants the same one waits
            with self._lock:
                thing = self._kept.pop(key, None) or self._alive.get(key)
            thing = thing or self._make(source)
            with self._lock:
                self._kept[key] = self._alive[key] = thing
                while len(self._kept) > self._most:
                    del self._kept[next(iter(self._kept))]
            return thing

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._kept.pop(key, None)
            self._alive.pop(key, None)


def numbered(folder: Path, number: int) -> Path:
    """The file of a change, from 1."""
    return folder / f"{number:06}.parquet"


def _write(path: Path, change: Change, who: str) -> None:
    import pyarrow.parquet

    about = {"what": change.what, "who": who, "when": time.time()}
    table = change.table.replace_schema_metadata({"about": json.dumps(about)})
    partial = path.with_suffix(".partial")
    pyarrow.parquet.write_table(table, partial, compression="lz4")
    partial.replace(path)


def _read(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).replace_schema_metadata(None)


def _about(path: Path) -> dict[str, Any]:
    import pyarrow.parquet

    return json.loads(pyarrow.parquet.read_schema(path).metadata[b"about"])


def _entry(path: Path, undone: bool) -> Entry:
    import pyarrow.parquet

    return Entry(**_about(path), rows=pyarrow.parquet.read_metadata(path).num_rows, undone=undone)
