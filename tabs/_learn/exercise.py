"""Six steps from rows to a judged model: why each, a way to the tab where it is done, and whether it is."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.config import RunConfig
from studio.data.library import open_source
from studio.errors import ConfigError
from studio.guide import steps, subject
from studio.recipes import recipe
from tabs._live import script
from tabs._shared import HEARD, QUIET, Page, said, source_choices

INTRODUCTION = (
    "Never trained a model? Go through these six steps once: about an hour on a laptop, most of it waiting. Each "
    "button leads to the right place with the right things filled in, and a step gets its tick when what it asks for "
    "is there on disk, however you got there."
)
TABS = {
    "prepare": ("dataset", "To the data"),
    "tune": ("train", "To the training"),
    "evaluate": ("evaluate", "To the evaluation"),
    "prompt": ("prompts", "To the prompts"),
    "benchmark": ("benchmark", "To the benchmark"),
    "compare": ("compare", "To the comparison"),
}
STEPS = 30  # of the first run: enough to see a change, few enough for a laptop's CPU


def build(page: Page, tab: gr.Tab, part: gr.Tab) -> None:
    """The data set it is about, and the steps."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    source = gr.Dropdown(
        [],
        label="The data set of your exercise",
        info="A sample to begin with, or your own.",
        interactive=False,
        elem_id="learn-source",
    )
    shown = gr.HTML(
        {},
        html_template='<div class="guide" aria-live="polite"></div>',
        js_on_load=script("guide"),
        apply_default_css=False,
        elem_id="learn-steps",
    )
    arrive = functools.partial(_arrive, page)
    for opened in (tab, part):
        opened.select(arrive, [source, page.source], [source, shown], **QUIET)
    source.input(functools.partial(_look, page), source, shown, **QUIET)
    shown.click(
        said(functools.partial(_go, page)),
        source,
        [page.wanted, page.source, page.looked, page.run, page.tabs],
        **HEARD,
    )


def _arrive(page: Page, source: str | None, wanted: str) -> Any:
    """The steps as they are by now."""
    chosen = subject(page.store, source or wanted)
    return gr.Dropdown(source_choices(page.workspace), value=chosen, interactive=True), _look(page, chosen)


def _look(page: Page, source: str) -> dict[str, Any]:
    found = [{**asdict(step), "go": TABS[step.key][1]} for step in steps(page.store, source)]
    return {"source": source, "steps": found}


def _go(page: Page, source: str, event: gr.EventData) -> Any:
    """To the tab of a step: (wanted, source, looked, run, tabs). Raises StudioError where the data set is gone."""
    step = next((each for each in steps(page.store, source) if each.key == event._data["step"]), None)
    if step is None:
        return [gr.skip()] * 5
    stay = gr.skip()
    wanted = begin(page, source) if step.key == "tune" else stay
    looked = source if step.key == "prepare" else stay
    return wanted, source, looked, step.run or stay, gr.Tabs(selected=TABS[step.key][0])


def begin(page: Page, source: str) -> dict[str, Any]:
    """A first run on that data set, as its rows suggest. Raises DatasetError."""
    shape = open_source(source, page.workspace).mapping.format
    values = dict(recipe("sentiment" if shape == "labelled" else "instruction_tuning").values)
    brief = {} if shape == "labelled" else {"training": {"max_steps": STEPS, "learning_rate": 1e-3, "eval_rows": 32}}
    if shape == "labelled":
        values["objective"] = {"name": "classify"}
    try:
        return RunConfig.parse({**values, "dataset": {"source": source}, **brief}).to_dict()
    except ConfigError:  # a recipe is tested; its sample's columns are not this data set's
        return RunConfig.parse({"dataset": {"source": source}}).to_dict()
