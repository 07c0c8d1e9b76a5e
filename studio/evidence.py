"""What of the workspace bears on some runs: evaluations, searches for a prompt, benchmarks, others of the same rows.

Each function gives what has come to an end, newest first; what is damaged is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from studio.bench import Bench, Measured, benches
from studio.benchmarks.variants import run_of
from studio.binder import Binder, listed
from studio.data.checked import Checked, known
from studio.data.library import Opened, open_source
from studio.errors import StudioError
from studio.evaluate import Evaluation
from studio.store import State, Store
from studio.study import Study
from studio.workspace import Workspace

T = TypeVar("T")


def evaluations(workspace: Workspace, runs: Collection[str]) -> Iterator[Evaluation]:
    """Those that asked what one of these runs learnt."""
    for binder in listed(workspace.evaluations):
        asked = binder.about.get("settings", {}).get("candidates", [])
        if any(each.get("run") in runs and each.get("tuned", True) for each in asked):
            evaluation = _read(Evaluation, binder)
            if evaluation and evaluation.done >= evaluation.total > 0:
                yield evaluation


def studies(workspace: Workspace, runs: Collection[str], source: str = "") -> Iterator[Study]:
    """Those with a verdict whose model or rows are of one of these runs, or whose rows are of the data set `source`."""
    for binder in listed(workspace.studies):
        settings = binder.about.get("settings", {})
        about = settings.get("run") or (settings.get("dataset") or {}).get("source")
        if about and about in {*runs, source}:
            study = _read(Study, binder)
            if study and study.verdict:
                yield study


def measured(workspace: Workspace, runs: Collection[str]) -> Iterator[tuple[Bench, list[Measured]]]:
    """Benchmarks, and what was measured of these runs' models in each."""
    for bench in benches(workspace):
        found = [each for each in bench.measured.values() if run_of(each.variant.model) in runs and each.figures]
        if found:
            yield bench, found


def trained(store: Store, source: str = "") -> list[State]:
    """Runs that went to their end and saved what they learnt; of one data set where `source` names it."""
    return [state for state in store.states() if ended(state) and source in ("", source_of(state))]


def ended(state: State) -> bool:
    return state.status == "done" and state.saved is not None


def source_of(state: State) -> str:
    """The data set that a run learnt from, as its config names it."""
    return str(state.config.get("dataset", {}).get("source", ""))


def same_rows(state: State, others: list[State]) -> list[State]:
    """Those of `others` that were trained on the very rows of `state`."""
    if not state.data:
        return []
    rows = state.data.fingerprint
    return [each for each in others if each.id != state.id and each.data and each.data.fingerprint == rows]


def opened(state: State, workspace: Workspace) -> Opened | None:
    """The data set that a run learnt from, at its version; None where it is gone."""
    dataset = state.config.get("dataset", {})
    try:
        return open_source(str(dataset.get("source", "")), workspace, version=str(dataset.get("version", "")))
    except (StudioError, OSError):
        return None


def examined(found: Opened | None, workspace: Workspace) -> Checked | None:
    """What was found of its rows to learn from, if anybody looked."""
    return known(workspace, found.train.path) if found else None


def _read(kind: Callable[[Binder], T], binder: Binder) -> T | None:
    try:
        return kind(binder)
    except (StudioError, LookupError, TypeError, ValueError):
        return None
