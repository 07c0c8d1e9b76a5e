"""The data sets that can be chosen: samples that come with the studio, one's own, and files by path."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from studio.data import collection
from studio.data.code_files import sources
from studio.data.collection import Kept, Progress
from studio.data.dataset import Dataset, SetAside
from studio.data.dataset_info import INFO, described
from studio.data.files import open_rows
from studio.data.parquet import Row, rows_of, schema_of, write_rows
from studio.data.splits import How, split_indices
from studio.data.templates import Mapping, check, detect
from studio.errors import DatasetError
from studio.within import may_name
from studio.workspace import Workspace

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
HEAD_ROWS = 200  # enough to tell a format by


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
    kind: Literal["yours", "sample"]


@dataclass(frozen=True)
class Part:
    """Rows on disk. `rows` are the first ones, which show what the others are like."""

    name: str  # as the person knows it
    path: Path  # a Parquet file (see parquet.py)
    set_aside: list[SetAside] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return _columns(self.path)

    @property
    def total(self) -> int:
        import pyarrow.parquet

        return pyarrow.parquet.read_metadata(self.path).num_rows

    @property
    def rows(self) -> list[Row]:
        return _head(self.path)

    def load(self) -> Dataset:
        """All rows, in memory."""
        return Dataset(self.name, self.columns, list(rows_of(self.path)), self.set_aside, self.notes)


@lru_cache(maxsize=64)
def _columns(path: Path) -> tuple[str, ...]:
    return tuple(schema_of(path).names)


@lru_cache(maxsize=16)
def _head(path: Path) -> list[Row]:
    return list(islice(rows_of(path), HEAD_ROWS))


@dataclass(frozen=True)
class Found:
    """A data set that was looked up; how its columns are to be read may be open still."""

    train: Part
    validation: Part | None  # held-out rows it brings of its own
    mapping: Mapping | None  # the one that came or was stored with it
    title: str
    about: str = ""
    kind: Literal["sample", "yours", "file"] = "file"
    version: str = ""  # of one's own data sets: which one this is
    path: Path | None = None  # where a file given by its path lies


@dataclass(frozen=True)
class Opened:
    """A data set whose columns are settled and were checked."""

    train: Part
    validation: Part | None
    mapping: Mapping
    title: str
    version: str = ""
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


def add(workspace: Workspace, upload: Path, original_name: str, progress: Progress | None = None) -> str:
    """Keep an uploaded file; returns the name it can be opened by.

    Raises DatasetError for what is not rows; nothing is kept then.
    """
    return collection.add(workspace, upload, original_name, progress)


def copy(workspace: Workspace, source: str, by: str) -> str:
    """A data set of one's own with the rows of a sample or a file; returns its name."""
    found = look(source, workspace)
    title = f"{found.title} (mine)" if found.kind == "sample" else found.title
    return collection.add_rows(workspace, title, rows_of(found.train.path), mapping=found.mapping, by=by)


def names(workspace: Workspace) -> list[Choice]:
    """One's own data sets, newest first, then the samples."""
    own = [Choice(kept.name, kept.title, "yours") for kept in collection.listed(workspace)]
    return [*own, *(Choice(sample.name, sample.title, "sample") for sample in samples().values())]


def set_mapping(workspace: Workspace, name: str, mapping: Mapping) -> None:
    """Store how the columns are read. Raises DatasetError where they cannot be read so."""
    kept = own(workspace, name)
    check(mapping, look(name, workspace).train)
    collection.store_mapping(kept, mapping)


def remove(workspace: Workspace, name: str) -> None:
    """Delete a data set of one's own. Raises DatasetError for samples and for names that are none."""
    collection.remove(own(workspace, name))


def own(workspace: Workspace, name: str) -> Kept:
    """A data set that can be changed. Raises DatasetError for samples and for names that are none."""
    if name in samples():
        raise DatasetError("A sample cannot be changed.", remedy="Press 'Edit a copy' and change that.")
    kept = collection.find(workspace, name)
    if kept is None:
        raise _unknown(name)
    return kept


def look(source: str, workspace: Workspace, version: str = "") -> Found:
    """What lies behind a sample's name, a name of one's own or a file's path, looked for in that order.

    Raises DatasetError where there is no such data set, or it cannot be read.
    """
    if sample := samples().get(source):
        validation = _imported(workspace, sample.validation) if sample.validation else None
        about = f"{sample.about} Licence: {sample.licence}."
        return Found(_imported(workspace, sample.train), validation, sample.mapping, sample.title, about, "sample")
    if kept := collection.find(workspace, source):
        train = Part(kept.original_name, kept.path(version), kept.set_aside(), kept.notes)
        return Found(train, None, kept.mapping, kept.title, kind="yours", version=version or kept.current)
    path = _existing(source)
    train = _imported(workspace, path)
    mapping, notes = described(path.resolve(), train.columns)  # what LLaMA-Factory was told of the file
    if mapping is not None:
        try:
            check(mapping, train)
        except DatasetError as error:
            mapping, notes = None, [f"The {INFO} beside it was not used: {error.problem}"]
    return Found(replace(train, notes=(*train.notes, *notes)), None, mapping, train.name, path=path)


