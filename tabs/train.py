"""Train: every setting of a run, what it will cost, and the exact command behind the button."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.catalog import key_of
from studio.config import OldDataSettings, RunConfig
from studio.errors import ModelError, StudioError
from studio.methods import ARXIV, Method, what_it_does
from studio.models import machine
from studio.models.catalog import structure_of
from studio.models.structure import Structure
from studio.plan import Plan, fit, look_ahead
from studio.preflight import check
from studio.settings import facts
from studio.workspace import Workspace, default_root
from tabs import _rehearsal
from tabs._form import ConfigForm
from tabs._layers import picked, shown
from tabs._live import script
from tabs._plan import memory, pairs, proposal, verdict
from tabs._schedule import picture
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, model_choices, refusal, said, settled, source_choices
from tabs._terms import offer as offer_terms

TITLE = "Train"
ORDER = 30
EARLIER = 20  # runs that are asked what they took
REFUSED = "There is nothing to pick: this model cannot be trained so."


@dataclass(frozen=True)
class Asked:
    """The form at the left. Handlers are given the values of `fields` as `raw`."""

    model: gr.Dropdown
    source: gr.Dropdown
    old: gr.Dropdown
    layers: gr.HTML
    form: ConfigForm

    @property
    def fields(self) -> list[Any]:
        return [self.model, self.source, *self.form.components()]

    def read(self, raw: Sequence[Any]) -> RunConfig:
        """Raises ConfigError."""
        return self.form.config(str(raw[0] or "").strip(), raw[1] or "", raw[2:])

    def looked_at(self, raw: Sequence[Any], workspace: Workspace) -> tuple[Structure | None, Method]:
        """Model and method as far as they can be told."""
        structure = _structure(str(raw[0] or "").strip(), workspace, writes=self.form.writes(raw[2:]))
        return structure, self.form.chosen_method(raw[2:])


@dataclass(frozen=True)
class Told:
    """The plan at the right."""

    verdict: gr.HTML
    memory: gr.HTML
    fit: gr.Button  # seen where memory is short
    steps: gr.HTML  # that would make it fit
    apply: gr.Button
    undo: gr.Button
    offered: gr.State  # {"before": config, "after": config} of the steps shown
    applied: gr.State  # the same of those taken last
    start: gr.Button
    search: gr.Button
    yaml: gr.Code
    rehearsal: _rehearsal.Offer


def build(page: Page, tab: gr.Tab) -> None:
    """The form at the left, the plan at the right."""
    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            asked = _draw_form(page)
        with gr.Column(scale=2, min_width=300):
            told = _draw_plan(page)
    _keep_planned(page, tab, asked, told)
    _let_pick(page, asked)
    _let_fit(page, asked, told)
    _let_begin(page, asked, told)
    asked.form.rewards.offer_runs(tab, page.store)
    _rehearsal.connect(page, told.rehearsal, asked.fields, asked.read)


def _draw_form(page: Page) -> Asked:
    layers = gr.HTML(
        {},
        html_template='<div class="layers"></div>',
        js_on_load=script("layers"),
        apply_default_css=False,
        elem_id="train-layers",
        render=False,
    )
    known_as = {fact.name: fact for fact in facts(OldDataSettings)}["source"]
    old = gr.Dropdown(
        _old_choices(page.workspace),
        value="",
        allow_custom_value=True,
        label=known_as.label,
        info=known_as.help,
        elem_id="train-old",
        render=False,
    )

    def tree() -> None:
        with gr.Accordion("Pick from the model's layers", open=False, elem_id="train-tree"):
            layers.render()

    model = gr.Dropdown(
        model_choices(page.workspace),
        value="starter",
        allow_custom_value=True,
        label="Model",
        elem_id="train-model",
        info="One of these, any Hub id such as Qwen/Qwen3-0.6B, or the path of a local folder.",
    )
    source = gr.Dropdown(
        source_choices(page.workspace),
        value="customer_messages",
        label="Data set",
        elem_id="train-source",
        info="Samples and what was uploaded under Dataset.",
    )
    form = ConfigForm(_method_help, tree, old)
    offer_terms(page, model, source, form.vocabulary)
    return Asked(model, source, old, layers, form)


def _draw_plan(page: Page) -> Told:
    told = gr.HTML("", apply_default_css=False, elem_id="train-verdict")
    needed = gr.HTML("", apply_default_css=False, elem_id="train-memory")
    with gr.Row(elem_classes="tools"):
        shrink = gr.Button("Make it fit", size="sm", visible=False, elem_id="train-fit")
        apply = gr.Button("Do that", size="sm", variant="primary", visible=False, elem_id="train-fit-apply")
        undo = gr.Button("Undo", size="sm", visible=False, elem_id="train-fit-undo")
    steps = gr.HTML("", apply_default_css=False, elem_id="train-fit-steps")
    offered, applied = gr.State(None), gr.State(None)
    start = gr.Button("Start training", variant="primary", size="lg", elem_id="train-start")
    search = gr.Button("Search for better settings …", size="sm", elem_id="train-search")
    rehearsal = _rehearsal.draw()
    yaml = gr.Code(
        "",
        language="yaml",
        label="run.yaml – exactly what will run",
        elem_id="train-yaml",
        interactive=False,
        wrap_lines=True,
    )
    gr.Code(
        _command(page.workspace),
        language="shell",
        label="The same without a browser",
        elem_id="train-command",
        lines=1,
        interactive=False,
        wrap_lines=True,
    )
    return Told(told, needed, shrink, steps, apply, undo, offered, applied, start, search, yaml, rehearsal)


def _keep_planned(page: Page, tab: gr.Tab, asked: Asked, told: Told) -> None:
    """The plan follows whatever changes in the form, and the form what is chosen in other tabs."""

    def plan(applied: dict[str, Any] | None, outcome: _rehearsal.Outcome | None, *raw: Any) -> Any:
        structure, method = asked.looked_at(raw, page.workspace)
        config, refused = None, None
        try:
            config = asked.read(raw)
            check(config, page.workspace)
        except StudioError as error:
            refused = error
        # The layers of a model that is refused may be none: packed weights, for one.
        drawn = {"nothing": REFUSED} if isinstance(refused, ModelError) else shown(structure, method)
        said = refusal(refused) if refused else verdict(config, structure)  # pyright: ignore[reportArgumentType]
        ahead = _ahead(page, config)
        short = ahead is not None and ahead.needs.verdict(ahead.room.free) != "fits"
        taken = applied is not None and config is not None and config.to_dict() == applied["after"]
        return (
            said,
            memory(ahead) + picture(config.settled().training, ahead.steps) if config and ahead else "",
            gr.Button(visible=short),
            "",
            gr.Button(visible=False),
            gr.Button(visible=taken),
            gr.Button(interactive=refused is None),
            config.to_yaml() if config and not refused else gr.skip(),
            drawn,
            *_rehearsal.following(outcome, config),
        )

    def arrive(wanted: str, current: str) -> Any:
        choices = source_choices(page.workspace)
        known = [value for _, value in choices]
        chosen = next((each for each in (wanted, current) if each in known), known[0])
        models = gr.Dropdown(model_choices(page.workspace))
        return gr.Dropdown(choices, value=chosen), "", gr.Dropdown(_old_choices(page.workspace)), models

    offer = told.rehearsal
    fields, source = [told.applied, offer.outcome, *asked.fields], asked.source
    steps = [told.fit, told.steps, told.apply, told.undo]
    planned = [told.verdict, told.memory, *steps, told.start, told.yaml, asked.layers]
    planned += [offer.told, offer.take, offer.undo]
    settled(asked.fields, plan, fields, planned)
    arrived = tab.select(arrive, [page.source, source], [source, page.source, asked.old, asked.model], **QUIET)
    arrived.then(plan, fields, planned, **QUIET)


def _ahead(page: Page, config: RunConfig | None) -> Plan | None:
    """None where it cannot be told: why stands in the verdict."""
    try:
        return config and look_ahead(config, page.workspace, machine.room(), page.store.states(limit=EARLIER))
    except StudioError:
        return None


def _let_fit(page: Page, asked: Asked, told: Told) -> None:
    """Steps that save memory are shown, taken into the form, and taken back."""

    def propose(*raw: Any) -> Any:
        config, room = asked.read(raw), machine.room()
        found = fit(config, page.workspace, room, page.store.states(limit=EARLIER))
        if found is None:
            return "", gr.Button(visible=False), None
        pair = {"before": config.to_dict(), "after": found.changes[-1].config.to_dict()} if found.changes else None
        return proposal(found, room), gr.Button(visible=pair is not None), pair

    asks = [told.steps, told.apply, told.offered]
    told.fit.click(said(propose), asked.fields, asks, **PRIVATE)
    # Kept first: what the form then says is compared with it.
    taken = told.apply.click(lambda pair: pair, told.offered, told.applied, **HEARD)
    taken.then(lambda pair: pair and pair["after"], told.applied, page.wanted, **HEARD)
    told.undo.click(lambda pair: pair and pair["before"], told.applied, page.wanted, **HEARD)


def _let_pick(page: Page, asked: Asked) -> None:
    """Clicks in the tree of layers become names in the method's own field, which the plan then reads."""
    pickers = asked.form.pickers()

    def pick(event: gr.EventData, *raw: Any) -> Any:
        structure, method = asked.looked_at(raw, page.workspace)
        text, drawn = picked(structure, method, event._data or {})
        return [drawn, *(text if text is not None and key == key_of(method) else gr.skip() for key in pickers)]

    # 'once', the default, drops what the tree asks the moment its last answer arrives.
    asked.layers.click(pick, asked.fields, [asked.layers, *pickers.values()], **QUIET, trigger_mode="multiple")


