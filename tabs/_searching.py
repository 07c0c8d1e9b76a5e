"""The JSON routes behind a search's table and plots, and what its form offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from studio.config import RunConfig
from studio.errors import RunError, StudioError
from studio.search import Search, Trial, best, find, importances, trials
from studio.searcher import Searches
from studio.space import Dimension, offered, with_values
from studio.store import ACTIVE, Store
from tabs._live import script

CHOSEN = ("training.learning_rate", "method.r")  # ticked at first, where they are offered
GOALS = {"eval_loss": "Held-out loss", "score": "Task score"}


def space_panel() -> gr.HTML:
    """The component of `assets/space.js`: settings to search, their ranges, and the button that starts it."""
    template = '<div class="space"></div>'
    return gr.HTML(
        {}, html_template=template, js_on_load=script("space"), apply_default_css=False, elem_id="search-space"
    )


def choices(base: RunConfig) -> dict[str, Any]:
    """What `assets/space.js` draws."""
    values, found = base.settled().to_dict(), offered(base)
    fields = []
    for key, each in found.items():
        group, _, name = key.partition(".")
        fields.append({**_told(key, each), "now": values[group][name], "chosen": key in CHOSEN})
    return {"fields": fields}


def _told(key: str, dimension: Dimension) -> dict[str, Any]:
    fact = dimension.fact
    return {
        "key": key,
        "label": f"{fact.label} ({fact.unit})" if fact.unit and fact.unit != fact.label.lower() else fact.label,
        "help": fact.help,
        "low": dimension.low,
        "high": dimension.high,
        "log": dimension.log,
        "choices": list(dimension.choices),
    }


def router(store: Store, searches: Searches) -> APIRouter:
    """The routes that the panel's script asks."""
    routes = APIRouter()

    @routes.get("/studio/searches/{search_id}")
    def search(search_id: str) -> Response:
        try:
            found = payload(store, find(store.workspace, search_id))
        except RunError as error:
            return JSONResponse({"problem": error.problem}, status_code=404)
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    @routes.post("/studio/searches/{search_id}/{action}")
    def act(search_id: str, action: Literal["stop", "resume"]) -> Response:
        try:
            {"stop": searches.stop, "resume": searches.resume}[action](search_id)
        except StudioError as error:
            return JSONResponse({"problem": str(error)}, status_code=409)
        return JSONResponse({})

    return routes


def payload(store: Store, search: Search) -> dict[str, Any]:
    """All that the Search tab shows of a search."""
    found = trials(store, search)
    top, budget = best(search, found), search.budget
    return {
        "active": search.active or any(trial.status in ACTIVE for trial in found),
        "going": search.active,
        "resumable": not search.active and not search.spent(found),
        "progress": _progress(search, found),
        "why": search.why,
        "goal": GOALS[budget.goal],
        "higher": budget.goal == "score",
        "dimensions": [_told(key, each) for key, each in search.dimensions().items()],
        "trials": [_line(trial) for trial in found],
        "best": top.run if top else None,
        "yaml": with_values(search.base, top.params).to_yaml() if top else "",
        "importances": importances(search, found),
    }


def _line(trial: Trial) -> dict[str, Any]:
    kept = ("run", "params", "status", "value", "reason", "progress")
    return {**{key: getattr(trial, key) for key in kept}, "loss": trial.losses[-1] if trial.losses else None}


def _progress(search: Search, found: Sequence[Trial]) -> str:
    budget, ended = search.budget, sum(not trial.under_way for trial in found)
    spent = f"{search.seconds / 60:.1f}"
    minutes = f"{spent} of {budget.minutes:g} minutes" if budget.minutes else f"{spent} minutes"
    return f"{ended} of {budget.runs} runs have ended, {minutes} are spent."
