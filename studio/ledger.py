"""What people say about runs, the disk these take, the order they wait in, and the trash they go to."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from studio.errors import RunError
from studio.workspace import RunFolder, Workspace, write_whole

MOST_TAGS = 12
TAG_LETTERS = 40
NOTE_LETTERS = 2000

_GOING = ".going-"  # folders that count for nothing: they are being deleted
_writing = threading.Lock()


# -- what people say -------------------------------------------------------------------------------------


class About(BaseModel):
    """What was said of a run; nothing, where its file is missing or damaged."""

    model_config = ConfigDict(frozen=True)

    star: bool = False
    tags: tuple[str, ...] = ()
    note: str = ""
    deleted: float = 0.0  # when it last went to the trash, in seconds since 1970


def about(folder: RunFolder) -> About:
    """What was said of a run."""
    path = folder.about
    try:
        stat = path.stat()
    except OSError:
        return About()
    return _read(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=20_000)
def _read(path: Path, _stamp: tuple[int, int, int]) -> About:
    try:
        return About.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return About()


def describe(folder: RunFolder, **changes: Any) -> About:
    """Change some fields of what is said of a run. Raises RunError where it is too long, or cannot be written."""
    if len(changes.get("note", "")) > NOTE_LETTERS:
        raise RunError(f"The note is longer than {NOTE_LETTERS:,} letters.", remedy="Shorten it.")
    with _writing:
        said = about(folder).model_copy(update=changes)
        try:
            write_whole(folder.about, said.model_dump_json())
        except OSError as error:
            raise RunError(
                f"What you said of this run could not be kept ({error.strerror}).",
                remedy="Free some space, or change the permissions of the run's folder.",
            ) from None
    return said


def tags_of(text: str) -> tuple[str, ...]:
    """Tags written with commas between them, each once. Raises RunError where they are too many or too long."""
    known: dict[str, str] = {}
    for word in (" ".join(each.split()) for each in text.split(",")):
        if word:
            known.setdefault(word.casefold(), word)
    tags = tuple(known.values())
    if len(tags) > MOST_TAGS:
        raise RunError(f"These are {len(tags)} tags.", remedy=f"Keep the {MOST_TAGS} that tell most.")
    if long := next((each for each in tags if len(each) > TAG_LETTERS), ""):
        raise RunError(f"The tag '{long[:TAG_LETTERS]}…' is too long.", remedy=f"Use at most {TAG_LETTERS} letters.")
    return tags


# -- the queue -------------------------------------------------------------------------------------------


def order(workspace: Workspace) -> list[str]:
    """Ids of the runs that waited when the order was kept last, first first."""
    try:
        kept = json.loads(workspace.order.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(each) for each in kept] if isinstance(kept, list) else []


def keep_order(workspace: Workspace, ids: Sequence[str]) -> None:
    """Let a later studio know in which order runs wait. Raises OSError."""
    write_whole(workspace.order, json.dumps(list(ids)))


# -- the trash -------------------------------------------------------------------------------------------


def throw_away(workspace: Workspace, run_id: str) -> None:
    """Move a run to the trash, active or not: `Jobs.delete` looks first. Raises RunError where that cannot be done."""
    folder = workspace.run(run_id)
    with suppress(RunError):  # on a full disk people delete most
        describe(folder, deleted=time.time())
    _move(folder, workspace.trash, "The trash holds a run of this name already.", "Delete that one for ever first.")


def restore(workspace: Workspace, run_id: str) -> None:
    """Take a run out of the trash. Raises RunError where that cannot be done."""
    folder = workspace.bin().run(run_id)
    _move(folder, workspace.runs, "There is a run of this name again.", "Delete that one first.")


def _move(folder: RunFolder, into: Path, taken: str, remedy: str) -> None:
    target = into / folder.id
    if target.exists():
        raise RunError(taken, remedy=remedy)
    try:
        into.mkdir(exist_ok=True)
        folder.path.rename(target)  # on the same disk: nothing is copied
    except OSError as error:
        raise RunError(
            f"The folder of {folder.id} cannot be moved ({error.strerror}).",
            remedy="A program may have one of its files open, or the workspace may be read-only.",
        ) from None


def erase(workspace: Workspace, run_id: str) -> None:
    """Delete a run of the trash for ever. Raises RunError where that cannot be done."""
    folder = workspace.bin().run(run_id)
    try:
        # Out of sight first: half a run would look like damage.
        folder.path.rename(workspace.trash / f"{_GOING}{folder.id}")
    except OSError as error:
        raise RunError(
            f"{folder.id} cannot be deleted ({error.strerror}).",
            remedy="A program may have one of its files open, or the workspace may be read-only.",
        ) from None
    for left in workspace.trash.glob(f"{_GOING}*"):  # those of a studio that was killed as well
        shutil.rmtree(left, ignore_errors=True)


# -- the disk --------------------------------------------------------------------------------------------


def taken(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a checkpoint that was just replaced
                total += os.lstat(os.path.join(where, name)).st_size
    return total


class Sizes:
    """What runs take on disk, counted by a thread of its own: a request must not wait for thousands of files."""

    def __init__(self, read: Callable[[str], object]) -> None:
        """`read` is what else takes long: it is called with a run's id before its size is known."""
        self.read = read
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, int]] = {}  # the log's size when it was counted, and bytes
        self._asked: dict[str, tuple[int, Path]] = {}
        self._thread: threading.Thread | None = None

    def of(self, folder: RunFolder) -> int | None:
        """Bytes as last counted, None before that. They are counted anew where the log has grown."""
        run_id, stamp = folder.id, folder.events.size()
        with self._lock:
            known, size = self._known.get(run_id, (-1, None))
            if known != stamp:
                self._asked[run_id] = (stamp, folder.path)
            if self._asked and self._thread is None:
                self._thread = threading.Thread(target=self._count, name="sizes", daemon=True)
                self._thread.start()
        return size

    def _count(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._thread = None
                    return
                run_id, (stamp, path) = next(iter(self._asked.items()))
                del self._asked[run_id]
            with suppress(RunError, OSError):  # it was deleted meanwhile
                self.read(run_id)
            size = taken(path)
            with self._lock:
                self._known[run_id] = (stamp, size)
