"""Bake-offs: runs that differ in their method only, and the table of what each cost and brought.

A bake-off is the `comparison` id that its runs' configs share; nothing else is kept of it.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from studio.config import RunConfig
from studio.data.export import neutral
from studio.data.library import title_of
from studio.errors import ConfigError, StudioError
from studio.jobs import Jobs
from studio.methods import methods
from studio.preflight import check
from studio.store import State, Store
from studio.workspace import Workspace

SEARCH = "search-"  # begins the id that the runs of a search share; those are no bake-off
PRESET = ("lora", "dora", "adalora", "ia3", "bottleneck", "full")  # ticked at first, where they exist
TIE = 0.01  # qualities this close, relative to the better one, count as equal: held-out rows are few
MAIN_SCORES = {
    "field_accuracy": "Field accuracy",
    "token_f1": "Word overlap (F1)",
    "f1": "F1",
    "accuracy": "Accuracy",
    "r2": "R²",
}


_REWARDED = "Where rewards are learnt from: minus the reward."


@dataclass(frozen=True)
class Column:
    """One column of the table, in words."""

    key: str  # of Row
    title: str
    help: str
    unit: str = ""
    better: Literal["low", "high", ""] = ""


COLUMNS = (
    Column("trainable", "Learns", "How many weights the method learns.", "weights", "low"),
    Column("share", "Share", "What part of the model's weights that is.", "%", "low"),
    Column("rate", "Learning rate", "What the run learnt at: as set, or what suits the method."),
    Column(
        "memory",
        "Peak memory",
        "The most the run held at once, loading included: on the GPU where there is one, else of its process.",
        "GB",
        "low",
    ),
    Column(
        "step_seconds",
        "Step",
        "Median time of an update; the first, which is slower, is left out.",
        "s",
        "low",
    ),
    Column("base_loss", "Base loss", f"Held-out loss before the first step. {_REWARDED}", "nats"),
    Column(
        "loss",
        "Final loss",
        f"Held-out loss of what is saved, on rows never trained on. {_REWARDED}",
        "nats",
        "low",
    ),
    Column(
        "best_loss",
        "Best loss",
        "The lowest held-out loss on the way. Lower than the final one: it began to learn by heart.",
        "nats",
        "low",
    ),
    Column(
        "score", "Task score", "How good its answers, labels or numbers are on held-out rows; 1 is perfect.", "", "high"
    ),
    Column("size", "Adapter", "Size on disk of what was learnt.", "MB", "low"),
)


@dataclass(frozen=True)
class Row:
    """One run of a bake-off. None: not known yet, or there is nothing to measure it on."""

    id: str
    method: str  # its title
    status: str
    progress: float  # 0..1
    problem: str
    trainable: int | None
    share: float | None  # percent
    rate: float | None
    memory: float | None  # GB
    step_seconds: float | None
    base_loss: float | None
    loss: float | None
    best_loss: float | None
    score: float | None
    score_name: str
    score_kind: Literal["share", "number", ""]  # a share lies between 0 and 1; R² may be below 0
    size: float | None  # MB


def configs(base: RunConfig, keys: Sequence[str], comparison: str = "") -> list[RunConfig]:
    """`base` once for each method, at that method's defaults: same data, order of rows, budget and seed."""
    values = {**base.to_dict(), "comparison": comparison}
    return [RunConfig.parse({**values, "method": {"name": key}}) for key in dict.fromkeys(keys)]


def checked(wanted: Sequence[RunConfig], workspace: Workspace) -> list[RunConfig]:
    """All of them as preflight settles them. Raises StudioError where any cannot run: a table with a hole
    in it, noticed an hour later, is not what anybody asked for.
    """
    if len(wanted) < 2:
        raise ConfigError("A bake-off compares methods, and fewer than two are chosen.", remedy="Choose two or more.")
    settled, refused = [], {}
    for config in wanted:
        try:
            settled.append(check(config, workspace))
        except StudioError as error:
            refused[config.method.title] = error
    if not refused:
        return settled
    first = next(iter(refused.values()))
    if len(refused) == len(wanted) and len({error.problem for error in refused.values()}) == 1:
        raise first  # it is not about the methods
    said = " ".join(f"{title}: {error.problem}" for title, error in refused.items())
    raise ConfigError(
        f"Not every method can run here, so nothing was started. {said}",
        remedy=f"Leave out {' and '.join(refused)}. Or: {first.remedy}",
    )