def _let_begin(page: Page, asked: Asked, told: Told) -> None:
    """The button, and configs that come from elsewhere."""

    def begin(*raw: Any) -> Any:
        return page.jobs.submit(asked.read(raw)), gr.Tabs(selected="curves")

    def search(*raw: Any) -> Any:
        return asked.read(raw).to_dict(), gr.Tabs(selected="search")

    def take(wanted: dict[str, Any] | None) -> Any:
        if not wanted:
            return [gr.skip()] * (len(asked.fields) + 1)
        config = RunConfig.parse(wanted)
        # Its data set comes by way of page.source. None: the same may be wanted again after changes by hand.
        return [config.model, gr.skip(), *asked.form.values(config), None]

    told.start.click(said(begin), asked.fields, [page.run, page.tabs], **PRIVATE)
    told.search.click(said(search), asked.fields, [page.base, page.tabs], **HEARD)
    page.wanted.change(said(take), page.wanted, [*asked.fields, page.wanted], **HEARD)


def _old_choices(workspace: Workspace) -> list[tuple[str, str]]:
    return [("None", ""), *source_choices(workspace)]


def _command(workspace: Workspace) -> str:
    own = workspace.root != Workspace(default_root()).root
    where = f"--workspace {shlex.quote(str(workspace.root))} " if own else ""
    return f"finetune-studio {where}train run.yaml"


def _structure(model: str, workspace: Workspace, *, writes: bool) -> Structure | None:
    try:
        return structure_of(model, workspace.models, writes=writes)
    except StudioError:  # said in the verdict
        return None


def _method_help(cls: type[Method]) -> str:
    """What a method does, when to use it and what it costs, as the page shows it under its name."""
    link = r'<a href="https://arxiv.org/abs/\1" target="_blank" rel="noopener noreferrer">\g<0></a>'
    told = {
        "Use it": escaped(cls.when),
        "Cost": escaped(cls.cost),
        "Paper": ARXIV.sub(link, escaped(cls.paper)),
        "Merges": "yes, into the model's own weights" if cls.merges else "no, it stays an adapter beside the model",
        "Learning rate": f"{cls.learning_rate:g} suits it where it learns to write; labels bear more",
    }
    return f"<p>{escaped(what_it_does(cls))}</p>{pairs(told)}"
