"""Curves: a run as it happens, and what came of it; or several runs over one another."""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs import _live, _versus
from tabs._shared import QUIET, Page, run_choices

TITLE = "Curves"
ORDER = 40


def build(page: Page, tab: gr.Tab) -> None:
    """A chooser of runs over the live panel; with others chosen, their curves and settings beside one another."""
    with gr.Row():
        chooser = gr.Dropdown([], label="Run", interactive=True, scale=4, elem_id="curves-run")
        others = gr.Dropdown(
            [],
            label="Lay others over it",
            multiselect=True,
            max_choices=_versus.MOST_RUNS - 1,
            interactive=True,
            scale=4,
            elem_id="curves-others",
        )
    with gr.Column() as single:
        panel = _live.panel(page, "live")
    with gr.Column(visible=False) as several:
        overlay = _versus.panel("overlay", [])

    def refresh(run_id: str | None, laid: list[str]) -> Any:
        choices = run_choices(page.store.states(also=[run_id, *laid]))
        known = [key for _, key in choices]
        run_id = run_id if run_id in known else (known[0] if known else None)
        # A run that is not among those laid over one another was chosen since, alone.
        beside = [each for each in laid if each in known and each != run_id] if run_id in laid else []
        return gr.Dropdown(choices, value=run_id), gr.Dropdown(choices, value=beside), *shown(run_id, beside)

    def choose(run_id: str | None, beside: list[str] | None) -> Any:
        return run_id, [run_id, *(beside or [])], *shown(run_id, beside)

    def shown(run_id: str | None, beside: list[str] | None) -> Any:
        runs = list(dict.fromkeys([run_id or "", *(beside or [])]))
        one = len(runs) == 1
        return runs[0] if one else "", [] if one else runs, gr.Column(visible=one), gr.Column(visible=not one)

    panels = [panel, overlay, single, several]
    seen = [page.run, page.overlay]
    gr.on([page.run.change, page.overlay.change, tab.select], refresh, seen, [chooser, others, *panels], **QUIET)
    gr.on([chooser.input, others.input], choose, [chooser, others], [*seen, *panels], **QUIET)
