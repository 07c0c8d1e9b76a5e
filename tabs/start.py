"""Start: what this is, and one button that shows it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.config import RunConfig
from studio.data.library import open_source
from studio.data.templates import to_messages
from studio.replayer import SPEEDS
from studio.workspace import Workspace
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, judge, said

TITLE = "Start"
ORDER = 10

# What the first run trains: enough steps to see a clear change, few enough for a laptop's CPU.
FIRST_RUN: dict[str, Any] = {
    "model": "starter",
    "dataset": {"source": "customer_messages"},
    "objective": {"name": "next_token", "max_length": 256},
    "method": {"name": "lora", "r": 16, "lora_alpha": 32},
    "training": {"max_steps": 30, "learning_rate": 1e-3, "eval_rows": 32, "answer_rows": 16},
}


def build(page: Page, tab: gr.Tab) -> None:
    """Three lines, the first run's facts, and its button."""
    gr.HTML(_welcome(page.workspace), apply_default_css=False)
    with gr.Row(elem_classes="start-buttons"):
        start = gr.Button(
            "Start training", variant="primary", size="lg", elem_id="start-training", scale=0, min_width=260
        )
        own = gr.Button("Use my own data", size="lg", elem_id="start-own", scale=0, min_width=200)
        worth = gr.Button("Was it worth it?", size="lg", elem_id="start-worth", scale=0, min_width=200, visible=False)
    with (
        gr.Accordion("No time to train? Watch a finished run again", open=False, elem_id="start-again"),
        gr.Row(elem_classes="tools"),
    ):
        speed = gr.Dropdown(
            [(f"{each} × as fast as it was trained", each) for each in SPEEDS], value=SPEEDS[2], label="Speed",
            scale=0, min_width=300, elem_id="start-speed", info="Nothing is trained; what it learnt is yours to try.",
        )  # fmt: skip
        again = gr.Button("Replay", elem_id="start-replay", scale=0, min_width=200)
    status = gr.HTML("", apply_default_css=False)

    def begin() -> Any:
        return page.jobs.submit(RunConfig.parse(FIRST_RUN)), gr.Tabs(selected="curves")

    def replay(speed: float) -> Any:
        return page.jobs.replay(speed), gr.Tabs(selected="curves")

    def tell() -> Any:
        states = page.store.states(limit=50)
        active = sum(state.active for state in states)
        told = f'<p class="muted">{active} run(s) in progress, shown under Curves; a new one waits for its turn.</p>'
        return told if active else "", gr.Button(visible=any(state.saved and state.writes for state in states))

    start.click(said(begin), None, [page.run, page.tabs], **PRIVATE)
    again.click(said(replay), speed, [page.run, page.tabs], **PRIVATE)
    own.click(lambda: gr.Tabs(selected="dataset"), None, page.tabs, **QUIET)
    worth.click(judge, page.run, [page.judged, page.tabs], **HEARD)
    tab.select(tell, None, [status, worth], **QUIET)


def _welcome(workspace: Workspace) -> str:
    opened = open_source(FIRST_RUN["dataset"]["source"], workspace)
    messages = to_messages(opened.train.rows[0], opened.mapping) or []
    said_by = {message["role"]: message["content"] for message in messages}
    rows = len(opened.train.rows)
    kept = len(opened.validation.rows) if opened.validation else 0
    steps = FIRST_RUN["training"]["max_steps"]
    return f"""
<section class="welcome">
  <h2>Teach a language model something new</h2>
  <p>Finetune Studio adapts a language model to your examples, on this machine; your data stays here.</p>
  <p>A first run is ready: a small real model and {rows} customer messages it shall turn into JSON records.</p>
  <p>Press the button, watch it learn for about two minutes, then talk to the model before and after.</p>
  <div class="cards">
    <div class="card"><span class="label">Model</span><strong>SmolLM2-135M-Instruct</strong>
      <span>135 million weights, Apache-2.0. Fetched once (about 93 MB).</span></div>
    <div class="card"><span class="label">Data</span><strong>{escaped(opened.title)}</strong>
      <span>{rows} rows to learn from, {kept} kept back to test it.</span></div>
    <div class="card"><span class="label">Method</span><strong>LoRA, rank 16</strong>
      <span>About 3 % of the weights learn, in {steps} steps. Everything can be changed under Train.</span></div>
  </div>
  <div class="example"><span class="label">One of its rows</span>
    <blockquote>{escaped(said_by.get("user", "").split(chr(10))[-1])}</blockquote><span aria-hidden="true">→</span>
    <code>{escaped(said_by.get("assistant", ""))}</code></div>
</section>"""
