"""Was fine-tuning worth it? Base and tuned model, each with the plain and the searched prompt, on the same rows."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.errors import RunError
from studio.recommend import recommend
from studio.worth import Line, Report, known, outdated, plan
from tabs import _voices
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, ends, meter, run_choices, said, waits

INTRODUCTION = (
    "A prompt needs no training. Here the model before and after training answers rows that neither saw, each with the "
    "plain prompt and with the best one that a search has found for it: what did training add that a prompt cannot?"
)
NO_RUN = "No run has a model yet: press “Start training” in the Start tab; it takes about two minutes."
NOT_YET = (
    "Not measured yet: press “Measure”. Without a search for a prompt two of four lines are compared; look for one "
    "with this run, “Tuned” and “Before training”, to fill the others."
)
OUTDATED = "A search for a prompt has ended since this was measured: measure again to have it in."


def build(page: Page, tab: gr.Tab) -> None:
    """A run, a button and the report."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Run", interactive=True, scale=4, min_width=280, elem_id="worth-run")
        start = gr.Button("Measure", variant="primary", elem_id="worth-start")
        stop = gr.Button("Cancel", visible=False, elem_id="worth-stop")
    told = gr.HTML("", apply_default_css=False, elem_id="worth-told")
    panel = gr.HTML(
        {},
        html_template='<div class="worth"></div>',
        js_on_load=script("whiskers", "worth"),
        apply_default_css=False,
        elem_id="worth",
    )

    def on(handler: Any, *fixed: Any) -> Any:
        return said(functools.partial(handler, page, *fixed))

    working = [chooser, told, start, stop, panel]
    tab.select(on(_arrive), [chooser, page.run], [chooser, panel], **QUIET)
    page.judged.change(on(_opened), page.judged, [chooser, panel], **QUIET)
    chooser.input(on(_look), chooser, panel, **QUIET)
    waits(told, start)
    measuring = start.click(
        on(_measure), chooser, working, concurrency_id="prompter", concurrency_limit=1, **{**PRIVATE, **HEARD}
    )
    measuring.failure(on(_rest), chooser, working, **QUIET)
    ends(told, stop, [measuring])


def _choices(page: Page) -> list[tuple[str, str]]:
    return run_choices([state for state in page.store.states() if state.saved and state.talks and state.writes])


def _arrive(page: Page, chosen: str | None, run: str) -> Any:
    """The runs as they are now; at first the one this browser looks at."""
    runs = _choices(page)
    chosen = _voices.pick(runs, chosen, run)
    return gr.Dropdown(runs, value=chosen), _look(page, chosen)


def _opened(page: Page, judged: tuple[str, float] | None) -> Any:
    """The run that somebody asks about elsewhere."""
    return _arrive(page, judged[0] if judged else None, "")


def _look(page: Page, run: str | None) -> dict[str, Any]:
    """What is known of a run, as the script draws it."""
    if not run:
        return {"nothing": NO_RUN}
    try:
        report = known(page.workspace, run)
    except RunError:
        return {"nothing": "That run was deleted: choose another."}
    if report is None:
        return {"nothing": NOT_YET}
    return _shown(report) | {"outdated": OUTDATED if outdated(page.workspace, run, report) else ""}


def _shown(report: Report) -> dict[str, Any]:
    advice = recommend(report)
    return {
        "title": report.title,
        "rows": report.rows,
        "goal": " + ".join(f"{each.title} × {each.weight:g}" for each in report.rewards.values()),
        "lines": [_line(each) for each in report.lines],
        "training": report.training.model_dump(),
        "advice": {**asdict(advice), "good": advice.outcome in ("worth", "prompt")},
    }


def _line(line: Line) -> dict[str, Any]:
    shown: dict[str, Any] = {"title": line.title, "tuned": line.tuned, "note": line.note, "searched": line.seconds}
    if side := line.side:
        kept = ("mean", "interval", "prompt_tokens", "answer_tokens", "seconds", "memory", "left_out")
        shown |= {key: getattr(side, key) for key in kept}
    return shown


def _measure(page: Page, run: str | None) -> Iterator[Any]:
    """How far it is, then the report. Raises StudioError."""
    if not run:
        raise RunError("No run is chosen.", remedy=NO_RUN)
    plan(page.workspace, run)  # which says at once what cannot be measured
    stay, began = gr.skip(), time.monotonic()
    yield (
        gr.Dropdown(interactive=False),
        meter(0, "Starting", 0),
        gr.Button(interactive=False),
        gr.Button(visible=True),
        stay,
    )
    with closing(page.prompter.measure(run)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            share = part.done / part.total if part.total else 0.0
            if not share:
                began = time.monotonic()
            words = f"{part.doing} · {part.done:,.0f} of {part.total:,.0f} requests" if part.total else part.doing
            yield stay, meter(share, words, time.monotonic() - began), stay, stay, stay
    yield _rest(page, run)


def _rest(page: Page, run: str | None) -> Any:
    """Nothing is measured now."""
    return gr.Dropdown(interactive=True), "", gr.Button(interactive=True), gr.Button(visible=False), _look(page, run)
