"""Good practice, ticked by what a run really did; and odd prompts, asked of its model."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import gradio as gr

from studio import edge_cases
from studio.checklist import checklist, summary
from studio.errors import RunError
from studio.writer import Voice
from tabs._live import script
from tabs._shared import HEARD, QUIET, Page, meter, run_choices, said
from tabs._voices import WRITING

INTRODUCTION = (
    "What people who do this every day look at before they trust a model. A point gets its tick when something on disk "
    "shows it: the run's log, its settings, what was measured of it since. Nothing is ticked by hand."
)
TABS = {
    "dataset": "Dataset",
    "train": "Train",
    "curves": "Curves",
    "runs": "Runs",
    "evaluate": "Evaluate",
    "prompts": "Prompts",
    "compare": "Compare",
}


def build(page: Page, tab: gr.Tab, part: gr.Tab) -> None:
    """A run, its points, and its answers to odd prompts."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Run", interactive=True, scale=4, elem_id="practice-run")
        ask = gr.Button("Ask it odd prompts", visible=False, elem_id="practice-ask")
    told = gr.HTML("", apply_default_css=False, elem_id="practice-told")
    shown = gr.HTML(
        {},
        html_template='<div class="practice" aria-live="polite"></div>',
        js_on_load=script("practice"),
        apply_default_css=False,
        elem_id="learn-practice",
    )
    look = [ask, shown]
    arrive = functools.partial(_arrive, page)
    for opened in (tab, part):
        opened.select(arrive, [chooser, page.run], [chooser, *look], **QUIET)
    chooser.input(functools.partial(_look, page), chooser, look, **QUIET)
    ask.click(said(functools.partial(_ask, page)), chooser, [told, *look], **WRITING)
    shown.click(said(functools.partial(_go, page)), chooser, [page.run, page.source, page.tabs], **HEARD)


def _arrive(page: Page, chosen: str | None, run: str) -> Any:
    """The runs there are by now; first the one that is chosen here, then the one that is looked at elsewhere."""
    choices = run_choices(page.store.states(also=[chosen, run]))
    known = [key for _, key in choices]
    chosen = next((each for each in (chosen, run, *known) if each in known), None)
    return gr.Dropdown(choices, value=chosen), *_look(page, chosen)


def _look(page: Page, run: str | None) -> tuple[Any, dict[str, Any]]:
    """The button, and all that is drawn."""
    try:
        state = page.store.state(run or "")
    except (RunError, FileNotFoundError):
        return gr.Button(visible=False), {"nothing": "Train a model first: then this says what good practice it shows."}
    items = checklist(page.store, state.id)
    return gr.Button(visible=bool(state.saved and state.writes and not state.active)), {
        "summary": summary(items),
        "items": [{**asdict(each), "go": TABS.get(each.where, "")} for each in items],
        "cases": [asdict(each) for each in edge_cases.tried(page.workspace, state.id)],
    }


def _ask(page: Page, run: str | None) -> Iterator[Any]:
    """Every odd prompt, answered by what the run learnt; kept once all are. Raises StudioError."""
    if not run:
        return
    folder, began = page.workspace.run(run), time.monotonic()
    asked = edge_cases.cases(folder)
    answers: dict[int, str | None] = {}
    yield meter(0, "Loading the model", 0), gr.skip(), gr.skip()
    conversations = [[{"role": "user", "content": case.prompt}] for case in asked]
    with closing(page.writer.write(Voice(run=run), conversations, edge_cases.LONGEST)) as parts:
        for part in parts:
            if isinstance(part, str):
                yield meter(len(answers) / len(asked), part, time.monotonic() - began), gr.skip(), gr.skip()
                continue
            answers |= {found.place: found.value for found in part}
            said_so_far = f"{len(answers)} of {len(asked)} answered"
            yield meter(len(answers) / len(asked), said_so_far, time.monotonic() - began), gr.skip(), gr.skip()
    edge_cases.keep(folder, [replace(case, answer=answers.get(place)) for place, case in enumerate(asked)])
    yield "", *_look(page, run)


def _go(page: Page, run: str | None, event: gr.EventData) -> Any:
    """To the tab of a point, with the run in hand."""
    source = str(page.store.state(run or "").config.get("dataset", {}).get("source", ""))
    return run, source, gr.Tabs(selected=str(event._data["where"]))
