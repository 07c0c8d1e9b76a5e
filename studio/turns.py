"""Whose run comes next, where several people's queues share a machine's devices: who has had the least of it.

Each queue keeps a file in the workshop's folder, which the others read: the seconds it has had, the devices it holds,
and since when it waits. The right to a device itself is its lock (`Workspace.device_lock`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import filelock
import psutil

from studio.processes import Identity
from studio.workspace import Workspace, write_whole


@dataclass(frozen=True)
class Stand:
    """Where one queue stands."""

    spent: float = 0.0  # seconds for which it has held devices, one counted like another
    held: tuple[str, ...] = ()  # as CUDA_VISIBLE_DEVICES calls them
    since: float = 0.0  # when it got those, in seconds since 1970
    waits: float = 0.0  # since when one of its runs waits; 0: none does

    def had(self) -> float:
        """Seconds of devices until now."""
        return self.spent + len(self.held) * max(0.0, time.time() - self.since)

    def rank(self) -> tuple[float, float]:
        """The lowest comes first."""
        return self.had(), self.waits


def stands(workspace: Workspace) -> dict[str, Stand]:
    """Folder of a person → where their queue stands; those whose studio lives."""
    read = ((path.stem, *_read(path)) for path in workspace.turns.glob("[!.]*.json"))
    return {name: stand for name, stand, process in read if process and process.process()}


def _read(path: Path) -> tuple[Stand, Identity | None]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(path.read_text(encoding="utf-8"))
        process = Identity(told.pop("pid"), told.pop("born"), told.pop("boot"))
        return Stand(**{**told, "held": tuple(told["held"])}), process
    return Stand(), None


class Turns:
    """One queue's side."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._name = workspace, workspace.root.name
        self._path = workspace.turns / f"{self._name}.json"
        # What it held is held still by runs that outlived their studio; `tell` says so again.
        self._own = replace(_read(self._path)[0], held=(), since=0.0, waits=0.0)
        self._process = asdict(Identity.of(psutil.Process()))
        self._told: Stand | None = None
        self.deciding = filelock.FileLock(str(workspace.turns / "lock"))  # by whoever looks what is free, to take it

    @classmethod
    def of(cls, workspace: Workspace) -> Turns | None:
        """None where nobody else has a queue on this machine."""
        return cls(workspace) if workspace.shared != workspace.root else None

    def tell(self, waits: bool, held: Sequence[str]) -> None:
        """Let the others know. Raises OSError."""
        own, now = self._own, time.time()
        if set(held) != set(own.held):
            own = replace(own, spent=own.had(), held=tuple(sorted(held)), since=now)
        if waits != bool(own.waits):
            own = replace(own, waits=now if waits else 0.0)
        if own != self._told:
            write_whole(self._path, json.dumps({**self._process, **asdict(own)}))
            self._own = self._told = own

    def ahead(self) -> int:
        """How many others come before this queue, which waits."""
        mine = (self._own.rank(), self._name)
        return sum(each.waits > 0 and (each.rank(), name) < mine for name, each in self._others().items())

    def held(self) -> set[str]:
        """The devices that others hold."""
        return {device for each in self._others().values() for device in each.held}

    def _others(self) -> dict[str, Stand]:
        found = stands(self._workspace)
        found.pop(self._name, None)
        return found
