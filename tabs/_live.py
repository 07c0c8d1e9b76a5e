"""The live panel: a run's progress and curves, pulled by the page's own script from a JSON route."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gradio as gr
import plotly
from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from studio.errors import RunError, StudioError
from studio.events import Ready
from studio.jobs import Jobs
from studio.store import RESTING, State, Store
from tabs._charts import charts
from tabs._result import result, vocabulary

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PLOTLY_ROUTE = "/studio/plotly.js"
HEAD = f'<script src="{PLOTLY_ROUTE}"></script>'


def script(*names: str) -> str:
    """What `js_on_load` takes: `assets/NAME.js` of each of `names`, after what they share."""
    return "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in ("shared", *names))


def panel() -> gr.HTML:
    """A component whose value is the id of the run to show. A click asks for the chat with it."""
    return gr.HTML(
        "",
        html_template=(ASSETS / "live.html").read_text(encoding="utf-8"),
        js_on_load=script("result", "live"),
        apply_default_css=False,
        elem_id="live",
    )


def router(store: Store, jobs: Jobs) -> APIRouter:
    """The routes that the panel's script asks."""
    routes = APIRouter()

    @routes.get("/studio/runs/{run_id}")
    def run(run_id: str, since: int = 0) -> Response:
        try:
            return JSONResponse(payload(store, jobs, run_id, since), headers={"Cache-Control": "no-store"})
        except RunError as error:
            return JSONResponse({"problem": error.problem}, status_code=404)

    @routes.post("/studio/runs/{run_id}/{action}")
    def act(run_id: str, action: Literal["stop", "pause", "resume", "kill"]) -> Response:
        try:
            {"stop": jobs.stop, "pause": jobs.pause, "resume": jobs.resume, "kill": jobs.kill}[action](run_id)
        except StudioError as error:
            return JSONResponse({"problem": str(error)}, status_code=404 if isinstance(error, RunError) else 409)
        return JSONResponse({})

    @routes.get(PLOTLY_ROUTE)
    def plotly_js() -> Response:
        path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        return FileResponse(path, headers={"Cache-Control": "public, max-age=86400"})

    return routes


def payload(store: Store, jobs: Jobs, run_id: str, since: int) -> dict[str, Any]:
    """What the panel shows of a run, and the points it has not seen yet."""
    curves = store.curves(run_id, since)
    state = store.state(run_id)
    kept = (
        "id",
        "title",
        "status",
        "active",
        "phase",
        "done",
        "total",
        "unit",
        "step",
        "total_steps",
        "seconds",
        "remaining",
        "metrics",
        "last_eval",
        "writes",
        "notes",
    )
    return {
        **{key: getattr(state, key) for key in kept},
        "problem": state.problem,
        "remedy": state.remedy,
        "silent": jobs.watchdog.silent(run_id),
        "resumable": state.status in RESTING,
        "facts": facts(state),
        "saved": state.saved is not None,
        "stopping": store.workspace.run(run_id).stop_flag.exists(),
        "result": None if state.active else result(state),
        "vocabulary": vocabulary(state.vocabulary),
        "charts": charts(state.curves),
        **curves,
    }


def waited(ready: Ready) -> str:
    """Where the time before the first step went."""
    took = {name: f"{name} {seconds:.1f} s" for name, seconds in ready.seconds.items()}
    if ready.rows_found:
        which = "kept from an earlier run" if not ready.rows_made else f"{ready.rows_found:,} rows of it kept"
        took["data"] = f"{took['data']}, {which}"
    return f"ready in {sum(ready.seconds.values()):.1f} s ({'; '.join(took.values())})"


def facts(state: State) -> str:
    """What runs on what, in a line."""
    parts = []
    if model := state.model:
        share = 100 * model.trainable_parameters / max(model.parameters, 1)
        parts.append(f"{model.name} on {model.device} in {model.dtype}, {share:.2f} % of its weights learn")
    if data := state.data:
        parts.append(f"{data.train_rows} rows, {data.validation_rows} held out")
        if data.truncated_rows:
            parts.append(f"{data.truncated_rows} cut off at the cut-off length")
        if data.skipped_rows:
            parts.append(f"{data.skipped_rows} left out, nothing to learn")
    if state.ready:
        parts.append(waited(state.ready))
    if saved := state.saved:
        size = saved.size / 1e6
        parts.append(f"{size:,.{0 if size >= 10 else 2}f} MB saved")
        if saved.peak_memory:
            parts.append(f"{saved.peak_memory:.2f} GB of memory at most")
    return " · ".join(parts)
