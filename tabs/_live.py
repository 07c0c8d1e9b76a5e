"""The live panel: a run's progress and curves, pulled by the page's own script from a JSON route."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import plotly
from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from studio.advice import advise, changed
from studio.differences import circumstances, differences
from studio.errors import RunError, StudioError
from studio.events import Ready
from studio.jobs import Jobs
from studio.store import RESTING, State, Store
from tabs._charts import charts
from tabs._result import result, vocabulary
from tabs._shared import HEARD, Page, as_asked, said, shared_beginning

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PLOTLY_ROUTE = "/studio/plotly.js"
SAMPLES_AT_ONCE = 20  # evaluations whose answers are sent together; a page asks on for the others
HEAD = f"""<script>{(ASSETS / "language.js").read_text(encoding="utf-8")}</script>
<script>{(ASSETS / "stream.js").read_text(encoding="utf-8")}</script>
<link rel="prefetch" as="script" href="{PLOTLY_ROUTE}">"""  # assets/shared.js runs it when it draws


def script(*names: str) -> str:
    """What `js_on_load` takes: `assets/NAME.js` of each of `names`, after what they share."""
    return "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in ("shared", *names))


def panel(page: Page, name: str) -> gr.HTML:
    """A component whose value is the id of the run to show.

    A click has an `action`: 'chat', or 'copy' with the `run` and the key of the `advice` to follow.
    """
    shown = gr.HTML(
        "",
        html_template=(ASSETS / "live.html").read_text(encoding="utf-8"),
        js_on_load=script("confusion", "result", "along", "live"),
        apply_default_css=False,
        elem_id=name,
    )
    shown.click(said(functools.partial(_act, page)), None, [page.wanted, page.source, page.tabs], **HEARD)
    return shown


def _act(page: Page, event: gr.EventData) -> Any:
    """To the chat, or to the Train tab with the run's settings and what was advised."""
    asked = event._data
    if asked["action"] == "chat":
        return gr.skip(), gr.skip(), gr.Tabs(selected="chat")
    state, points = page.store.state(str(asked["run"])), page.store.points(str(asked["run"]))
    advice = next((each for each in advise(state, points) if each.key == asked["advice"]), None)
    if advice is None:
        raise RunError("The run's curves no longer say that.", remedy="Look at what they say by now.")
    copy = replace(state, config=changed(state.config, advice))
    return *as_asked(copy, page.workspace), gr.Tabs(selected="train")


def router(store: Store, jobs: Jobs) -> APIRouter:
    """The routes that the panel's script asks."""
    routes = APIRouter()

    @routes.get("/studio/runs/{run_id}")
    def run(run_id: str, since: int = 0, sampled: int = 0) -> Response:
        try:
            return JSONResponse(payload(store, jobs, run_id, since, sampled), headers={"Cache-Control": "no-store"})
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


def payload(store: Store, jobs: Jobs, run_id: str, since: int, sampled: int = 0) -> dict[str, Any]:
    """What the panel shows of a run, and the points and answers it has not seen yet."""
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
        "marks",
    )
    return {
        **{key: getattr(state, key) for key in kept},
        "problem": state.problem,
        "remedy": state.remedy,
        "silent": jobs.watchdog.silent(run_id),
        "ahead": jobs.ahead() if state.status == "queued" else 0,
        "resumable": state.status in RESTING,
        "facts": facts(state),
        "saved": state.saved is not None,
        "stopping": store.workspace.run(run_id).stop_flag.exists(),
        "result": None if state.active else result(state),
        "vocabulary": vocabulary(state.vocabulary),
        "made": None if state.active or not state.made else list(circumstances(state).items()),
        # They go with the first points, and again only if more curves ask for others.
        "charts": None if 0 < since <= curves["next"] else charts(state.curves),
        "kinds": len(state.curves),
        "advice": advice(store, state, curves["next"]),
        "samples": along(state, sampled),
        **curves,
    }


def advice(store: Store, state: State, points: int) -> list[dict[str, Any]]:
    """What its curves say and in what a changed copy would differ.

    Thought over anew whenever they have grown by a twentieth or its status has changed, not for each who looks.
    """
    return _advice(store, state.id, state.status, int(20 * math.log1p(points)))


@functools.lru_cache(maxsize=64)
def _advice(store: Store, run_id: str, status: str, size: int) -> list[dict[str, Any]]:
    state = store.state(run_id)
    found = advise(state, store.points(run_id))
    return [{**asdict(each), "change": differences([state.config, changed(state.config, each)])} for each in found]


def along(state: State, seen: int) -> dict[str, Any]:
    """Answers of evaluations behind the first `seen`; with the very first, the prompts that are the same for all."""
    found = [
        {"step": each.step, "answers": [answer["answer"] for answer in each.answers]}
        for each in state.samples[seen : seen + SAMPLES_AT_ONCE]
    ]
    told: dict[str, Any] = {"total": len(state.samples), "new": found}
    if found and not seen:
        asked = state.samples[0].answers
        shared = len(shared_beginning([each["prompt"] for each in asked]))
        told["prompts"] = [
            {"prompt": each["prompt"][shared:].strip(), "reference": each["reference"]} for each in asked
        ]
    return told


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