def title_of(source: str, workspace: Workspace) -> str:
    """What people call a data set, without reading it; it may be gone by now."""
    if sample := samples().get(source):
        return sample.title
    kept = collection.find(workspace, source)
    return kept.title if kept else Path(source).name


def settle(found: Found, mapping: Mapping | None = None) -> Opened:
    """`found` with its columns settled: `mapping` counts before the stored one, that before a detected one.

    Raises DatasetError where the columns cannot be read so.
    """
    mapping = mapping or found.mapping or detect(found.train)
    for part in filter(None, (found.train, found.validation)):
        check(mapping, part)
    return Opened(found.train, found.validation, mapping, found.title, found.version, found.path)


def open_source(source: str, workspace: Workspace, mapping: Mapping | None = None, version: str = "") -> Opened:
    """`settle` what `look` finds. Raises DatasetError."""
    return settle(look(source, workspace, version), mapping)


def _imported(workspace: Workspace, path: Path) -> Part:
    """A file as a Part: read once, and again only when it was changed."""
    try:
        resolved, stat = path.resolve(), path.stat()
        stamp = f"{resolved}\0{stat.st_mtime_ns}\0{stat.st_size}"
    except OSError:
        resolved, stamp = path, str(path)
    if resolved.is_dir():
        times = ((each, (resolved / each).stat().st_mtime_ns) for each in sorted(sources(resolved)))
        stamp += "".join(f"\0{each}\0{time}" for each, time in times)
    target = workspace.cache / f"{hashlib.sha256(stamp.encode(errors='replace')).hexdigest()[:24]}.parquet"
    about = target.with_suffix(".json")
    if not (target.is_file() and about.is_file()):
        _import(path, target, about)
    values = json.loads(about.read_text(encoding="utf-8"))
    aside = collection.read_aside(target.with_suffix(".aside"))
    return Part(values["name"], target, aside, tuple(values["notes"]))


def _import(path: Path, target: Path, about: Path) -> None:
    reading = open_rows(path)
    partial = target.with_name(f".{secrets.token_hex(8)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_rows(collection.shaped(reading, reading.notes), partial)
        known = {"name": reading.name, "notes": list(reading.notes)}
        collection.store_aside(target.with_suffix(".aside"), reading.set_aside)
        partial_about = partial.with_suffix(".json")
        partial_about.write_text(json.dumps(known), encoding="utf-8")
        partial_about.replace(about)
        partial.replace(target)  # last: its existence says that both are whole
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class Sides:
    """Which rows are learnt, scored on while training, and left for a last score."""

    read: Dataset  # all rows that were divided
    train: Dataset
    validation: Dataset | None
    test: Dataset | None


def divided(opened: Opened, shares: tuple[float, float], seed: int, how: How = "random", column: str = "") -> Sides:
    """The rows, divided by `shares` of validation and test as `splits.split_indices` does; None: no such rows.

    Held-out rows that a data set brings of its own are used as they are; a test share is taken from the rest.
    """
    whole = opened.train.load()
    own = opened.validation.load() if opened.validation is not None else None
    shares = (0.0, shares[1]) if own is not None else shares
    train, validation, test = split_indices(
        whole.rows, how=how, shares=shares, seed=seed, column=column or None, texts=opened.mapping
    )

    def side(indices: list[int]) -> Dataset | None:
        return replace(whole, rows=[whole.rows[i] for i in indices], set_aside=[]) if indices else None

    return Sides(whole, replace(whole, rows=[whole.rows[i] for i in train]), own or side(validation), side(test))


def _existing(source: str) -> Path:
    path = Path(os.path.expanduser(source))  # unlike Path's, it leaves an unknown user as it is
    try:
        if source.strip() and may_name(path) and path.exists():
            return path
    except (OSError, ValueError, RuntimeError):
        pass  # too long, or with a NUL: no file has such a name
    raise _unknown(source)


def _unknown(source: str) -> DatasetError:
    shown = source if len(source) <= 80 else f"{source[:80]}…"
    problem = f"There is no data set or file '{shown}'." if source.strip() else "No data set is chosen."
    return DatasetError(problem, remedy="Choose one from the list, or upload a file in the Dataset tab.")
