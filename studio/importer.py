"""Adapters and models that people bring from elsewhere, proven in a process of their own and then kept like ours.

An `Importer` asks `python -m studio.importer` with {"workspace", "sources", "hub", "base", "title"}; the replies are
{"doing", "done", "total"} and one {"report"}, fields of `Report`. An adapter becomes a run that is done, a model a
folder among the models. All is made in a folder of its own and renamed last, so that nothing is kept by halves.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import filelock

from studio import events, foreign, foreign_heads, trial
from studio.child import Child, Progress, Reply, serve, teller
from studio.config import RunConfig
from studio.data.labels import Head, saved_heads
from studio.errors import ModelError, StudioError
from studio.intake import ADAPTER, Brought, Tell, gather
from studio.models.catalog import BUNDLED, IMPORTED, check_name, is_here
from studio.models.hub import Hub, HuggingFaceHub
from studio.models.machine import free_memory
from studio.models.purpose import check_purpose
from studio.proof import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LONGEST_CONFIG, MODEL_CONFIG, read_json, safetensors_shapes
from studio.workspace import RunFolder, Workspace, slug

_FETCHED = (*ADAPTER, "adapter_model.bin")  # of the Hub; pickled weights are refused with the reason
_ROOM = 1.3  # times its weights' size that a model needs in memory to be tried
_LONGEST_TITLE = 100


@dataclass(frozen=True)
class Report:
    """What was brought and what was looked at."""

    kind: str  # 'adapter' or 'model'
    key: str  # the run's id, or the model as a config names it
    title: str
    base: str  # of an adapter: the model that it sits on
    method: str  # of an adapter, as people call it
    rank: int | None
    parameters: int  # of the adapter, or of the model
    size: int  # bytes on disk
    checked: list[str]  # a sentence each
    notes: list[str] = field(default_factory=list)  # what a person should know
    writes: bool = True


def lines(report: Report) -> list[tuple[str, str]]:
    """A report as a table: what, and its value."""
    found = [
        ("Kind", f"{report.method} adapter" if report.kind == "adapter" else "Model"),
        ("Base model", report.base),
        ("Rank", str(report.rank) if report.rank else ""),
        ("Learnt weights" if report.kind == "adapter" else "Weights", f"{report.parameters:,}"),
        ("Size", f"{report.size / 1e6:,.1f} MB"),
        ("Looked at", " ".join(report.checked)),
        ("To know", " ".join(report.notes)),
    ]
    return [(name, value) for name, value in found if value]


class Importer:
    """The parent's side. One import at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.importer",
            workspace.root / "importer.log",
            "The process that reads what was brought ended.",
            "It may need more memory than there is: free some and try again; importer.log in the workspace says more.",
        )

    def bring(
        self, sources: Sequence[Path] = (), *, hub: str = "", base: str = "", title: str = ""
    ) -> Iterator[Progress | Report]:
        """How far it is, and the Report last, once it is kept.

        `sources` are a folder, a .zip or single files; `hub` instead names an adapter on the Hub. `base` is the model
        that an adapter belongs to; '': as its config says. Raises StudioError, and nothing is kept then. Closing the
        iterator ends it.
        """
        asked = {
            "workspace": str(self._workspace.root),
            "sources": [str(each.absolute()) for each in sources],
            "hub": hub,
            "base": base,
            "title": title,
        }
        try:
            with closing(self.child.told(asked)) as parts:
                for part in parts:
                    yield part if isinstance(part, Progress) else Report(**part["report"])
        finally:
            self.child.close()  # what one person brought shares no process with what the next one brings

    def close(self) -> None:
        """End the process; the next request starts another."""
        self.child.close()


# -- in the process ---------------------------------------------------------------------------------


def bring(
    workspace: Workspace, sources: Sequence[Path], tell: Tell, *, name: str = "", base: str = "", title: str = "",
    hub: Hub | None = None,
) -> Report:  # fmt: skip
    """See `Importer.bring`; `name` is that on the Hub. Raises StudioError, and what `tell` raises."""
    with _apart(workspace) as apart:
        if name:
            fetched = apart / "fetched"
            _fetch(name, fetched, tell, hub or HuggingFaceHub())
            sources = [fetched]
        folder = apart / "adapter"
        folder.mkdir()
        brought = gather(sources, folder, tell)
        title = _title(title or name or sources[0].stem)
        if brought.kind == "model":
            return _keep_model(workspace, brought, title, tell)
        return _keep_adapter(workspace, apart, brought, title, base.strip(), tell)


