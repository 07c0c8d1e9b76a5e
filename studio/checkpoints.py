"""Checkpoints of a run: folders that are complete or not there, and proven whole before anything in them is read.

A folder is written beside its final name, every file forced to disk, a manifest of sizes and SHA-256 last; then it is
renamed. What is in the files is the business of `studio.training.state`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{1,12})")
_WRITING, _LEAVING = ".writing-", ".leaving-"  # folders that count for nothing
_AT_ONCE = 2**20  # bytes read at a time


@dataclass(frozen=True)
class Checkpoint:
    """A folder that looks like one; `damage` says whether it is."""

    path: Path
    step: int

    def damage(self) -> str:
        """What is wrong with it, in a few words; empty where every byte is as it was written."""
        try:
            manifest = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
            seal, files, step = manifest.pop("seal"), dict(manifest["files"]), manifest["step"]
        except FileNotFoundError:
            return "it is not complete"
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return "its manifest cannot be read"
        if seal != _seal(manifest) or step != self.step:
            return "its manifest was changed"
        for name, known in files.items():
            try:
                if _facts(self.path / name) != known:
                    return f"{name} is not as it was written"
            except OSError:
                return f"{name} cannot be read"
        return ""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())


def write(folder: Path, step: int, fill: Callable[[Path], None]) -> Checkpoint:
    """Make the checkpoint of `step` in `folder`, of the files that `fill` writes into the folder it is given.

    One of the same step is replaced, and those of later steps go: they were found damaged, or the run would not be here
    again. Raises OSError where the disk takes no more; what was there before stays whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{_WRITING}{step}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        fill(made)
        files = {}
        for file in sorted(made.iterdir()):
            _to_disk(file)
            files[file.name] = _facts(file)
        manifest = {"step": step, "files": files}
        (made / _MANIFEST).write_text(json.dumps(manifest | {"seal": _seal(manifest)}), encoding="utf-8")
        _to_disk(made / _MANIFEST)
        _to_disk(made)
        final = folder / f"step-{step}"
        if final.exists():
            _remove(final)
        made.rename(final)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _to_disk(folder)
    for each in found(folder):
        if each.step > step:
            _remove(each.path)
    return Checkpoint(final, step)


def found(folder: Path) -> list[Checkpoint]:
    """All that there are, newest first, whole or not."""
    if not folder.is_dir():
        return []
    named = [(entry, _NAME.fullmatch(entry.name)) for entry in folder.iterdir() if entry.is_dir()]
    steps = [Checkpoint(entry, int(match[1])) for entry, match in named if match]
    return sorted(steps, key=lambda each: -each.step)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole one, and why each that is newer cannot be used."""
    skipped = []
    for each in found(folder):
        damage = each.damage()
        if not damage:
            return each, skipped
        skipped.append(f"The checkpoint of step {each.step} was skipped: {damage}.")
    return None, skipped


def keep(folder: Path, most: int, also: Iterable[int] = ()) -> None:
    """Delete all but the newest `most`, and those of the steps in `also`."""
    wanted = set(also)
    for each in found(folder)[most:]:
        if each.step not in wanted:
            _remove(each.path)
    for left in [*folder.glob(f"{_WRITING}*"), *folder.glob(f"{_LEAVING}*")]:  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)


def _remove(path: Path) -> None:
    """Out of sight first: half a folder would look like damage."""
    leaving = path.with_name(f"{_LEAVING}{path.name}")
    shutil.rmtree(leaving, ignore_errors=True)
    path.rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def _facts(file: Path) -> list[int | str]:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while data := opened.read(_AT_ONCE):
            digest.update(data)
    return [file.stat().st_size, digest.hexdigest()]


def _seal(manifest: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _to_disk(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    if path.is_dir():
        with suppress(OSError):  # Windows opens no folders, and keeps their names by itself
            _flush(os.open(path, os.O_RDONLY))
    else:
        _flush(os.open(path, os.O_RDWR))


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
