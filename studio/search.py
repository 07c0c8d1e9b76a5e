"""Searches: runs that differ in a few settings, each proposed by optuna from how those before it did.

A search is a file that says what is asked for. Its trials are the runs whose configs bear its id: their settings,
losses and ends are read there, so that a server may die at any time.
"""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from studio import bakeoff
from studio.config import RunConfig
from studio.data.library import open_source, title_of
from studio.errors import ConfigError, RunError
from studio.preflight import check
from studio.settings import Settings, setting
from studio.space import Dimension, Params, Space, dimensions, with_values
from studio.store import ACTIVE, State, Store
from studio.workspace import Workspace, write_whole

FIRST = 3  # so many are done before any is judged beside the others; so many failures in a row end the search
ENOUGH = 6  # runs that are done before it is said which settings matter
NAMED = 3  # settings in a search's title, at most
PROPOSALS = 20  # that may be asked for until one was not tried before


class Budget(Settings):
    """What is searched for, and for how long."""

    goal: Literal["eval_loss", "score"] = setting(
        "eval_loss",
        "Search for",
        help="'eval_loss': the lowest loss on held-out rows, or the highest reward. 'score': the best answers, labels "
        "or numbers on them, as a run scores them at its end.",
    )
    runs: int = setting(
        12, "Runs at most", ge=2, le=1000, help="The first is the config as it stands, where the ranges hold it."
    )
    minutes: float | None = setting(
        60.0,
        "Minutes at most",
        gt=0,
        le=100_000,
        help="Then what runs is stopped. While the search rests, its time does too. Empty: the runs alone decide.",
    )
    seed: int = setting(0, "Seed", ge=0, le=2**31 - 1, help="The same one proposes the same after the same results.")


class Refused(Settings):
    """A proposal that could not be started."""

    params: Params
    why: str
    time: float  # seconds since the epoch


class Search(Settings):
    """One search as its file holds it."""

    id: str
    base: dict[str, Any]  # a RunConfig's values
    space: Space
    budget: Budget
    active: bool = True
    why: str = ""  # it ended or rests, a sentence
    seconds: float = 0  # that it was active
    refused: list[Refused] = Field(default_factory=list)
    resting: list[str] = Field(default_factory=list)  # runs that it paused, and lets go on when it does
    ended: dict[str, str] = Field(default_factory=dict)  # run → why it was ended early, a sentence

    def dimensions(self) -> dict[str, Dimension]:
        """The settings it searches, within its ranges."""
        return dimensions(RunConfig.parse(self.base), self.space)

    @property
    def overtime(self) -> bool:
        return self.budget.minutes is not None and self.seconds >= 60 * self.budget.minutes

    def spent(self, found: Sequence[Trial]) -> bool:
        """Whether its budget allows nothing more; `found` are its trials."""
        return self.overtime or sum(not trial.under_way for trial in found) >= self.budget.runs


@dataclass(frozen=True)
class Trial:
    """A run of a search, or a proposal that was refused."""

    run: str  # '' where it was refused
    params: Params
    status: str  # the run's; 'pruned' where the search ended it; 'refused'
    value: float | None  # what is searched for, of a run that is done
    losses: tuple[float, ...]  # held-out, nats, at each evaluation after the first step
    reason: str
    progress: float  # 0..1
    begun: float  # seconds since the epoch

    @property
    def under_way(self) -> bool:
        """It has an end to come; a run that rests too, for whoever paused it wants the memory."""
        return self.status in ("paused", *ACTIVE)


# -- what came of it -------------------------------------------------------------------------------------


def trials(store: Store, search: Search) -> list[Trial]:
    """In the order they were begun. A run that bears the search's id with values of its own is none."""
    known = search.dimensions()
    begun = [_trial(store, search, state) for state in bakeoff.members(store, search.id)]
    begun = [trial for trial in begun if all(known[name].holds(value) for name, value in trial.params.items())]
    refused = [Trial("", each.params, "refused", None, (), each.why, 1.0, each.time) for each in search.refused]
    return sorted(begun + refused, key=lambda trial: trial.begun)


