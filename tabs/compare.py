"""Compare: the same rows, budget and seed for several methods, and what each cost and brought."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio import bakeoff
from studio.config import RunConfig
from studio.errors import StudioError
from studio.methods import methods
from studio.objectives import objectives
from studio.settings import Settings, setting
from studio.store import State, Store
from studio.training.settings import TrainingSettings
from tabs import _downloads
from tabs._form import Choice, Group
from tabs._shared import (
    HEARD,
    PRIVATE,
    QUIET,
    Page,
    as_asked,
    escaped,
    model_choices,
    refusal,
    said,
    settled,
    source_choices,
)
from tabs._versus import MOST_RUNS, panel

TITLE = "Compare"
ORDER = 45
STEPS = 30  # enough to tell methods apart on a small model, few enough to wait for

INTRODUCTION = (
    "Every method trains on the same rows in the same order, for the same steps and from the same seed; each at the "
    "learning rate that suits it, unless one is set. Runs wait in the queue and train one after another."
)


class Rest(Settings):
    """What a bake-off needs beside model, data, objective and training."""

    seed: int = setting(0, "Seed", ge=0, le=2**31 - 1, help="Of all its runs.")


class Form:
    """What is the same for all runs of a bake-off: fields as in the Train tab, fewer of them in sight."""

    def __init__(self) -> None:
        self.model = gr.Dropdown(
            model_choices(), value="starter", allow_custom_value=True, label="Model", elem_id="compare-model"
        )
        self.source = gr.Dropdown([], label="Data set", elem_id="compare-source")
        self.methods = gr.CheckboxGroup(
            [(cls.title, key) for key, cls in methods().items()],
            value=[key for key in bakeoff.PRESET if key in methods()],
            label="Methods",
            info="Two or more.",
            elem_id="compare-methods",
        )
        self.training = Group(TrainingSettings, skip=["num_train_epochs"], more="More about training")
        self.training.widgets["max_steps"].value = str(STEPS)  # pyright: ignore[reportAttributeAccessIssue]
        with gr.Accordion("Objective and seed", open=False):
            self.objective = Choice("Objective: what is minimised", objectives(), "next_token", "compare-objective")
            self.rest = Group(Rest)

    def components(self) -> list[Component]:
        parts = (self.training, self.objective, self.rest)
        return [self.model, self.source, self.methods, *(each for part in parts for each in part.components())]

    def read(self, raw: Sequence[Any]) -> tuple[RunConfig, list[str]]:
        """What all runs share, and the methods. Raises ConfigError."""
        model, source, chosen, *rest = raw
        values: dict[str, Any] = {"model": str(model or "").strip(), "dataset": {"source": source or ""}}
        at = 0
        for name, part in (("training", self.training), ("objective", self.objective), ("", self.rest)):
            end = at + len(part.components())
            parsed = part.parse(rest[at:end])
            values |= {name: parsed} if name else parsed
            at = end
        return RunConfig.parse(values), list(chosen or [])


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new bake-off over the table and plots of the chosen one."""
    with gr.Accordion("A new bake-off", open=True, elem_id="compare-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        form = Form()
        verdict = gr.HTML("", apply_default_css=False, elem_id="compare-verdict")
        start = gr.Button("Start the bake-off", variant="primary", elem_id="compare-start")
    with gr.Row():
        chooser = gr.Dropdown([], label="Bake-off", interactive=True, scale=4, elem_id="compare-chooser")
        with gr.Column(scale=1, min_width=160):
            take = gr.Button("Table as CSV", size="sm", elem_id="compare-csv")
            told = gr.HTML("", apply_default_css=False, elem_id="compare-file")
    shown = panel("compare", "")
    fields = form.components()

    def begin(*raw: Any) -> Any:
        comparison = bakeoff.start(page.jobs, *form.read(raw))
        return gr.Dropdown(bakeoff.comparisons(page.store), value=comparison), comparison, "", gr.Accordion(open=False)

    def plan(*raw: Any) -> Any:
        return _plan(page, form, raw)

    arrive = functools.partial(_arrive, page)
    arrived = tab.select(
        arrive, [page.source, form.source, chooser], [form.source, chooser, shown, form.model], **QUIET
    )
    arrived.then(plan, fields, [verdict, start], **QUIET)
    settled(fields, plan, fields, [verdict, start])
    start.click(said(begin), fields, [chooser, shown, told, new], **PRIVATE)
    chooser.input(lambda comparison: (comparison or "", ""), chooser, [shown, told], **QUIET)
    take.click(said(functools.partial(_csv, page)), chooser, told, **PRIVATE)
    shown.click(
        said(functools.partial(_act, page)),
        None,
        [page.wanted, page.source, page.run, page.overlay, page.tabs],
        **HEARD,
    )


def _arrive(page: Page, wanted: str, source: str | None, comparison: str | None) -> Any:
    """Data sets and bake-offs as they are now; the newest bake-off where none is chosen."""
    sources, known = source_choices(page.workspace), bakeoff.comparisons(page.store)
    keys, ids = [key for _, key in sources], [key for _, key in known]
    source = next((each for each in (source, wanted) if each in keys), "customer_messages")
    comparison = comparison if comparison in ids else (ids[0] if ids else None)
    models = gr.Dropdown(model_choices(page.workspace))
    return gr.Dropdown(sources, value=source), gr.Dropdown(known, value=comparison), comparison or "", models


def _plan(page: Page, form: Form, raw: Sequence[Any]) -> Any:
    """What pressing the button would do, or why it would not."""
    try:
        base, keys = form.read(raw)
        runs = bakeoff.checked(bakeoff.configs(base, keys), page.workspace)
    except StudioError as error:
        return refusal(error), gr.Button(interactive=False)
    budget = f"{base.training.max_steps} steps" if base.training.max_steps else "one pass over the rows"
    seconds = bakeoff.expected(page.store, base, len(runs))
    time = (
        f"About {max(1, round(seconds / 60))} min of training in all, judged by an earlier run; loading and scoring "
        "come on top."
        if seconds
        else "How long it takes is told once the first has begun."
    )
    titles = ", ".join(config.method.title for config in runs)
    return f'<p class="ready">{escaped(f"{titles}: {len(runs)} runs of {budget}. {time}")}</p>', gr.Button(
        interactive=True
    )


def _csv(page: Page, comparison: str | None) -> str:
    rows = bakeoff.table(page.store, bakeoff.members(page.store, comparison or ""))
    if not rows:
        return '<p class="muted">There is nothing to write yet.</p>'
    path = _downloads.place(page.workspace, "bake-off", ".csv")
    bakeoff.write_csv(rows, path)
    return _downloads.link(path, "Download the table")


def _act(page: Page, event: gr.EventData) -> Any:
    """A click in the table: the run's settings into the Train tab, its curves, or all curves over one another."""
    action, stay = event._data["action"], gr.skip()
    if action == "overlay":
        ids = _overlaid(page.store, [page.store.state(str(each)) for each in event._data["runs"]])
        return stay, stay, ids[0], ids, gr.Tabs(selected="curves")
    state = page.store.state(str(event._data["run"]))
    if action == "curves":
        return stay, stay, state.id, [], gr.Tabs(selected="curves")
    return *as_asked(state, page.workspace), stay, stay, gr.Tabs(selected="train")


def _overlaid(store: Store, states: list[State]) -> list[str]:
    """Ids of the runs to lay over one another: all, or of too many the winner and those that follow."""
    ids = [state.id for state in states]
    if len(ids) <= MOST_RUNS:
        return ids
    best, _ = bakeoff.winner(bakeoff.table(store, states), scored=bakeoff.by_score(states))
    gr.Info(f"{MOST_RUNS} of {len(ids)} are shown; others can be chosen in their place.", title="Curves")
    return list(dict.fromkeys([best.id if best else ids[0], *ids]))[:MOST_RUNS]
