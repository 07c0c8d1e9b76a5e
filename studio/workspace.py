"""The only code that spells a path."""

from __future__ import annotations

import os
import re
import secrets
import time
from functools import cached_property
from pathlib import Path

import filelock

from studio.errors import RunError
from studio.events import EventLog

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PEOPLE, WORKSHOP = "people", "workshop.json"


def default_root() -> Path:
    """Where runs, models and data sets are kept unless `--workspace` says otherwise."""
    if chosen := os.environ.get("FINETUNE_STUDIO_WORKSPACE"):
        return Path(chosen)
    if os.environ.get("SPACE_ID") and os.access("/data", os.W_OK):
        return Path("/data/finetune-studio")  # a Space's only disk that outlives a restart
    return Path.home() / "finetune-studio"


class _In:
    """A path in a run's folder; made when asked for, as thousands of folders are listed for a page."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, _: type[RunFolder]) -> Path:
        return folder.path / self.name


class RunFolder:
    """One run: what was asked for, what happened, what came out."""

    config = _In("config.json")
    stop_flag = _In("stop")  # its existence asks the worker to end between steps
    pause_flag = _In("pause")  # its existence asks the worker to end there too, and to save nothing but that
    cloud = _In("cloud.json")  # of a run that does not train on this machine
    replay = _In("replay.json")  # of a run that is told again rather than trained
    log = _In("worker.log")
    checkpoints = _In("checkpoints")
    adapter = _In("adapter")
    anatomy = _In("anatomy.json")  # what the adapter changed, once somebody asked
    worth = _In("worth.json")  # what it brought, beside what a prompt would have, once somebody asked
    held_out = _In("held_out.jsonl")  # the rows never trained on, for the chat
    about = _In("about.json")  # what people say about it
    edge_cases = _In("edge_cases.json")  # what it answers to odd prompts, once somebody asked

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def events(self) -> EventLog:
        return EventLog(self.path / "events.jsonl")

    @property
    def id(self) -> str:
        return self.path.name


class Workspace:
    """A folder with everything one installation keeps."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.shared = _shared(self.root)  # holds what people on one machine have in common: its devices
        self.people = self.root / PEOPLE  # of a workshop: a workspace for each person
        self.workshop = self.shared / WORKSHOP  # who takes part, and what each may take
        self.turns = self.shared / "turns"  # who waits for a device, and who has had how much of it
        self.runs = self.root / "runs"
        self.trash = self.root / "trash"  # runs that were deleted, as they were
        self.order = self.root / "queue.json"  # ids of the runs that wait, first first
        self.searches = self.root / "searches"  # what was asked of each search for good settings
        self.critiques = self.root / "critiques"  # answers held against principles, step by step
        self.arenas = self.root / "arenas"  # answers of two models, and which of them people preferred
        self.studies = self.root / "studies"  # searches for better prompts, every score of theirs
        self.benchmarks = self.root / "benchmarks"  # how fast models answered, every batch of theirs
        self.evaluations = self.root / "evaluations"  # what models were asked beside one another, row by row
        self.imports = self.root / "imports"  # what is being brought in, until it is whole and renamed
        self.exports = self.root / "exports"  # what left the studio of runs, a file each
        self.tasks = self.root / "tasks"  # of lm-eval, in files that a person wrote
        self.principles = self.root / "principles.txt"  # those that a person wrote, one a line
        self.checked = self.root / "checked"  # which rows were examined, and what was found
        self.models = self.root / "models"
        self.datasets = self.root / "datasets"
        self.cache = self.root / "cache"  # what can be made again: files as Parquet
        self.tokens = self.cache / "tokens"  # tokenised rows
        self.trackers = self.root / "trackers"  # what they write
        self.downloads = self.cache / "downloads"  # files made for a browser to fetch
        self.server_lock = self.root / "server.lock"

    def create(self) -> Workspace:
        """Make the folders. Raises RunError where that cannot be done."""
        try:
            for folder in (self.runs, self.models, self.datasets, self.downloads):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The workspace {self.root} cannot be written ({error.strerror}).",
                remedy="Choose another folder with --workspace.",
            ) from None
        return self

    def claim(self) -> filelock.BaseFileLock:
        """The right to be the studio that works here. Raises RunError where another one is."""
        own = filelock.FileLock(str(self.server_lock), thread_local=False)
        try:
            own.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(
                f"Another studio already works in {self.root}.",
                remedy="Use that one, close it, or choose another folder with --workspace.",
            ) from None
        return own

    def bin(self) -> Workspace:
        """The same workspace, its runs those in the trash."""
        thrown = Workspace(self.root)
        thrown.runs = self.trash
        return thrown

    def device_lock(self, device: str) -> Path:
        """Held by whoever trains on a device, called as in CUDA_VISIBLE_DEVICES."""
        return self.shared / f"device-{slug(device)}.lock"

    def run(self, run_id: str) -> RunFolder:
        """An existing run. Raises RunError for any name that is not one, hostile ones included."""
        folder = self.runs / run_id if _NAME.fullmatch(run_id) else None
        if folder is None or not (folder / "config.json").is_file():
            raise RunError("There is no such run.", remedy="Choose one from the list.")
        return RunFolder(folder)

    def run_folders(self) -> list[RunFolder]:
        """All runs, newest first."""
        if not self.runs.is_dir():
            return []
        names = sorted((entry.name for entry in os.scandir(self.runs) if _NAME.fullmatch(entry.name)), reverse=True)
        folders = (RunFolder(self.runs / name) for name in names)
        return [folder for folder in folders if folder.config.is_file()]

    def new_run(self, label: str) -> RunFolder:
        """An empty folder under a name that sorts by time and is nobody else's."""
        self.runs.mkdir(parents=True, exist_ok=True)
        while True:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            folder = self.runs / f"{stamp}-{slug(label)}-{secrets.token_hex(2)}"
            try:
                folder.mkdir()
                return RunFolder(folder)
            except FileExistsError:  # two in one second drew the same letters
                continue


def _shared(root: Path) -> Path:
    """The workshop that `root` is a person's part of, or itself."""
    workshop = root.parent.parent
    return workshop if root.parent.name == PEOPLE and (workshop / WORKSHOP).is_file() else root


def write_whole(path: Path, text: str) -> None:
    """Put `text` into a file: all of it, or the file stays as it was. Raises OSError."""
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def slug(text: str) -> str:
    """A file name made from any text: lower-case ASCII letters, digits and dashes, at most 40."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "untitled"
