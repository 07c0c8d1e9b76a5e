"""The read side: what the run folders say, folded into states and curves.

Each run's log is read once and followed from where reading stopped; a poll costs what is new.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from studio import events
from studio.data.library import title_of
from studio.errors import RunError
from studio.made import changes
from studio.methods import methods
from studio.objectives import Objective, objectives
from studio.processes import Identity
from studio.workspace import RunFolder, Workspace

FIRST_POINTS = 500  # of a curve sent to a page that has none yet; more than it has pixels to show them
VIEWS_KEPT = 32  # runs whose curves stay in memory
NO_ROOM = 1_000_000  # bytes; with less, a worker cannot even write its last word

ACTIVE = ("queued", "preparing", "training", "pausing", "finishing")
RESTING = ("paused", "stopped", "failed")  # what can be let go on


@dataclass
class State:
    """What is known of a run. `status` is its last event plus a live process."""

    id: str
    config: dict[str, Any]
    title: str = ""  # method, model and data, as people speak of a run
    created: float = 0.0
    status: str = "failed"
    lost: bool = False  # failed without a word
    phase: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""
    step: int = 0
    total_steps: int = 0
    seconds: float = 0.0  # of training so far
    tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)  # of the last step
    worker: Identity | None = None  # the last that took it
    device: str = ""  # that it had, as CUDA_VISIBLE_DEVICES calls it
    shrunk: events.Shrunk | None = None  # the last time that memory ran out
    data: events.DataReady | None = None
    model: events.ModelReady | None = None
    ready: events.Ready | None = None
    made: events.Made | None = None  # as whoever went on with it last told it
    saved: events.Saved | None = None
    samples: list[events.Sampled] = field(default_factory=list)  # answers amid training
    answers: events.AnswersScored | None = None
    labels: events.LabelsScored | None = None
    preferences: events.PreferencesScored | None = None
    vocabulary: events.VocabularyExtended | None = None
    imported: events.Imported | None = None  # None: trained here
    first_eval: dict[str, float] | None = None  # at step 0; None where that was not scored
    last_eval: dict[str, float] | None = None
    marks: list[tuple[int, str]] = field(default_factory=list)  # steps at which something happened, and what
    curves: list[str] = field(default_factory=list)  # names of those that there are, in order of their coming
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    remedy: str = ""
    ended: float = 0.0

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def writes(self) -> bool:
        """Whether its model writes text."""
        return self._objective is None or self._objective.writes

    @property
    def talks(self) -> bool:
        """Whether the chat has a use for its model."""
        return self._objective is None or self._objective.talks

    @property
    def _objective(self) -> type[Objective] | None:
        return objectives().get(str(self.config.get("objective", {}).get("name", "")))

    @property
    def remaining(self) -> float | None:
        """Seconds of training left, judged by the steps so far; None before the second step."""
        if not self.step or self.status != "training":
            return None
        return self.seconds / self.step * (self.total_steps - self.step)

    def process(self) -> psutil.Process | None:
        """The worker's process, if it lives."""
        return self.worker and self.worker.process()


@dataclass
class Point:
    """One row of the curves."""

    step: int
    metrics: dict[str, float]
    seconds: float  # of training so far
    tokens: int  # seen so far