def start(jobs: Jobs, base: RunConfig, keys: Sequence[str]) -> str:
    """Queue a run for each method; their comparison's id. Raises StudioError before anything is queued."""
    comparison = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    for config in checked(configs(base, keys, comparison), jobs.workspace):
        jobs.submit(config)
    return comparison


def stop(jobs: Jobs, comparison: str) -> None:
    """Ask all its runs to end, those that wait first: none may start meanwhile."""
    for state in reversed(members(jobs.store, comparison)):
        if state.active:
            jobs.stop(state.id)


def members(store: Store, comparison: str) -> list[State]:
    """The runs of a bake-off, or of a search, in the order they were queued; none where there is no such."""
    folders = store.workspace.run_folders() if comparison else []
    found = store.there(folder.id for folder in folders if _comparison(folder.config) == comparison)
    return sorted(found, key=lambda state: state.created)


def comparisons(store: Store) -> list[tuple[str, str]]:
    """What people call each bake-off and its id, newest first."""
    found: dict[str, list[str]] = {}
    for folder in store.workspace.run_folders():
        if (comparison := _comparison(folder.config)) and not comparison.startswith(SEARCH):
            found.setdefault(comparison, []).append(folder.id)
    return [(_title(store, key, ids), key) for key, ids in sorted(found.items(), reverse=True)]


@functools.lru_cache(maxsize=10_000)
def _comparison(config: Path) -> str:
    """Of the run with that config, which never changes once it is there."""
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("comparison", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _title(store: Store, comparison: str, ids: list[str]) -> str:
    config = store.state(ids[0]).config
    data = title_of(str(config.get("dataset", {}).get("source", "")), store.workspace)
    day, clock = comparison[:8], comparison[9:13]
    when = f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]}"
    return f"{len(ids)} methods · {config.get('model', '')} · {data} · {when}"


# -- the table -------------------------------------------------------------------------------------------


def table(store: Store, states: Sequence[State]) -> list[Row]:
    """A row for each run, whatever is known of it so far."""
    return [_row(store, state) for state in states]


def _row(store: Store, state: State) -> Row:
    points = store.points(state.id)
    times = [0.0, *(point.seconds for point in points if "loss" in point.metrics)]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    losses = [point.metrics["eval_loss"] for point in points if point.step and "eval_loss" in point.metrics]
    model, saved = state.model, state.saved
    name, score, kind = task_score(state)
    method = str(state.config.get("method", {}).get("name", ""))
    known = methods().get(method)
    return Row(
        id=state.id,
        method=known.title if known else method,
        status=state.status,
        progress=progress(state),
        problem=state.problem if state.status == "failed" else "",
        trainable=model.trainable_parameters if model else None,
        share=100 * model.trainable_parameters / max(model.parameters, 1) if model else None,
        rate=state.config.get("training", {}).get("learning_rate"),
        memory=(saved.peak_memory or None) if saved else None,
        step_seconds=statistics.median(steps[1:] or steps) if steps else None,
        base_loss=next((p.metrics.get("eval_loss") for p in points if p.step == 0), None),
        loss=losses[-1] if losses else None,
        best_loss=min(losses, default=None),
        score=score,
        score_name=name,
        score_kind=kind,
        size=saved.size / 1e6 if saved else None,
    )


def progress(state: State) -> float:
    """Of a run, 0..1."""
    if not state.active:
        return 1.0
    return state.step / state.total_steps if state.total_steps else 0.0


