"""Curves: a run as it happens, and what came of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs import _live
from tabs._shared import QUIET, Page, run_choices

TITLE = "Curves"
ORDER = 40


def build(page: Page, tab: gr.Tab) -> None:
    """A chooser of runs over the live panel."""
    with gr.Row():
        chooser = gr.Dropdown([], label="Run", interactive=True, scale=4, elem_id="curves-run")
    panel = _live.panel()

    def refresh(run_id: str | None) -> Any:
        choices = run_choices(page.store.states())
        known = {key for _, key in choices}
        run_id = run_id if run_id in known else (choices[0][1] if choices else None)
        return gr.Dropdown(choices, value=run_id), run_id or ""

    page.run.change(refresh, page.run, [chooser, panel], **QUIET)
    tab.select(refresh, page.run, [chooser, panel], **QUIET)
    chooser.input(lambda run_id: (run_id, run_id or ""), chooser, [page.run, panel], **QUIET)
    panel.click(lambda: gr.Tabs(selected="chat"), None, page.tabs, **QUIET)
