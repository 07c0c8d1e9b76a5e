"""Learn: an exercise that notices what is done, LoRA taken apart, good practice, ready configs, and what words mean."""

from __future__ import annotations

import gradio as gr

from tabs._learn import exercise, glossary, practice, ready, scratch
from tabs._shared import Page

TITLE = "Learn"
ORDER = 15

PARTS = (
    ("exercise", "Exercise", exercise.build),
    ("scratch", "LoRA from scratch", scratch.build),
    ("practice", "Good practice", practice.build),
    ("recipes", "Recipes", ready.build),
    ("glossary", "Glossary", glossary.build),
)


def build(page: Page, tab: gr.Tab) -> None:
    """A strip of parts; each looks things up when it is opened."""
    with gr.Tabs(elem_id="learn-parts"):
        for key, title, build_part in PARTS:
            with gr.Tab(title, id=key, elem_id=f"learn-part-{key}") as part:
                build_part(page, tab, part)
