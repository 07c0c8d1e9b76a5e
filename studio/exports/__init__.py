"""WHAT leaves the studio of a run, and in which form. One file per export; the file name is its key."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studio.catalog import Entry, discover
from studio.config import RunConfig
from studio.errors import RunError
from studio.store import State, Store
from studio.workspace import RunFolder, Workspace

Tell = Callable[[str, float, float], None]  # (what is being done, done, total); raises to cancel


@dataclass(frozen=True)
class Source:
    """The run that is exported."""

    workspace: Workspace
    folder: RunFolder
    state: State  # what its log tells
    config: RunConfig

    @classmethod
    def of(cls, workspace: Workspace, run: str) -> Source:
        """Raises RunError where there is no such run or it is still under way, ConfigError for a config of no use."""
        folder, state = workspace.run(run), Store(workspace).state(run)
        if state.active:
            raise RunError("This run is under way.", remedy="Wait for its end, or stop it.")
        config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
        return cls(workspace, folder, state, config)


class Export(Entry):
    """Base of all exports: settings, and how they turn a run into one file."""

    ending: ClassVar[str]  # of the file, such as '.zip'
    loads: ClassVar[bool] = False  # takes a model's memory and time, which a training may need

    def check(self, source: Source) -> None:
        """Raise StudioError where it cannot be made of this run, with the reason. Imports no torch."""

    def room(self, source: Source) -> int:
        """Bytes that it takes on disk at most while it is made, what it leaves included. Imports no torch."""
        raise NotImplementedError

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        """Make the file `to`, which is not there yet; sentences on what was checked. Raises StudioError.

        Runs in a process of its own, which may hold a model. What it leaves behind when it ends early is removed.
        """
        raise NotImplementedError


def exports() -> dict[str, type[Export]]:
    """Key → settings class of every export there is."""
    return discover(sys.modules[__name__], Export)  # pyright: ignore[reportReturnType]
