"""Train: every setting of a run, what it will cost, and the exact command behind the button."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from math import prod
from typing import Any

import gradio as gr

from studio.catalog import key_of
from studio.config import OldDataSettings, RunConfig
from studio.errors import ModelError, StudioError
from studio.methods import ARXIV, Method, what_it_does
from studio.models.catalog import SUGGESTIONS, fits, free_memory, structure_of
from studio.models.structure import Structure
from studio.preflight import check
from studio.settings import facts
from studio.workspace import Workspace, default_root
from tabs._form import ConfigForm
from tabs._layers import picked, short, shown
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, model_choices, refusal, said, source_choices
from tabs._terms import offer as offer_terms

TITLE = "Train"
ORDER = 30
REFUSED = "There is nothing to pick: this model cannot be trained so."


def build(page: Page, tab: gr.Tab) -> None:
    """The form at the left, the plan at the right."""
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

    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            model = gr.Dropdown(
                model_choices(),
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
        with gr.Column(scale=2, min_width=300):
            verdict = gr.HTML("", apply_default_css=False, elem_id="train-verdict")
            start = gr.Button("Start training", variant="primary", size="lg", elem_id="train-start")
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
    fields = [model, source, *form.components()]

    def read(*raw: Any) -> RunConfig:
        return form.config(str(raw[0] or "").strip(), raw[1] or "", raw[2:])

    def looked_at(raw: tuple[Any, ...]) -> tuple[Structure | None, Method]:
        structure = _structure(str(raw[0] or "").strip(), page.workspace, writes=form.writes(raw[2:]))
        return structure, form.chosen_method(raw[2:])

    def plan(*raw: Any) -> Any:
        structure, method = looked_at(raw)
        try:
            config = read(*raw)
            check(config, page.workspace)
        except StudioError as error:
            # The layers of a model that is refused may be none: packed weights, for one.
            drawn = {"nothing": REFUSED} if isinstance(error, ModelError) else shown(structure, method)
            return refusal(error), gr.skip(), gr.Button(interactive=False), drawn
        return _verdict(config, structure), config.to_yaml(), gr.Button(interactive=True), shown(structure, method)

    def pick(event: gr.EventData, *raw: Any) -> Any:
        """Clicks in the tree become names in the method's own field, which the plan then reads."""
        structure, method = looked_at(raw)
        text, drawn = picked(structure, method, event._data or {})
        return [drawn, *(text if text is not None and key == key_of(method) else gr.skip() for key in pickers)]

    def begin(*raw: Any) -> Any:
        return page.jobs.submit(read(*raw)), gr.Tabs(selected="curves")

    def arrive(wanted: str, current: str) -> Any:
        choices = source_choices(page.workspace)
        known = [value for _, value in choices]
        chosen = next((each for each in (wanted, current) if each in known), known[0])
        return gr.Dropdown(choices, value=chosen), "", gr.Dropdown(_old_choices(page.workspace))

    def take(wanted: dict[str, Any] | None) -> Any:
        if not wanted:
            return [gr.skip()] * (len(fields) + 1)
        config = RunConfig.parse(wanted)
        # Its data set comes by way of page.source. None: the same may be wanted again after changes by hand.
        return [config.model, gr.skip(), *form.values(config), None]

    pickers = form.pickers()
    planned = [verdict, yaml, start, layers]
    gr.on([model.change, source.change], plan, fields, planned, **QUIET, trigger_mode="always_last")
    form.on_change(plan, fields, planned)
    # 'once', the default, drops what the tree asks the moment its last answer arrives.
    layers.click(pick, fields, [layers, *pickers.values()], **QUIET, trigger_mode="multiple")
    start.click(said(begin), fields, [page.run, page.tabs], **PRIVATE)
    page.wanted.change(said(take), page.wanted, [*fields, page.wanted], **HEARD)
    tab.select(arrive, [page.source, source], [source, page.source, old], **QUIET).then(plan, fields, planned, **QUIET)


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


def _verdict(config: RunConfig, structure: Structure | None) -> str:
    """What is about to happen, and with which values where the form leaves them open."""
    known = next((each for each in SUGGESTIONS if each.model == config.model), None)
    parts = [f"{config.method.title} on {known.title if known else config.model}."]
    if known:
        parts.append(f"Memory: {fits(known.parameters, free_memory())}.")
        if known.gated:
            parts.append("Its licence must be accepted on the Hub first.")
    return f'<div class="ready"><p>{escaped(" ".join(parts))}</p>{_pairs(_plan(config, structure))}</div>'


def _plan(config: RunConfig, structure: Structure | None) -> dict[str, str]:
    """What the form leaves open, as it will be."""
    suits = "" if config.training.learning_rate is not None else ", which suits this method"
    told = {"Learning rate": f"{config.settled().training.learning_rate:g}{suits}"}
    if structure and (count := config.method.trainable(structure)) is not None:
        total = sum(map(prod, structure.weights.values()))
        told["Learns"] = f"{short(count)} weights, {count / total:.2%} of the model's {short(total)}"
    chosen = config.number_format
    told["Base held in"] = "what suits the device" if chosen == "auto" else chosen
    return told


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
    return f"<p>{escaped(what_it_does(cls))}</p>{_pairs(told)}"


def _pairs(told: Mapping[str, str]) -> str:
    """Names and what is said of them; HTML already."""
    lines = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items())
    return f'<dl class="pairs">{lines}</dl>'
