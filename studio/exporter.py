"""Exports, made in a process of their own: whole and checked, or not there at all.

An `Exporter` asks `python -m studio.exporter` with {"workspace", "run", "export", "to"}; the replies are
{"doing", "done", "total"} and one {"checked", "sha256"}. An export is a folder with one file and an about.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

import studio.exports
from studio import binder
from studio.catalog import Chosen, key_of, plain
from studio.child import Child, Progress, Reply, Tell, serve, teller
from studio.errors import RunError
from studio.exports import Export, Source
from studio.models.machine import room as device_room
from studio.processes import go_first
from studio.rehearsal import device_now, size
from studio.workspace import Workspace, write_whole

LEFT_FREE = 100_000_000  # bytes of the disk that no export takes: runs must be able to write their logs
_PIECE = 8_000_000  # bytes that are hashed between two words on how far it is


@dataclass(frozen=True)
class Exported:
    """One export on disk."""

    name: str  # of its folder; sorts by time
    title: str  # the run's
    run: str
    export: dict[str, Any]  # as `studio.catalog.plain` tells it
    file: str
    bytes: int
    sha256: str
    checked: list[str]  # sentences
    seconds: float  # that it took

    def path(self, workspace: Workspace) -> Path:
        """Of its file."""
        return workspace.exports / self.name / self.file

    def plain(self) -> dict[str, Any]:
        """All of it, for a JSON file."""
        return asdict(self)


class Exporter:
    """The parent's side. One export at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.exporter",
            workspace.root / "exporter.log",
            "The process that made the export ended, most likely because the machine ran out of memory.",
            "Free memory (the button at the top) and try again; exporter.log in the workspace says why it ended.",
        )

    def export(self, run: str, export: Export) -> Iterator[Progress | Exported]:
        """How far it is, and what was made last. Raises StudioError. Closing the iterator ends it: nothing is left."""
        source = ready(self._workspace, run, export)
        with self._alone(export), _unfinished(self._workspace) as folder:
            check_room(self._workspace, export, source)
            file = f"{source.folder.id}-{key_of(export)}{export.ending}"
            about = {"workspace": str(self._workspace.root), "run": source.folder.id, "export": plain(export)}
            began, told = time.monotonic(), {}
            with closing(self.child.told({**about, "to": str(folder / file)})) as parts:
                for part in parts:
                    if isinstance(part, Progress):
                        yield part
                    else:
                        told = part
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{key_of(export)}-{secrets.token_hex(2)}"
            found = Exported(
                name=name,
                title=source.state.title,
                run=source.folder.id,
                export=plain(export),
                file=file,
                bytes=(folder / file).stat().st_size,
                sha256=told["sha256"],
                checked=told["checked"],
                seconds=round(time.monotonic() - began, 1),
            )
            write_whole(folder / "about.json", json.dumps(found.plain(), indent=1))
            folder.rename(self._workspace.exports / name)
        yield found

    @contextmanager
    def _alone(self, export: Export) -> Iterator[None]:
        """No other export meanwhile, and no training where that needs what this takes; no process is left behind."""
        self._workspace.exports.mkdir(exist_ok=True)
        # A generator that has it may be asked by one thread now and be closed by another later.
        lock = filelock.FileLock(self._workspace.exports / ".lock", timeout=0, thread_local=False)
        try:
            held = lock.acquire()
        except filelock.Timeout:
            raise RunError("Another export is under way.", remedy="Wait until it is made, or cancel it.") from None
        with held, _beside_training(self._workspace, export):
            try:
                yield
            finally:
                self.child.close()

    def close(self) -> None:
        """End the process; whoever waits for it is told."""
        self.child.close()


def ready(workspace: Workspace, run: str, export: Export) -> Source:
    """The run, of which this export can be made as far as is known without a model. Raises StudioError."""
    source = Source.of(workspace, run)
    export.check(source)
    return source


def check_room(workspace: Workspace, export: Export, source: Source) -> tuple[int, int]:
    """Bytes that it takes while it is made, and bytes that are free. Raises StudioError where they are too few."""
    taken, free = export.room(source), max(0, shutil.disk_usage(workspace.root).free - LEFT_FREE)
    if taken > free:
        raise RunError(
            f"While it is made, this export takes {size(taken)} of disk, and {size(free)} may be taken: "
            f"{size(taken - free)} are lacking.",
            remedy="Delete older exports, runs or data sets, or choose a form that takes less.",
        )
    return taken, free


def _beside_training(workspace: Workspace, export: Export) -> Any:
    """A context; a model on the CPU beside a training there would slow both, and may take its memory."""
    if not export.loads or device_room().gpu:
        return nullcontext()
    try:
        return device_now(workspace)
    except RunError:
        raise RunError(
            "A run is training on this machine's processor, or a benchmark is measured there; the model of an export "
            "would take its time and its memory.",
            remedy="Export it when that is done. The adapter alone can be exported at any time.",
        ) from None


@contextmanager
def _unfinished(workspace: Workspace) -> Iterator[Path]:
    """A hidden folder to make an export in, gone afterwards unless it was renamed. For whoever holds the lock."""
    for left in workspace.exports.glob(".making-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = workspace.exports / f".making-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def made(workspace: Workspace) -> list[Exported]:
    """All exports, newest first; damaged ones are left out."""
    found = []
    for each in binder.listed(workspace.exports):
        try:
            exported = Exported(**each.about)
            here = exported.name == each.name and Path(exported.file).name == exported.file
            if here and exported.path(workspace).is_file():
                found.append(exported)
        except TypeError:
            continue
    return found


def delete(workspace: Workspace, name: str) -> None:
    """Raises RunError where there is no such export."""
    binder.find(workspace.exports, name).delete()


def parse(values: Any) -> Export:
    """`{name: KEY, **settings}` as an Export. Raises ConfigError."""
    return Chosen(studio.exports, Export).parse(values)  # pyright: ignore[reportReturnType]


# -- in the process ---------------------------------------------------------------------------------


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    tell, to = teller(reply, stop), Path(request["to"])
    go_first()
    source = Source.of(Workspace(Path(request["workspace"])), request["run"])
    checked = parse(request["export"]).write(source, to, tell)
    reply(checked=checked, sha256=_digest(to, tell))


def _digest(file: Path, tell: Tell) -> str:
    digest, done, total = hashlib.sha256(), 0, file.stat().st_size
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            tell("Working out its checksum", done, total)
        os.fsync(opened.fileno())
    return digest.hexdigest()


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if hasattr(os, "nice"):
        os.nice(10)  # a training or the page may need the processor more
    serve(_answer)


if __name__ == "__main__":
    main()