def _trial(store: Store, search: Search, state: State) -> Trial:
    points = store.points(state.id)
    losses = tuple(point.metrics["eval_loss"] for point in points if point.step and "eval_loss" in point.metrics)
    params = {name: state.config.get(group, {}).get(field) for name, group, field in map(_parts, search.space)}
    pruned = state.id in search.ended and not state.active
    return Trial(
        run=state.id,
        params=params,
        status="pruned" if pruned else state.status,
        value=_value(search, state, losses) if state.status == "done" else None,
        losses=losses,
        reason=search.ended.get(state.id) or state.problem,
        progress=bakeoff.progress(state),
        begun=state.created,
    )


def _parts(name: str) -> tuple[str, str, str]:
    group, _, field = name.partition(".")
    return name, group, field


def _value(search: Search, state: State, losses: Sequence[float]) -> float | None:
    if search.budget.goal == "score":
        return bakeoff.task_score(state)[1]
    kept_best = search.base["training"]["load_best_model_at_end"]
    return (min(losses) if kept_best else losses[-1]) if losses else None


def best(search: Search, found: Sequence[Trial]) -> Trial | None:
    """The trial whose value is the best so far."""
    done = [trial for trial in found if trial.value is not None]
    pick = max if search.budget.goal == "score" else min
    return pick(done, key=lambda trial: trial.value, default=None)  # pyright: ignore


def importances(search: Search, found: Sequence[Trial]) -> dict[str, float]:
    """Setting → its part, 0..1, in whether a run is among the better ones; {} where too few runs tell.

    Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA).
    """
    if sum(trial.value is not None for trial in found) < ENOUGH or len(search.space) < 2:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    told = get_param_importances(_study(search, found), evaluator=PedAnovaImportanceEvaluator())
    return {name: share for name, share in told.items() if math.isfinite(share)}


# -- what is tried next ----------------------------------------------------------------------------------


def _study(search: Search, found: Sequence[Trial]) -> Any:
    """The search as optuna sees it: made anew from the runs each time, it remembers nothing of its own."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    budget = search.budget
    sampler = optuna.samplers.TPESampler(
        seed=(budget.seed + len(found)) % 2**32, n_startup_trials=min(10, max(FIRST, budget.runs // 3))
    )
    study = optuna.create_study(direction="maximize" if budget.goal == "score" else "minimize", sampler=sampler)
    known = _distributions(search)
    for trial in found:
        study.add_trial(_told(search, trial, known))
    return study


def _distributions(search: Search) -> dict[str, Any]:
    return {name: dimension.distribution() for name, dimension in search.dimensions().items()}


def _told(search: Search, trial: Trial, known: dict[str, Any]) -> Any:
    """A trial as optuna takes it. Those that were cut short count by their losses."""
    from optuna.trial import TrialState, create_trial

    sign = -1 if search.budget.goal == "score" else 1  # the study looks for the highest, so losses are turned round
    state = TrialState.PRUNED if trial.losses else TrialState.FAIL
    if trial.value is not None:
        state = TrialState.COMPLETE
    elif trial.under_way:
        state = TrialState.RUNNING
    return create_trial(
        state=state,
        value=trial.value,
        params=trial.params,
        distributions=known,
        intermediate_values={at: sign * loss for at, loss in enumerate(trial.losses, 1)},
    )


def propose(search: Search, found: Sequence[Trial]) -> Params | None:
    """The settings to try next, the base's own first; None where all there are were tried."""
    known = search.dimensions()
    own = {name: search.base[group][field] for name, group, field in map(_parts, known)}
    if not found and all(known[name].holds(value) for name, value in own.items()):
        return own
    study, tried = _study(search, found), [trial.params for trial in found]
    distributions = _distributions(search)
    for _ in range(PROPOSALS):
        asked = study.ask(distributions).params
        params = {name: known[name].rounded(asked[name]) for name in known}
        if params not in tried:
            return params
    return None


