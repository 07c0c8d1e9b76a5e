"""Search: a chosen few settings, tried in one run after another, each proposed from how those before it did."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import gradio as gr

from studio import bakeoff
from studio.config import RunConfig
from studio.data.library import title_of
from studio.errors import StudioError
from studio.search import Budget, find, prepared, searches, trials
from studio.space import Space, with_values
from tabs._form import Group
from tabs._searching import choices, space_panel
from tabs._shared import HEARD, PRIVATE, QUIET, Page, as_asked, escaped, refusal, said, settled
from tabs._versus import panel

TITLE = "Search"
ORDER = 45

INTRODUCTION = (
    "Tick the settings to search and say in which range. Ordinary runs train one after another, each with settings "
    "that those before it make likely to be good; one that falls behind the others is ended early."
)


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new search over the table and plots of the chosen one."""
    with gr.Accordion("A new search", open=True, elem_id="search-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        with gr.Row():
            about = gr.HTML("", apply_default_css=False, elem_id="search-base")
            change = gr.Button("Set it up in the Train tab", size="sm", scale=0, min_width=210)
        budget = Group(Budget)
        space = space_panel()
        verdict = gr.HTML("", apply_default_css=False, elem_id="search-verdict")
    chooser = gr.Dropdown([], label="Search", interactive=True, elem_id="search-chooser")
    shown = panel("search", "")
    picked = gr.State({})  # settings and ranges as the form has them
    fields = [page.base, page.source, *budget.components()]

    def read(base: dict[str, Any] | None, source: str, *raw: Any) -> tuple[RunConfig, Budget]:
        return _base(base, source), Budget.parse(budget.parse(raw))

    def plan(wanted: Space, *raw: Any) -> str:
        try:
            return _plan(page, wanted, *read(*raw))
        except StudioError as error:
            return refusal(error)

    def pick(event: gr.EventData, *raw: Any) -> Any:
        return event._data["space"], plan(event._data["space"], *raw)

    def begin(event: gr.EventData, *raw: Any) -> Any:
        config, budget = read(*raw)
        search_id = page.searches.begin(config, event._data["space"], budget)
        return gr.Dropdown(searches(page.workspace), value=search_id), search_id, gr.Accordion(open=False)

    arrived = [about, space, chooser, shown]
    arrive = functools.partial(_arrive, page)
    gr.on([tab.select, page.base.change], arrive, [page.base, page.source, chooser], arrived, **QUIET)
    space.input(pick, fields, [picked, verdict], **QUIET, trigger_mode="always_last")
    settled(budget.components(), plan, [picked, *fields], verdict)
    space.submit(said(begin), fields, [chooser, shown, new], **PRIVATE)
    chooser.input(lambda search_id: search_id or "", chooser, shown, **QUIET)
    change.click(lambda: gr.Tabs(selected="train"), None, page.tabs, **QUIET)
    act = said(functools.partial(_act, page))
    shown.click(act, None, [page.wanted, page.source, page.run, page.overlay, page.tabs], **HEARD)


def _base(base: dict[str, Any] | None, source: str) -> RunConfig:
    """What the Train tab sent here; before it did, the defaults on the data set at hand."""
    return RunConfig.parse(base or ({"dataset": {"source": source}} if source else {}))


def _arrive(page: Page, base: dict[str, Any] | None, source: str, search_id: str | None) -> Any:
    """What is searched around, and the searches as they are now; the newest where none is chosen."""
    config, known = _base(base, source), searches(page.workspace)
    ids = [key for _, key in known]
    search_id = search_id if search_id in ids else (ids[0] if ids else None)
    data = title_of(config.dataset.source, page.workspace)
    about = f"<p>Around <strong>{escaped(f'{config.method.title} · {config.model} · {data}')}</strong></p>"
    return about, choices(config), gr.Dropdown(known, value=search_id), search_id or ""


def _plan(page: Page, wanted: Space, config: RunConfig, budget: Budget) -> str:
    """What pressing the button would do. Raises StudioError where it could not."""
    search = prepared(config, wanted, budget, page.workspace)
    training = config.training
    passes = "one pass" if training.num_train_epochs == 1 else f"{training.num_train_epochs:g} passes"
    length = f"{training.max_steps} steps" if training.max_steps else f"{passes} over the rows"
    seconds = bakeoff.expected(page.store, RunConfig.parse(search.base), budget.runs)
    time = f" About {max(1, round(seconds / 60))} min of training in all, judged by an earlier run." if seconds else ""
    minutes = f", for {budget.minutes:g} minutes at most" if budget.minutes else ""
    return f'<p class="ready">{escaped(f"Up to {budget.runs} runs of {length}{minutes}.{time}")}</p>'


def _act(page: Page, event: gr.EventData) -> Any:
    """A click in the table: the curves of a run, or the base with its settings into the Train tab."""
    stay, run_id = gr.skip(), str(event._data["run"])
    state = page.store.state(run_id)
    if event._data["action"] == "curves":
        return stay, stay, run_id, [], gr.Tabs(selected="curves")
    search = find(page.workspace, str(event._data["search"]))
    [trial] = [each for each in trials(page.store, search) if each.run == run_id]
    config = with_values(search.base, trial.params).to_dict()
    return *as_asked(replace(state, config=config), page.workspace), stay, stay, gr.Tabs(selected="train")
