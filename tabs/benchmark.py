"""Benchmark: how fast, how good and at what memory models answer, each in several ways, on this machine."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.bench import Bench, begin, benches, holds_out, look_up, merges
from studio.benchmarks.figures import as_csv
from studio.benchmarks.variants import FOUND, MERGED, RUN, BenchSettings
from studio.binder import listed
from studio.config import RunConfig
from studio.errors import ConfigError, RunError, StudioError
from studio.settings import facts
from studio.store import State
from studio.study import Study
from tabs import _bench, _card, _downloads, _voices
from tabs._form import Group
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, WAITING, Page, ends, meter, run_choices, said, source_choices, waits

TITLE = "Benchmark"
ORDER = 56

INTRODUCTION = (
    "Each combination of what is ticked is measured: models, number formats, ways to compute. All variants take turns, "
    "round after round, and the quality of each stands beside its speed: a fast variant that is wrong is no win. While "
    "it is measured no run trains, and while a run trains it waits."
)
NOTHING = "No benchmark yet: choose one or more models above and press “Measure”. The usual choice takes some minutes."
SURE = "(name) => confirm('Delete this benchmark with all its figures?') ? name : null"
LEFT = '<p class="muted">Left where it was. What was measured is kept: “Go on” takes it up.</p>'
TEXT = "A text of ours, cut to length"
REFRESH = 2.0  # seconds between two looks at the figures

# One process measures: whoever comes second waits in Gradio's line.
ALONE: dict[str, Any] = {**PRIVATE, "concurrency_id": "bencher", "concurrency_limit": 1, "show_progress": "hidden"}


class Form:
    """What is measured."""

    def __init__(self) -> None:
        known = {fact.name: fact for fact in facts(BenchSettings)}
        with gr.Row():
            # Chosen before the arrival, its answer would overrule the choice.
            self.models = gr.Dropdown(
                [],
                multiselect=True,
                label="Models",
                info="Several are measured side by side: a base, what a run made of it, its adapter merged.",
                interactive=False,
                min_width=280,
                elem_id="bench-models",
            )
            self.prompts = gr.Dropdown(
                [(TEXT, "")],
                value="",
                label="Prompts",
                info=known["prompts"].help,
                interactive=False,
                min_width=280,
                elem_id="bench-prompts",
            )
        offered = _bench.axes()
        self.axes = gr.HTML(
            offered,
            html_template='<div class="axes"></div>',
            js_on_load=script("axes"),
            apply_default_css=False,
            elem_id="bench-axes",
        )
        self.picked = gr.State(
            {each["key"]: [one["value"] for one in each["choices"] if one["on"]] for each in offered["axes"]}
        )
        skipped = ["models", "prompts", *(each["key"] for each in offered["axes"])]
        self.group = Group(BenchSettings, skip=skipped, more="Rows, warm-up, sampling and seed")

    def components(self) -> list[Component]:
        return [self.models, self.prompts, self.picked, *self.group.components()]

    def read(self, raw: Sequence[Any]) -> BenchSettings:
        """Raises ConfigError."""
        models, prompts, picked, *rest = raw
        if not models:
            raise ConfigError("No model is chosen.", remedy="Choose at least one.")
        return BenchSettings.parse({"models": models, "prompts": prompts or "", **picked, **self.group.parse(rest)})


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new benchmark over the figures of the chosen one; what each model costs stands below."""
    with gr.Accordion("A new benchmark", open=True, elem_id="bench-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        form = Form()
        start = gr.Button("Measure", variant="primary", elem_id="bench-start")
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Benchmark", interactive=True, scale=3, min_width=260, elem_id="bench-chooser")
        beside = gr.Dropdown(
            [], label="Beside an earlier one", interactive=True, scale=3, min_width=260, elem_id="bench-beside"
        )
        more = gr.Button("Go on", visible=False, elem_id="bench-more")
        stop = gr.Button("Cancel", visible=False, elem_id="bench-stop")
        drop = gr.Button("Delete", variant="stop", elem_id="bench-delete")
    told = gr.HTML("", apply_default_css=False, elem_id="bench-told")
    panel = gr.HTML(
        {},
        html_template='<div class="versus bench"></div>',
        js_on_load=script("versus", "benchmark"),
        apply_default_css=False,
        elem_id="bench-board",
    )
    with gr.Row(elem_classes="tools", visible=False) as uses:
        files = gr.Button("Save the figures as CSV and JSON", elem_id="bench-files")
    saved = gr.HTML("", apply_default_css=False, elem_id="bench-saved")
    _card.build(page, tab)

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    def begun(page: Page, *raw: Any) -> Any:
        return _begin(page, form.read(raw))

    looked, shown = [chooser, beside], [panel, more, uses]
    tab.select(
        on(_arrive), [form.models, page.run, *looked], [form.models, form.prompts, *looked, new, *shown], **QUIET
    )
    form.axes.input(_picked, None, form.picked, **QUIET, trigger_mode="always_last")
    gr.on([chooser.input, beside.input], on(_chosen), looked, [*shown, saved], **QUIET)
    working = [*looked, told, stop, *shown]  # what a benchmark under way speaks through
    # Begun outside the line of those who wait: what is wrong with it is said at once.
    new_one = start.click(on(begun), form.components(), [new, saved, *looked, told], **PRIVATE)
    running = [
        new_one.success(on(_steps), looked, working, **ALONE),
        more.click(on(_steps), looked, working, **ALONE),
    ]
    waits(told, more)
    ends(told, stop, running)
    stop.click(page.bencher.close, None, None, **QUIET)  # also amid loading, where it has no word to say
    for work in running:
        work.failure(on(_rest), looked, working, **QUIET)
    drop.click(on(_delete), chooser, [*looked, *shown, saved], js=SURE, trigger_mode="multiple", **PRIVATE)
    files.click(on(_files), chooser, saved, **PRIVATE)
    panel.click(on(_chat), None, [page.run, page.tabs], **HEARD)


# -- the form ------------------------------------------------------------------------------------------


def _picked(event: gr.EventData) -> Any:
    return event._data["picked"]


def _models(page: Page) -> list[tuple[str, str]]:
    """Models as they are, then each run's, newest first, with its adapter beside the base and merged into it."""
    states = _voices.writing(page)
    plain = [(label, key.removeprefix(_voices.MODEL)) for label, key in _voices.model_choices(page, states)]
    tuned = [
        (f"{label} · {words}", prefix + run)
        for state, (label, run) in zip(states, run_choices(states), strict=True)
        for words, prefix in (("adapter", RUN), ("merged", MERGED))
        if prefix == RUN or _merges(state)
    ]
    return plain + tuned


def _merges(state: State) -> bool:
    try:
        return merges(RunConfig.parse(state.config))
    except StudioError:  # of another version
        return False


def _prompts(page: Page) -> list[tuple[str, str]]:
    """Our text, the rows that runs held out, those that searches sealed with the prompts they found, and data sets."""
    states = [state for state in page.store.states() if state.writes and holds_out(page.workspace, state.id)]
    held_out = [(f"Held-out rows of {label}", RUN + run) for label, run in run_choices(states)]
    studies = [each for binder in listed(page.workspace.studies) if (each := Study(binder)).end]
    found = [
        (f"Found prompt: {label}", FOUND + name)
        for label, name in _voices.binder_choices([each.binder for each in studies])
    ]
    return [(TEXT, ""), *held_out, *found, *source_choices(page.workspace)]


def _arrive(page: Page, models: list[str] | None, run: str, name: str | None, beside: str | None) -> tuple[Any, ...]:
    """Models, prompts and benchmarks as they are now; at first the model that this browser looks at."""
    found = _models(page)
    keys = [key for _, key in found]
    chosen = [each for each in models or [] if each in keys]
    chooser = gr.Dropdown(found, interactive=True)
    if not chosen:
        chooser = gr.Dropdown(found, value=[RUN + run if RUN + run in keys else keys[0]], interactive=True)
    known = _known(page)
    folded, name = _voices.folded(known, name), _voices.pick(known, name)
    return (
        chooser,
        gr.Dropdown(_prompts(page), interactive=True),
        gr.Dropdown(known, value=name),
        _others(known, name, beside),
        folded,
        *_look(page, name, beside),
    )


def _known(page: Page) -> list[tuple[str, str]]:
    return _voices.binder_choices([each.binder for each in benches(page.workspace)])


def _others(known: list[tuple[str, str]], name: str | None, beside: str | None) -> gr.Dropdown:
    """What can stand beside it."""
    found = [("nothing", ""), *(each for each in known if each[1] != name)]
    return _voices.picked(found, beside, "")


# -- a benchmark ---------------------------------------------------------------------------------------


def _bench_of(page: Page, name: str | None) -> Bench:
    if not name:
        raise RunError("No benchmark is chosen.", remedy="Begin one above.")
    return look_up(page.workspace, name)


def _look(page: Page, name: str | None, beside: str | None) -> tuple[Any, Any, Any]:
    """The board, whether anything is left to do, and what to do with the figures."""
    try:
        bench = _bench_of(page, name)
    except RunError:  # there is none, or another browser deleted it
        return {"nothing": NOTHING}, gr.Button(visible=False), gr.Row(visible=False)
    other = None
    if beside and beside != name:
        try:
            other = _bench_of(page, beside)
        except RunError:
            other = None
    some = any(each.figures for each in bench.measured.values())
    return _bench.board(bench, other), gr.Button(visible=not bench.ended), gr.Row(visible=some)


def _chosen(page: Page, name: str | None, beside: str | None) -> tuple[Any, ...]:
    return *_look(page, name, beside), ""


def _begin(page: Page, settings: BenchSettings) -> Any:
    """A new one, which waits for its turn."""
    if "gguf" in settings.precision and not page.alone:
        raise ConfigError(
            "This studio is open to others, and any file of the machine that runs it could be named.",
            remedy="Take gguf out, or measure it from the command line: finetune-studio bench FILE.yaml.",
        )
    name = begin(page.workspace, settings).binder.name
    known = _known(page)
    return gr.Accordion(open=False), "", _voices.picked(known, name), _others(known, name, ""), WAITING


def _steps(page: Page, name: str | None, beside: str | None) -> Iterator[Any]:
    """The work on a benchmark, with its progress and a board that grows; nobody chooses another meanwhile."""
    bench, began = _bench_of(page, name), time.monotonic()
    panel, _, uses = _look(page, name, beside)
    held, hidden, stay = gr.Dropdown(interactive=False), gr.Button(visible=False), gr.skip()
    yield held, held, meter(0, "Starting", 0), gr.Button(visible=True), panel, hidden, uses
    looked, known = time.monotonic(), 0.0
    with closing(page.bencher.run(bench.binder.name)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            known = part.done / part.total if part.total else known
            if not known:
                began = time.monotonic()  # what is told before the first batch says nothing of how long they take
            words = f"{part.doing} · batch {part.done + 1:,.0f} of {part.total:,.0f}" if part.total else part.doing
            panel, uses = stay, stay
            if time.monotonic() - looked > REFRESH:
                looked = time.monotonic()
                panel, _, uses = _look(page, name, beside)
            yield stay, stay, meter(known, words, time.monotonic() - began), stay, panel, hidden, uses
    yield _rest(page, name, beside)


def _rest(page: Page, name: str | None, beside: str | None) -> tuple[Any, ...]:
    """One that is not under way, or not any more."""
    panel, more, uses = _look(page, name, beside)
    free, told = gr.Dropdown(interactive=True), LEFT if "lines" in panel and not panel["ended"] else ""
    return free, free, told, gr.Button(visible=False), panel, more, uses


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it, or there is none
        return [gr.skip()] * 6
    page.bencher.delete(name)
    known = _known(page)
    name = _voices.pick(known)
    return gr.Dropdown(known, value=name), _others(known, name, ""), *_chosen(page, name, "")


def _files(page: Page, name: str | None) -> str:
    """Links to the figures."""
    bench = _bench_of(page, name)
    links = []
    for label, ending, text in (
        ("CSV", ".csv", as_csv(bench.rows())),
        ("JSON", ".json", json.dumps(bench.plain(), indent=1)),
    ):
        path = _downloads.place(page.workspace, f"benchmark-{bench.title}", ending, f"{name} {len(text)}{ending}")
        path.write_text(text, encoding="utf-8")
        links.append(_downloads.link(path, label))
    return f'<p class="ready">Here they are: {" · ".join(links)}</p>'


def _chat(page: Page, event: gr.EventData) -> Any:
    """To the chat with a run's model."""
    run = str(event._data["run"])
    page.workspace.run(run)
    return run, gr.Tabs(selected="chat")
