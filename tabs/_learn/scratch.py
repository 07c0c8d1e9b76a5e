"""LoRA taken apart: a real matrix at any rank, and the module that does it, beside what PEFT calls its parts."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr

from studio import bakeoff, lowrank
from studio.config import RunConfig
from studio.guide import subject
from tabs._learn.exercise import STEPS, begin
from tabs._live import script
from tabs._shared import PRIVATE, QUIET, Page, escaped, said

BOTH = ("lora", "lora_scratch")
INTRODUCTION = (
    "A weight of a model is a matrix W. Training adds an update to it, which is just as large. LoRA writes that update "
    "as B times A, a tall and a wide matrix with a few columns and rows between them: the <strong>rank</strong>. Drag "
    "it and see what is gained and lost."
)
CODE = (
    "This is the whole of the method “LoRA from scratch”, read from its own file, with what PEFT calls the same thing. "
    "Given the same A and B, both give the same answers and the same gradients; a test holds them to it."
)


def build(page: Page, tab: gr.Tab, part: gr.Tab) -> None:
    """The picture, the code, and a way to see both train."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    shown = gr.HTML(
        {},
        html_template='<div class="lowrank"></div>',
        js_on_load=script("lowrank"),
        apply_default_css=False,
        elem_id="learn-lowrank",
    )
    part.select(functools.partial(_pictures, page), None, shown, **QUIET)
    gr.HTML(_code(), apply_default_css=False, elem_id="learn-code")
    with gr.Row(elem_classes="tools"):
        both = gr.Button("Train both and compare", variant="primary", elem_id="learn-both", scale=0, min_width=240)
    gr.HTML(
        f'<p class="muted">{STEPS} steps each on the data set of your exercise, the same rows in the same order: under '
        "Compare their losses should lie close together.</p>",
        apply_default_css=False,
    )
    both.click(said(functools.partial(_train, page)), page.source, page.tabs, **PRIVATE)


def _pictures(page: Page) -> dict[str, Any]:
    found = [*lowrank.shipped(), *lowrank.of_runs(page.store)]
    return {"pictures": [lowrank.plain(each) for each in found]}


def _train(page: Page, source: str) -> Any:
    """A bake-off of both. Raises StudioError before anything is queued."""
    base = RunConfig.parse({**begin(page, subject(page.store, source)), "method": {"name": BOTH[0]}})
    bakeoff.start(page.jobs, base, BOTH)
    gr.Info(f"Two runs of {STEPS} steps are waiting for their turn.", title="Train both")
    return gr.Tabs(selected="compare")


def _code() -> str:
    """The module's lines, each with its word on PEFT where there is one."""
    lines = []
    for line, note in lowrank.explained():
        told = f'<span class="note">{escaped(note)}</span>' if note else ""
        lines.append(f"<li><code>{escaped(line) or ' '}</code>{told}</li>")
    head = f'<h3>LoRA in one module</h3><p class="muted">{CODE}</p>'
    return f'<section class="taken-apart">{head}<ol>{"".join(lines)}</ol></section>'