class _View:
    """A run's log, folded up to `offset`."""

    def __init__(self, folder: RunFolder, workspace: Workspace) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.offset = 0
        self.points: list[Point] = []
        self.last: events.Event | None = None
        self.began = False  # whether a worker ever took it
        config = _config(folder)
        created = folder.config.stat().st_mtime
        self.state = State(id=folder.id, config=config, title=_title(config, workspace), created=created)

    def refresh(self) -> None:
        self._read()
        if self._is_dead():
            self._read()  # its last word may have come between our reading and its end
        self._judge()

    def _read(self) -> None:
        new, self.offset = self.folder.events.read_from(self.offset)
        for event in new:
            self._fold(event)

    def _is_dead(self) -> bool:
        waits = self.last is None or isinstance(self.last, (events.Queued, *events.TERMINAL))
        return not waits and self.state.process() is None

    def _fold(self, event: events.Event) -> None:
        state = self.state
        if not isinstance(event, events.Note):
            self.last = event
        match event:
            case events.Queued():
                state.created = state.created if self.began else event.time
                self._begin()
            case events.Started():
                state.worker, state.device = Identity(event.pid, event.born, event.boot), event.device
                self.began = True
                self._begin()
            case events.Continued():
                state.marks.append((event.step, f"Went on from step {event.step:,}."))
                state.notes += event.skipped
            case events.Shrunk():
                text = (
                    f"Memory ran out after step {event.step:,}; from there on an update is made of "
                    f"{event.gradient_accumulation_steps} batches of {event.per_device_train_batch_size}."
                )
                state.shrunk = event
                state.marks.append((event.step, text))
                state.notes.append(text)
            case events.Paused():
                state.problem = event.reason
            case events.Phase():
                state.phase, state.done, state.total, state.unit = event.name, event.done, event.total, event.unit
                if event.name == "Training":
                    state.total_steps = int(event.total)
            case events.DataReady():
                state.data = event
            case events.ModelReady():
                state.model = event
            case events.Made():
                if state.made and (other := changes(state.made, event)):
                    state.notes.append(f"Went on with other than before: {', '.join(other)}.")
                state.made = event
            case events.Ready():
                state.ready = event
            case events.StepDone():
                state.phase, state.done, state.total, state.unit = "Training", event.step, event.total_steps, "steps"
                state.step, state.total_steps = event.step, event.total_steps
                state.seconds, state.tokens, state.metrics = event.seconds, event.tokens, _numbers(event.metrics)
                self._draw(Point(event.step, state.metrics, event.seconds, event.tokens))
            case events.EvalDone():
                metrics = _numbers(event.metrics)
                if event.step == 0:
                    state.first_eval = metrics or None
                state.last_eval = metrics or state.last_eval
                # The base model was scored before the first step, whenever its scores came.
                seen = (state.seconds, state.tokens) if event.step else (0.0, 0)
                self._draw(Point(event.step, metrics, *seen))
            case events.Sampled():
                state.samples.append(event)
            case events.AnswersScored():
                state.answers = event
            case events.LabelsScored():
                state.labels = event
            case events.PreferencesScored():
                state.preferences = event
            case events.VocabularyExtended():
                state.vocabulary = event
            case events.Imported():
                state.imported = event
            case events.Saved():
                state.saved = event
            case events.Note():
                state.notes += [event.text] if event.text not in state.notes else []  # said again by who goes on
            case events.Failed():
                state.problem, state.remedy = event.problem, event.remedy
        if isinstance(event, events.TERMINAL):
            state.ended = event.time

    def _begin(self) -> None:
        """Forget how an earlier process ended."""
        state = self.state
        state.problem = state.remedy = state.phase = ""
        state.saved, state.total_steps, state.ended = None, 0, 0.0

    def _draw(self, point: Point) -> None:
        self.points.append(point)
        known = self.state.curves
        known += [name for name in point.metrics if name not in known]

    def _judge(self) -> None:
        state = self.state
        state.lost = False
        match self.last:
            case events.Done():
                state.status = "done"
            case events.Stopped():
                state.status = "stopped"
            case events.Paused():
                state.status = "paused"
            case events.Failed():
                state.status = "failed"
            case events.Queued():
                state.status = "queued"
            case None:
                state.status, state.problem = "failed", "The run was never started."
                state.remedy = "Start it again."
            case _ if self._is_dead():
                state.status, state.lost = "failed", True
                state.problem = f"The worker ended without a word during '{state.phase or 'start'}'."
                if shutil.disk_usage(self.folder.path).free < NO_ROOM:
                    state.problem = "The worker ended because the disk is full."
                state.remedy = (
                    "It was killed, or the machine ran out of memory or restarted: try a smaller 'Batch size' or "
                    "'Cut-off length'; worker.log in the run's folder may say more."
                )
                if self.folder.cloud.exists():
                    state.problem = "Nobody follows the run any more; its job in the cloud may go on, and cost."
                    state.remedy = "Let it go on to follow the same job again, or delete it to end that."
            case _:
                state.status = "pausing" if self.folder.pause_flag.exists() else _active_status(state)


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    """Without NaN and infinity, which JSON cannot hold and no curve can show."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _config(folder: RunFolder) -> dict[str, Any]:
    """What the run's config says; nothing where somebody made something else of it."""
    try:
        config = json.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    groups = ("method", "dataset", "objective")
    whole = isinstance(config, dict) and all(isinstance(config.get(name, {}), dict) for name in groups)
    return config if whole else {}