def task_score(state: State) -> tuple[str, float | None, Literal["share", "number", ""]]:
    """What people call the main metric of the run's task, its value and its kind; None before the run's end.

    Of several heads, the mean of each one's main metric.
    """
    if state.answers:
        measured = [state.answers.tuned]
    else:
        measured = [head["metrics"] for head in state.labels.heads] if state.labels else []
    mains = [next((name for name in MAIN_SCORES if metrics.get(name) is not None), "") for metrics in measured]
    if not all(mains) or not mains:
        return "", None, ""
    value = statistics.fmean(metrics[name] for metrics, name in zip(measured, mains, strict=True))
    named = " and ".join(MAIN_SCORES[name] for name in dict.fromkeys(mains))
    return f"Mean {named}" if len(mains) > 1 else named, value, "number" if "r2" in mains else "share"


def by_score(states: Sequence[State]) -> bool:
    """Whether these runs give labels or numbers, which are judged by the task's score rather than by the loss."""
    return any(task_score(state)[1] is not None for state in states if state.labels)


def winner(rows: Sequence[Row], *, scored: bool = False) -> tuple[Row | None, str]:
    """The best of the runs that went to their end, and why.

    Judged by the final held-out loss, for that is of what was saved; `scored`, by the task's score.
    Of those within 1 % of the best, the one with the smallest adapter wins.
    """
    key, what = ("score", "score") if scored else ("loss", "held-out loss")
    ended = {row: value for row in rows if row.status == "done" and (value := getattr(row, key)) is not None}
    if not ended:
        return None, ""
    best = (max if scored else min)(ended.values())
    close = [row for row, value in ended.items() if abs(value - best) <= TIE * abs(best)]
    chosen = min(close, key=lambda row: (row.size or 0.0, abs(ended[row] - best)))
    name = chosen.score_name if scored else what
    why = f"{chosen.method} has the {'highest' if scored else 'lowest'} {name}, {ended[chosen]:.3f}"
    others = [row.method for row in close if row is not chosen]
    if others:
        why = (
            f"{' and '.join([chosen.method, *others])} are within 1 % of the best {name}, {best:.3f}; "
            f"of these {chosen.method} has the smallest adapter, {chosen.size or 0.0:.2g} MB"
        )
    left = sum(row.progress < 1 for row in rows)
    return chosen, f"{why}{f', with {left} still to come' if left else ''}."


def remaining(states: Sequence[State], rows: Sequence[Row]) -> float | None:
    """Seconds of training left in all; a run without a step yet counts as the usual one. None where no step is known.

    `rows` are the states' own. Time spent waiting in the queue tells nothing.
    """
    known = [row.step_seconds for row in rows if row.step_seconds is not None]
    if not known or not any(state.active for state in states):
        return None
    usual, total = statistics.median(known), max(state.total_steps for state in states)
    return sum(
        ((state.total_steps or total) - state.step) * (usual if row.step_seconds is None else row.step_seconds)
        for state, row in zip(states, rows, strict=True)
        if state.active
    )


def expected(store: Store, config: RunConfig, runs: int) -> float | None:
    """Seconds that the updates of so many runs take, as the newest run alike tells; None where there is none."""
    steps, wanted = config.training.max_steps, _pace(config.to_dict())
    for state in store.states():
        if steps and state.status == "done" and state.step and _pace(state.config) == wanted:
            return state.seconds / state.step * steps * runs
    return None


def _pace(config: dict[str, Any]) -> list[Any]:
    """What the time of a step depends on most, the method aside."""
    training, objective = config.get("training", {}), config.get("objective", {})
    sizes = [training.get(name) for name in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    return [config.get("model"), *sizes, objective.get("name"), objective.get("max_length")]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """The table as a spreadsheet reads it; no cell is run as a formula."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        names = list(asdict(rows[0])) if rows else []
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            cells: list[Any] = list(asdict(row).values())
            writer.writerow([neutral(cell) if isinstance(cell, str) else cell for cell in cells])
