"""A folder with what was asked (about.json) and, a JSON line each, the steps of what came of it (steps.jsonl).

What is told once is on disk, so that whoever was stopped goes on where they were.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from studio.errors import RunError
from studio.workspace import slug, write_whole

_NAME = re.compile(r"\d{8}-\d{6}-[a-z0-9-]{1,60}")
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


class Binder:
    """One such folder."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = folder
        self.about = about

    @property
    def name(self) -> str:
        """Sorts by time."""
        return self.folder.name

    @property
    def steps(self) -> Path:
        return self.folder / "steps.jsonl"

    def append(self, *steps: dict[str, Any]) -> None:
        """Raises RunError where the disk is full: then nothing, or half a line that is read as nothing, was added."""
        told = b"".join(json.dumps(step).encode() + b"\n" for step in steps)
        if not told:
            return
        try:
            descriptor = os.open(self.steps, _FLAGS, 0o600)
            try:
                # A write that was cut short left half a line behind: it gets its end before the next one.
                whole = b"\n" * self._torn() + told
                if os.write(descriptor, whole) < len(whole):
                    raise OSError("No space left on device")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunError(
                f"{self.steps.name} cannot be written ({error.strerror or error}).", remedy="Free some disk space."
            ) from None

    def _torn(self) -> bool:
        with self.steps.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The steps, first first."""
        if not self.steps.is_file():
            return
        with self.steps.open("rb") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # cut by a full disk: the others still count

    @contextmanager
    def alone(self, what: str, remedy: str, seconds: float = 0.0) -> Iterator[None]:
        """Raises RunError where another process goes on with this, such as a command line beside the page.

        `what` it is, as people call it; `seconds` are what whoever has just left it may take to leave.
        """
        # A generator that has it may be asked by one thread now and be closed by another later.
        lock = filelock.FileLock(self.folder / "lock", timeout=seconds, thread_local=False)
        try:
            held = lock.acquire()
        except filelock.Timeout:
            raise RunError(f"This {what} is under way already.", remedy=remedy) from None
        with held:
            yield

    def delete(self) -> None:
        """With all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Stepwise(ABC):
    """What the steps of a binder add up to: those on disk are read once, each new one is on disk before it counts."""

    def __init__(self, binder: Binder) -> None:
        """For the end of a subclass's own: the steps are taken here."""
        self.binder = binder
        self.title = str(binder.about["title"])
        for step in binder:
            self._take(step)

    def keep(self, *steps: dict[str, Any]) -> None:
        """Raises RunError where the disk is full."""
        self.binder.append(*steps)
        for step in steps:
            self._take(step)

    @abstractmethod
    def _take(self, step: dict[str, Any]) -> None:
        """Let it count."""


def create(root: Path, label: str, about: dict[str, Any]) -> Binder:
    """A new one, under a name that is nobody else's. Raises RunError where it cannot be written."""
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(label)}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
        write_whole(folder / "about.json", json.dumps(about))
    except OSError as error:
        raise RunError(f"{root} cannot be written ({error.strerror}).", remedy="Free some disk space.") from None
    return Binder(folder, about)


def find(root: Path, name: str) -> Binder:
    """Raises RunError for any name that is none, hostile ones included."""
    try:
        if _NAME.fullmatch(name):
            about = json.loads((root / name / "about.json").read_text(encoding="utf-8"))
            if isinstance(about, dict):
                return Binder(root / name, about)
    except (OSError, ValueError):
        pass
    raise RunError("It is not there any more.", remedy="Choose another from the list.")


def listed(root: Path) -> list[Binder]:
    """All of them, newest first; damaged ones are left out."""
    found = []
    for name in sorted((each.name for each in root.iterdir()), reverse=True) if root.is_dir() else []:
        try:
            found.append(find(root, name))
        except RunError:
            continue
    return found