def hopeless(search: Search, trial: Trial, found: Sequence[Trial]) -> str:
    """Why a run should not go on, a sentence; '' where it should.

    It is worse than the median of those that are done, at the same evaluation: Golovin et al. 2017, Google Vizier.
    """
    at = len(trial.losses)
    if not at or trial.status != "training":
        return ""
    import optuna

    others = [each for each in found if each is not trial]
    if not optuna.pruners.MedianPruner(FIRST, 0).prune(
        _study(search, others), _told(search, trial, _distributions(search))
    ):
        return ""
    there = statistics.median(
        each.losses[at - 1] for each in others if each.value is not None and len(each.losses) >= at
    )
    return (
        f"Ended at evaluation {at}: its held-out loss, {min(trial.losses):.4g} at best, is above {there:.4g}, the "
        f"median of the runs before it."
    )


# -- files -----------------------------------------------------------------------------------------------


def _file(workspace: Workspace, search_id: str) -> Path:
    return workspace.searches / f"{search_id}.json"


def find(workspace: Workspace, search_id: str) -> Search:
    """Raises RunError where there is no such search."""
    if search_id in _ids(workspace):
        try:
            return Search.parse(json.loads(_file(workspace, search_id).read_text(encoding="utf-8")))
        except (OSError, ValueError, ConfigError):  # damaged
            pass
    raise RunError("There is no such search.", remedy="Choose one from the list.")


def _ids(workspace: Workspace) -> list[str]:
    """Newest first."""
    return sorted((path.stem for path in workspace.searches.glob(f"{bakeoff.SEARCH}{'?' * 20}.json")), reverse=True)


def save(workspace: Workspace, search: Search) -> None:
    """Whole, or the file stays as it was. Raises OSError."""
    workspace.searches.mkdir(parents=True, exist_ok=True)
    text = json.dumps(search.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(_file(workspace, search.id), text)


def searches(workspace: Workspace) -> list[tuple[str, str]]:
    """What people call each search and its id, newest first."""
    found = []
    for search_id in _ids(workspace):
        with contextlib.suppress(RunError):
            found.append((_title(find(workspace, search_id), search_id, workspace), search_id))
    return found


def _title(search: Search, search_id: str, workspace: Workspace) -> str:
    base, stamp = search.base, search_id.removeprefix(bakeoff.SEARCH)
    data = title_of(str(base.get("dataset", {}).get("source", "")), workspace)
    when = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}"
    names = [name.partition(".")[2] for name in search.space]
    what = ", ".join(names[:NAMED]) + (" and more" if len(names) > NAMED else "")
    return f"{what} · {base.get('model', '')} · {data} · {when}"


def prepared(config: RunConfig, space: Space, budget: Budget, workspace: Workspace) -> Search:
    """A search that could start. Raises StudioError where it could not."""
    base = check(config, workspace).settled()
    for name, dimension in dimensions(base, space).items():
        for value in dimension.choices or (dimension.low, dimension.high):
            check(with_values(base.to_dict(), {name: value}), workspace)
    held_out = base.dataset.validation_share or open_source(base.dataset.source, workspace).validation is not None
    if not held_out:
        raise ConfigError(
            "No rows are held out, so no run can be told from a better one.",
            remedy="Raise 'Held-out share' above 0 in the Train tab.",
        )
    if budget.goal == "score" and base.objective.writes and not base.training.answer_rows:
        raise ConfigError(
            "A search for the best score needs answers, and none are asked for.",
            remedy="Raise 'Held-out rows to answer' above 0 in the Train tab, or search for 'eval_loss'.",
        )
    search_id = f"{bakeoff.SEARCH}{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return Search(id=search_id, base=base.to_dict(), space=space, budget=budget)