@contextmanager
def _apart(workspace: Workspace) -> Iterator[Path]:
    """An empty folder on the workspace's disk, removed at the end; so is what killed processes left behind."""
    workspace.imports.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(str(workspace.imports / ".lock"), timeout=0):
            for left in workspace.imports.iterdir():
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
            apart = workspace.imports / secrets.token_hex(8)
            apart.mkdir()
            try:
                yield apart
            finally:
                shutil.rmtree(apart, ignore_errors=True)
    except filelock.Timeout:
        raise ModelError("Something else is being imported.", remedy="Wait for its end and try again.") from None


def _fetch(name: str, to: Path, tell: Tell, hub: Hub) -> None:
    """An adapter of the Hub. Raises ModelError, also for whole models, which are chosen by their names instead."""
    check_name(name)
    if Path(name).exists() or name.startswith((".", "/", "~")) or name in (*BUNDLED, "tiny"):
        raise ModelError(f"{name[:80]!r} is no name on the Hub.", remedy="Write it as owner/name.")
    files = hub.files(name)
    if ADAPTER_CONFIG not in files:
        raise ModelError(
            f"'{name}' on the Hub holds no adapter ({ADAPTER_CONFIG} is missing).",
            remedy="A whole model needs no import: choose it by this name as 'Model'.",
        )
    wanted = [each for each in files if each in _FETCHED]
    if ADAPTER_WEIGHTS in wanted:
        wanted.remove("adapter_model.bin") if "adapter_model.bin" in wanted else None
    hub.download(name, wanted, tell, to)


def _title(text: str) -> str:
    plain = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return plain[:_LONGEST_TITLE] or "untitled"


# -- an adapter -------------------------------------------------------------------------------------


def _keep_adapter(workspace: Workspace, apart: Path, brought: Brought, title: str, base: str, tell: Tell) -> Report:
    """A run that is done, made of the adapter; it is attached to its base first. Raises ModelError."""
    adapter = foreign.read(read_json(brought.folder / ADAPTER_CONFIG, LONGEST_CONFIG), brought.weights)
    if adapter.classifies:
        adapter.notes.extend(foreign_heads.part(brought.folder, adapter.config))
    (brought.folder / MODEL_CONFIG).unlink(missing_ok=True)
    (brought.folder / ADAPTER_CONFIG).write_text(json.dumps(adapter.config, indent=2), encoding="utf-8")
    heads = _heads(brought.folder)
    writes = not heads
    if writes and not adapter.writes:
        raise ModelError(
            "The adapter was made for a model that only reads, and what stood on top of it was not brought.",
            remedy="Bring heads.json and heads.safetensors, which lie beside adapters that a studio saved.",
        )
    chosen, about_base = base_of(adapter.base, base, workspace)
    loaded, attached, checked = trial.put_onto(workspace, chosen, adapter, brought, writes, tell)
    notes = [*adapter.notes, *about_base, *trial.changes(attached, loaded.tokenizer)]
    layers = [] if adapter.kind == foreign.OWN else list(trial.linear(attached))
    method, unsaid = foreign.method_of(adapter, attached, layers)
    notes += unsaid
    if brought.left_out:
        notes.append(f"Not needed and left out: {_some(brought.left_out)}.")
    config = RunConfig.parse(
        {
            "model": chosen,
            "method": method,
            "dataset": {"source": ""},  # what it learnt is not known
            "objective": foreign.objective_of(heads),
            "label": title,
        }
    )
    shapes = safetensors_shapes(brought.folder / ADAPTER_WEIGHTS)
    learnt = sum(map(prod, shapes.values()))
    size = sum(each.stat().st_size for each in brought.folder.iterdir())
    tell("Keeping it", 0, 0)
    made = RunFolder(apart / "run")
    made.path.mkdir()
    brought.folder.rename(made.adapter)
    imported = events.Imported(name=title, base_named=adapter.base, checked=checked, notes=notes)
    _log(made, imported, loaded, learnt, size)
    config.save(made.config)
    folder = workspace.new_run(f"imported-{title}")
    folder.path.rmdir()
    made.path.rename(folder.path)
    return Report(
        "adapter", folder.id, title, chosen, adapter.title, adapter.rank, learnt, size, checked, notes, writes
    )


