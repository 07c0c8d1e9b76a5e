"""Runs: all there are, what people say of them, the queue and the trash."""

from __future__ import annotations

import functools
import time
from typing import Any

import gradio as gr

from studio.again import again
from tabs._shared import HEARD, QUIET, Page, as_asked, said
from tabs._versus import MOST_RUNS, panel

TITLE = "Runs"
ORDER = 42


def build(page: Page, tab: gr.Tab) -> None:
    """The queue over the table; what leads to another tab comes back as a click."""
    shown = panel("runs", 0.0, "queue")
    tab.select(time.time, None, shown, **QUIET)  # another value each time: it looks anew
    shown.click(
        said(functools.partial(_act, page)),
        None,
        [page.wanted, page.source, page.run, page.overlay, page.tabs],
        **HEARD,
    )


def _act(page: Page, event: gr.EventData) -> Any:
    """A run's settings into the Train tab, the run once more, its curves, or those of several over one another."""
    action, stay = event._data["action"], gr.skip()
    states = [page.store.state(str(each)) for each in event._data["runs"][:MOST_RUNS]]
    if action == "curves":
        ids = [state.id for state in states]
        return stay, stay, ids[0], ids if len(ids) > 1 else [], gr.Tabs(selected="curves")
    if action == "again":
        return stay, stay, page.jobs.submit(again(states[0], page.workspace)), [], gr.Tabs(selected="curves")
    return *as_asked(states[0], page.workspace), stay, stay, gr.Tabs(selected="train")
