"""Runs beside one another: the JSON routes behind a bake-off's table and the curves laid over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from studio import bakeoff
from studio.differences import circumstances, differences, names
from studio.errors import RunError
from studio.jobs import Jobs
from studio.store import Point, Store, thin
from tabs._live import script

MOST_RUNS = 12  # more curves than that nobody tells apart
MOST_POINTS = 400  # of a curve


def panel(name: str, value: Any, *before: str) -> gr.HTML:
    """The component of `assets/NAME.js`, after those of `before`; its clicks come as events with an `action`."""
    code = script("versus", *before, name)
    template = '<div class="versus"></div>'
    return gr.HTML(value, html_template=template, js_on_load=code, apply_default_css=False, elem_id=name)


def router(store: Store, jobs: Jobs) -> APIRouter:
    """The routes that the two panels' scripts ask."""
    routes = APIRouter()

    @routes.get("/studio/comparisons/{comparison}")
    def compared(comparison: str) -> Response:
        found = comparison_payload(store, comparison)
        return JSONResponse(found, status_code=200 if found["rows"] else 404, headers={"Cache-Control": "no-store"})

    @routes.post("/studio/comparisons/{comparison}/stop")
    def stop(comparison: str) -> Response:
        bakeoff.stop(jobs, comparison)
        return JSONResponse({})

    @routes.get("/studio/overlay")
    def overlay(run: Annotated[list[str], Query(max_length=MOST_RUNS)], metric: str = "") -> Response:
        try:
            found = overlay_payload(store, run, metric)
        except RunError as error:
            return JSONResponse({"problem": error.problem}, status_code=404)
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    return routes


def comparison_payload(store: Store, comparison: str) -> dict[str, Any]:
    """All that the Compare tab shows of a bake-off."""
    states = bakeoff.members(store, comparison)
    rows = bakeoff.table(store, states)
    best, why = bakeoff.winner(rows, scored=bakeoff.by_score(states))
    return {
        "columns": [asdict(column) for column in bakeoff.COLUMNS],
        "rows": [asdict(row) for row in rows],
        "winner": best.id if best else None,
        "why": why,
        "active": any(state.active for state in states),
        "remaining": bakeoff.remaining(states, rows),
    }


def overlay_payload(store: Store, ids: Sequence[str], metric: str) -> dict[str, Any]:
    """One curve of each run, what is to be chosen from, and in what the runs differ. Raises RunError."""
    states = [store.state(run_id) for run_id in dict.fromkeys(ids)]
    points = [store.points(state.id) for state in states]
    metrics = list(dict.fromkeys(name for each in points for point in each for name in point.metrics))
    if metric not in metrics:
        metric = next((name for name in ("eval_loss", "loss") if name in metrics), metrics[0] if metrics else "")
    configs, beside = [state.config for state in states], [circumstances(state) for state in states]
    return {
        "runs": [
            {"id": state.id, "name": name, "title": state.title, "status": state.status, "curve": curve(each, metric)}
            for state, name, each in zip(states, names(configs), points, strict=True)
        ],
        "metric": metric,
        "metrics": metrics,
        "differences": differences(configs, beside=beside),
        "everything": differences(configs, beside=beside, everything=True),
        "active": any(state.active for state in states),
    }


def curve(points: Sequence[Point], metric: str) -> dict[str, list[float]]:
    """The metric as 'y' over 'step', 'seconds' and 'tokens'; thinned, highs and lows kept."""
    found = [point for point in points if metric in point.metrics]
    kept, _ = thin(list(range(len(found))), [point.metrics[metric] for point in found], MOST_POINTS)
    chosen = [found[at] for at in kept]
    return {
        "y": [point.metrics[metric] for point in chosen],
        "step": [point.step for point in chosen],
        "seconds": [point.seconds for point in chosen],
        "tokens": [point.tokens for point in chosen],
    }
