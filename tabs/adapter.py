"""Adapter: what training changed of the model, layer by layer."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.child import Progress
from studio.errors import RunError, StudioError
from studio.evaluation.spectrum import Anatomy, short_kinds
from studio.weigher import kept
from tabs._live import script
from tabs._shared import PRIVATE, QUIET, Page, escaped, meter, run_choices, said

TITLE = "Adapter"
ORDER = 46
NO_RUNS = '<p class="muted">Train a model first: then this shows how much each of its layers changed.</p>'
ASK_FIRST = (
    '<p class="muted">Press “Weigh the adapter” to see how much each layer changed, and what rank would have been '
    "enough. It reads the base model and takes seconds for a small one.</p>"
)
NOT_SAVED = '<p class="muted">This run has saved nothing yet: come back when it has ended.</p>'


def build(page: Page, tab: gr.Tab) -> None:
    """A chooser of runs, a sentence, and the layers drawn."""
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Run", interactive=True, scale=4, elem_id="adapter-run")
        weigh = gr.Button("Weigh the adapter", variant="primary", visible=False, elem_id="adapter-weigh")
    told = gr.HTML(NO_RUNS, apply_default_css=False, elem_id="adapter-told")
    plot = gr.HTML(
        {},
        html_template='<div class="spectrum"></div>',
        js_on_load=script("spectrum"),
        apply_default_css=False,
        elem_id="adapter-plot",
    )

    def refresh(run_id: str | None) -> Any:
        choices = run_choices(page.store.states(also=[run_id]))
        known = {key for _, key in choices}
        run_id = run_id if run_id in known else (choices[0][1] if choices else None)
        return gr.Dropdown(choices, value=run_id), *look(page, run_id)

    shown = [told, plot, weigh]
    running = weigh.click(said(functools.partial(weighed, page)), chooser, shown, **PRIVATE)
    for event, run_id in ((page.run.change, page.run), (tab.select, page.run), (chooser.input, chooser)):
        event(refresh, run_id, [chooser, *shown], cancels=[running], **QUIET)
    chooser.input(lambda run_id: run_id, chooser, page.run, **QUIET)


def look(page: Page, run_id: str | None) -> tuple[Any, Any, Any]:
    """What is known of the run already: (what is said, what is drawn, the button)."""
    if run_id is None:
        return NO_RUNS, {}, gr.Button(visible=False)
    try:
        folder = page.workspace.run(run_id)
    except RunError:  # deleted meanwhile
        return NO_RUNS, {}, gr.Button(visible=False)
    if known := kept(folder):
        return drawn(known)
    there = folder.adapter.is_dir()
    return (ASK_FIRST if there else NOT_SAVED), {}, gr.Button(visible=there)


def weighed(page: Page, run_id: str | None) -> Iterator[tuple[Any, Any, Any]]:
    """The same once it is worked out, with progress. Raises StudioError."""
    if run_id is None:
        return
    folder, began = page.workspace.run(run_id), time.monotonic()
    yield meter(0, "Starting", 0), {}, gr.Button(interactive=False)
    try:
        with closing(page.weigher.weigh(folder)) as replies:  # pyright: ignore[reportArgumentType]
            for reply in replies:
                if isinstance(reply, Progress):
                    began = began if reply.total else time.monotonic()  # the layers' time tells what is left of it
                    share = reply.done / reply.total if reply.total else 0.0
                    yield meter(share, reply.doing, time.monotonic() - began), gr.skip(), gr.skip()
                else:
                    yield drawn(reply)
    except StudioError:
        yield look(page, run_id)
        raise


def drawn(found: Anatomy) -> tuple[str, dict[str, Any], Any]:
    """An anatomy as the page shows it."""
    told = f'<p class="ready"><strong>{escaped(found.sentence)}</strong> {escaped(found.advice)}</p>'
    names = short_kinds(found.layers)
    layers = [asdict(layer) | {"kind": names[layer.kind]} for layer in found.layers]
    return told, {"layers": layers}, gr.Button(visible=False)
