"""The data sets that can be chosen: samples that come with the studio, uploads, and files by path."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from studio.data import uploads
from studio.data.dataset import Dataset, split
from studio.data.files import read
from studio.data.templates import Mapping, check, detect
from studio.errors import DatasetError
from studio.workspace import Workspace

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"


@dataclass(frozen=True)
class Sample:
    """A data set that comes with the studio."""

    name: str
    title: str
    about: str
    licence: str
    train: Path
    validation: Path | None
    mapping: Mapping


@dataclass(frozen=True)
class Choice:
    """One entry of the list a person chooses from; `name` is what a config holds."""

    name: str
    title: str
    kind: Literal["upload", "sample"]


@dataclass(frozen=True)
class Found:
    """A data set that was read; how its columns are to be read may be open still."""

    train: Dataset
    validation: Dataset | None  # held-out rows it brings of its own
    mapping: Mapping | None  # the one that came or was stored with it
    title: str
    about: str = ""
    kind: Literal["sample", "upload", "file"] = "file"
    path: Path | None = None  # where a file given by its path lies; None for samples and uploads


@dataclass(frozen=True)
class Opened:
    """A data set that was read and whose columns were checked. Its rows are shared: do not change them."""

    train: Dataset
    validation: Dataset | None
    mapping: Mapping
    title: str
    path: Path | None = None


def samples() -> dict[str, Sample]:
    """Folder name → sample, for every folder with an about.json."""
    return {about.parent.name: _sample(about) for about in sorted(SAMPLES.glob("*/about.json"))}


def _sample(about: Path) -> Sample:
    values: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
    validation = values.get("validation")
    return Sample(
        name=about.parent.name,
        title=values["title"],
        about=values["about"],
        licence=values["licence"],
        train=about.parent / values["train"],
        validation=about.parent / validation if validation else None,
        mapping=Mapping.parse(values["mapping"]),
    )


def add(workspace: Workspace, upload: Path, original_name: str) -> str:
    """Keep an uploaded file; returns the name it can be opened by. The same file twice has one name.

    Raises DatasetError, before anything is written, for files that are not rows.
    """
    return uploads.add(workspace, upload, original_name)


def names(workspace: Workspace) -> list[Choice]:
    """Uploads, newest first, then the samples."""
    own = [Choice(upload.name, upload.title, "upload") for upload in uploads.listed(workspace)]
    return [*own, *(Choice(sample.name, sample.title, "sample") for sample in samples().values())]


def set_mapping(workspace: Workspace, name: str, mapping: Mapping) -> None:
    """Store how an upload's columns are read. Raises DatasetError where they cannot be read so."""
    upload = _own(workspace, name)
    check(mapping, _read(upload.data, upload.original_name))
    uploads.store_mapping(upload, mapping)


def remove(workspace: Workspace, name: str) -> None:
    """Delete an upload. Raises DatasetError for samples and for names that are none."""
    uploads.remove(_own(workspace, name))


def look(source: str, workspace: Workspace) -> Found:
    """What lies behind a sample's name, an upload's name or a file's path, looked for in that order.

    Raises DatasetError where there is no such data set, or it cannot be read.
    """
    if sample := samples().get(source):
        validation = _read(sample.validation) if sample.validation else None
        about = f"{sample.about} Licence: {sample.licence}."
        return Found(_read(sample.train), validation, sample.mapping, sample.title, about, "sample")
    if upload := uploads.find(workspace, source):
        return Found(_read(upload.data, upload.original_name), None, upload.mapping, upload.title, kind="upload")
    path = _existing(source)
    train = _read(path)
    return Found(train, None, None, train.name, path=path)


def title_of(source: str, workspace: Workspace) -> str:
    """What people call a data set, without reading it; it may be gone by now."""
    if sample := samples().get(source):
        return sample.title
    upload = uploads.find(workspace, source)
    return upload.title if upload else Path(source).name


def settle(found: Found, mapping: Mapping | None = None) -> Opened:
    """`found` with its columns settled: `mapping` counts before the stored one, that before a detected one.

    Raises DatasetError where the columns cannot be read so.
    """
    mapping = mapping or found.mapping or detect(found.train)
    for part in filter(None, (found.train, found.validation)):
        check(mapping, part)
    return Opened(found.train, found.validation, mapping, found.title, found.path)


def open_source(source: str, workspace: Workspace, mapping: Mapping | None = None) -> Opened:
    """`settle` what `look` finds. Raises DatasetError."""
    return settle(look(source, workspace), mapping)


def train_and_held_out(opened: Opened, share: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(rows to train on, rows to score on); None where none are held out.

    A data set's own held-out rows are used as they are; otherwise `share` of its rows, drawn by `seed`.
    """
    if opened.validation is not None:
        return opened.train, opened.validation
    train, held_out = split(opened.train.rows, share, seed)
    return replace(opened.train, rows=train), replace(opened.train, rows=held_out, set_aside=[]) if held_out else None


def _own(workspace: Workspace, name: str) -> uploads.Upload:
    if name in samples():
        raise DatasetError("A sample cannot be changed.", remedy="Upload your own file to change how it is read.")
    upload = uploads.find(workspace, name)
    if upload is None:
        raise _unknown(name)
    return upload


def _existing(source: str) -> Path:
    path = Path(os.path.expanduser(source))  # unlike Path's, it leaves an unknown user as it is
    try:
        if source.strip() and path.exists():
            return path
    except (OSError, ValueError):
        pass  # too long, or with a NUL: no file has such a name
    raise _unknown(source)


def _unknown(source: str) -> DatasetError:
    shown = source if len(source) <= 80 else f"{source[:80]}…"
    problem = f"There is no data set or file '{shown}'." if source.strip() else "No data set is chosen."
    return DatasetError(problem, remedy="Choose one from the list, or upload a file in the Dataset tab.")


def _read(path: Path, name: str | None = None) -> Dataset:
    """Like `read`, but quick the second time: the page shows the same file again and again."""
    try:
        stat = path.stat()
    except OSError:
        return read(path, name)  # which knows the sentence for it
    return _remembered(path, name, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _remembered(path: Path, name: str | None, mtime_ns: int, size: int) -> Dataset:
    return read(path, name)
