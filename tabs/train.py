"""Train: every setting of a run, what it will cost, and the exact command behind the button."""

from __future__ import annotations

import shlex
from typing import Any

import gradio as gr

from studio.config import RunConfig
from studio.errors import StudioError
from studio.models.catalog import SUGGESTIONS, fits, free_memory
from studio.preflight import check
from studio.workspace import Workspace, default_root
from tabs._form import ConfigForm
from tabs._shared import PRIVATE, QUIET, Page, escaped, model_choices, refusal, said, source_choices

TITLE = "Train"
ORDER = 30


def build(page: Page, tab: gr.Tab) -> None:
    """The form at the left, the plan at the right."""
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
            form = ConfigForm()
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

    def plan(*raw: Any) -> Any:
        try:
            config = read(*raw)
            check(config, page.workspace)
        except StudioError as error:
            return refusal(error), gr.skip(), gr.Button(interactive=False)
        return _verdict(config), config.to_yaml(), gr.Button(interactive=True)

    def begin(*raw: Any) -> Any:
        return page.jobs.submit(read(*raw)), gr.Tabs(selected="curves")

    def arrive(wanted: str, current: str) -> Any:
        choices = source_choices(page.workspace)
        known = [value for _, value in choices]
        chosen = next((each for each in (wanted, current) if each in known), known[0])
        return gr.Dropdown(choices, value=chosen), ""

    def take(wanted: dict[str, Any] | None) -> Any:
        if not wanted:
            return [gr.skip()] * (len(fields) + 1)
        config = RunConfig.parse(wanted)
        # Its data set comes by way of page.source. None: the same may be wanted again after changes by hand.
        return [config.model, gr.skip(), *form.values(config), None]

    shown = [verdict, yaml, start]
    gr.on([model.change, source.change], plan, fields, shown, **QUIET, trigger_mode="always_last")
    form.on_change(plan, fields, shown)
    start.click(said(begin), fields, [page.run, page.tabs], **PRIVATE)
    page.wanted.change(take, page.wanted, [*fields, page.wanted], **QUIET)
    tab.select(arrive, [page.source, source], [source, page.source], **QUIET).then(plan, fields, shown, **QUIET)


def _command(workspace: Workspace) -> str:
    own = workspace.root != Workspace(default_root()).root
    where = f"--workspace {shlex.quote(str(workspace.root))} " if own else ""
    return f"finetune-studio {where}train run.yaml"


def _verdict(config: RunConfig) -> str:
    """What is about to happen, in a sentence or two."""
    known = next((each for each in SUGGESTIONS if each.model == config.model), None)
    parts = [f"{config.method.title} on {known.title if known else config.model}."]
    if known:
        parts.append(f"Memory: {fits(known.parameters, free_memory())}.")
        if known.gated:
            parts.append("Its licence must be accepted on the Hub first.")
    return f'<p class="ready">{escaped(" ".join(parts))}</p>'