def _heads(folder: Path) -> list[Head]:
    """What is predicted, by the heads beside the adapter; none where it writes text. Raises ModelError."""
    if not (folder / "heads.json").is_file():
        return []
    try:
        return saved_heads(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("The heads.json beside the adapter is damaged.", remedy="Bring it as it was saved.") from error


def base_of(named: str, chosen: str, workspace: Workspace) -> tuple[str, list[str]]:
    """The model that an adapter sits on, as a config names it, and what there is to know of that.

    `named` is what the adapter calls its base, `chosen` what the person did. Raises ModelError where neither helps.
    """
    if chosen:
        check_name(chosen)
        other = named and named not in (chosen, *_names(chosen))
        return chosen, [f"Its config names another base, '{named[:100]}'."] if other else []
    for key in ("tiny", *BUNDLED):
        if named and named in (key, *_names(key)):
            return key, []
    folder = Path(named) if named.startswith("/") else None
    if folder and folder.parent.resolve() == workspace.models and is_here(named, workspace.models):
        return named, []
    if not named or folder or named.startswith((".", "~")) or Path(named).exists() or "\\" in named:
        said = f"calls its base '{named[:100]}', which is a folder of another machine" if named else "names no base"
        raise ModelError(f"The adapter {said}.", remedy="Choose the base model that it was trained on.")
    try:
        check_name(named)
    except StudioError:
        raise ModelError(
            f"The adapter calls its base '{named[:100]}', which is no model's name.",
            remedy="Choose the base model that it was trained on.",
        ) from None
    return named, []


def _names(key: str) -> list[str]:
    return [BUNDLED[key].hub_name] if key in BUNDLED else []


def _log(made: RunFolder, imported: events.Imported, loaded: Any, learnt: int, size: int) -> None:
    """The run's events: that it was not trained here, and that it is done."""
    place = loaded.placement
    happened = [
        imported,
        events.ModelReady(
            name=loaded.located.title,
            parameters=loaded.parameters,
            trainable_parameters=learnt,
            device=place.device,
            dtype=place.dtype,
            reason="Only tried here; not trained.",
        ),
        events.Note(text=f"Imported: '{imported.name}' was trained elsewhere. {' '.join(imported.checked)}"),
        *(events.Note(text=note) for note in imported.notes),
        events.Saved(step=0, size=size),
        events.Done(),
    ]
    for each in happened:
        made.events.append(each)
    made.events.close()


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(Path(name).name[:60] for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


# -- a model ----------------------------------------------------------------------------------------


def _keep_model(workspace: Workspace, brought: Brought, title: str, tell: Tell) -> Report:
    """A folder among the models, which is loaded first where it fits into memory. Raises ModelError."""
    writes = _purpose(brought.folder, title)
    parameters = sum(map(prod, brought.weights.values()))
    checked = [f"The headers of {len(brought.weights):,} weights are whole, and none is pickled."]
    notes = []
    if brought.size * _ROOM > free_memory():
        notes.append("It was not tried: it would not fit into the memory that is free now.")
    else:
        checked.append(trial.read_by(brought, title, writes, tell))
    if brought.left_out:
        notes.append(f"Not needed and left out: {_some(brought.left_out)}.")
    tell("Keeping it", 0, 0)
    about = {"title": title, "parameters": parameters, "writes": writes}
    (brought.folder / IMPORTED).write_text(json.dumps(about), encoding="utf-8")
    target = workspace.models / f"{slug(title)}-{secrets.token_hex(2)}"
    workspace.models.mkdir(parents=True, exist_ok=True)
    brought.folder.rename(target)
    return Report("model", str(target), title, "", "", None, parameters, brought.size, checked, notes, writes)


def _purpose(folder: Path, title: str) -> bool:
    """Whether it writes text. Raises ModelError where it can neither write nor read alone."""
    try:
        check_purpose(folder, title, writes=True)
        return True
    except ModelError:
        check_purpose(folder, title, writes=False)
        return False


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    report = bring(
        Workspace(Path(request["workspace"])),
        [Path(each) for each in request["sources"]],
        teller(reply, stop),
        name=request["hub"],
        base=request["base"],
        title=request["title"],
    )
    reply(report=asdict(report))


def main() -> None:
    """Answer until nobody asks any more."""
    serve(_answer)


if __name__ == "__main__":
    main()