def _title(config: dict[str, Any], workspace: Workspace) -> str:
    method = str(config.get("method", {}).get("name", ""))
    known = methods().get(method)
    model = str(config.get("model", ""))
    data = title_of(str(config.get("dataset", {}).get("source", "")), workspace)
    label = str(config.get("label", ""))
    return " · ".join([known.title if known else method, *filter(None, [model, data, label])])


def _active_status(state: State) -> str:
    if state.saved or (state.total_steps and state.step >= state.total_steps):
        return "finishing"
    return "training" if state.total_steps else "preparing"


class Store:
    """States and curves of a workspace's runs. Safe to call from several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._views: OrderedDict[str, _View] = OrderedDict()
        self._ended: dict[str, tuple[int, State]] = {}  # of views let go: the log's size and what it said
        self._lock = threading.Lock()

    def state(self, run_id: str) -> State:
        """Raises RunError where there is no such run."""
        size, ended = self._ended.get(run_id, (-1, None))
        if ended and self.workspace.run(run_id).events.size() == size:
            return ended
        view = self._view(run_id)
        with view.lock:
            view.refresh()
            return view.state

    def states(self, limit: int = 100, also: Sequence[str | None] = ()) -> list[State]:
        """The newest runs, newest first; then those of `also` that are older and still there."""
        ids = [folder.id for folder in self.workspace.run_folders()]
        return self.there([*ids[:limit], *(each for each in ids[limit:] if each in also)])

    def there(self, ids: Iterable[str]) -> list[State]:
        """The states of those runs that are still there: one may be deleted while others are read."""
        found = []
        for run_id in ids:
            with suppress(RunError, FileNotFoundError):
                found.append(self.state(run_id))
        return found

    def points(self, run_id: str) -> list[Point]:
        """Every row of a run's curves so far. Raises RunError where there is no such run."""
        view = self._view(run_id)
        with view.lock:
            view.refresh()
            return list(view.points)

    def curves(self, run_id: str, since: int = 0) -> dict[str, Any]:
        """What a page that has seen `since` points still lacks.

        {"next": points there are now, "curves": {name: [[steps], [values]]}}; the first answer is
        thinned to the lowest and highest value of each of a few hundred stretches.
        """
        view = self._view(run_id)
        with view.lock:
            view.refresh()
            total = len(view.points)
            new = view.points[since if 0 <= since <= total else 0 :]
        curves: dict[str, tuple[list[int], list[float]]] = {}
        for point in new:
            for name, value in point.metrics.items():
                xs, ys = curves.setdefault(name, ([], []))
                xs.append(point.step)
                ys.append(float(f"{value:.5g}"))
        return {"next": total, "curves": {name: thin(xs, ys, FIRST_POINTS) for name, (xs, ys) in curves.items()}}

    def _view(self, run_id: str) -> _View:
        with self._lock:
            view = self._views.get(run_id)
            if view is None or not view.folder.config.exists():
                self._views.pop(run_id, None)
                view = self._views[run_id] = _View(self.workspace.run(run_id), self.workspace)
                if len(self._views) > VIEWS_KEPT:
                    _, old = self._views.popitem(last=False)
                    if isinstance(old.last, events.TERMINAL):
                        self._ended[old.state.id] = (old.offset, old.state)
            self._views.move_to_end(run_id)
            return view


def thin(xs: list[int], ys: list[float], most: int) -> tuple[list[int], list[float]]:
    """At most about `most` points: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(xs) <= most:
        return xs, ys
    size = -(-len(xs) // (most // 2))
    kept: list[int] = []
    for start in range(0, len(ys), size):
        stretch = range(start, min(start + size, len(ys)))
        kept += sorted({min(stretch, key=ys.__getitem__), max(stretch, key=ys.__getitem__)})
    if kept[-1] != len(xs) - 1:
        kept.append(len(xs) - 1)  # the newest value is the one people look at
    return [xs[i] for i in kept], [ys[i] for i in kept]


def wait_for_end(store: Store, run_id: str, timeout: float, poll: float = 0.1) -> State:
    """The state once the run has ended. Raises RunError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = store.state(run_id)
        if not state.active:
            return state
        time.sleep(poll)
    raise RunError(f"Run {run_id} has not ended after {timeout:.0f} s.", remedy="Look at its worker.log.")
