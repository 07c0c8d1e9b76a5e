"""Recipes: ready configs for usual tasks, with the reasons for their values."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.recipes import Recipe, as_yaml, reasons, recipe, recipes
from tabs._live import script
from tabs._shared import HEARD, QUIET, Page, said

INTRODUCTION = (
    "Each is a whole config that runs as it stands on a sample. Put it into Train, swap the data set for your own, and "
    "change what its reasons do not hold for."
)


def build(page: Page, tab: gr.Tab, part: gr.Tab) -> None:
    """A card each."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    shown = gr.HTML(
        [],
        html_template='<div class="recipes"></div>',
        js_on_load=script("recipes"),
        apply_default_css=False,
        elem_id="learn-recipes",
    )
    part.select(lambda: [_card(each) for each in recipes().values()], None, shown, **QUIET)
    shown.click(said(_take), None, [page.wanted, page.source, page.tabs], **HEARD)


def _card(each: Recipe) -> dict[str, Any]:
    return {
        "name": each.name,
        "title": each.title,
        "about": each.about,
        "columns": each.columns,
        "sample": each.sample.title,
        "reasons": reasons(each),
        "then": each.then,
        "yaml": as_yaml(each),
        "command": f"finetune-studio recipes {each.name} > run.yaml",
    }


def _take(event: gr.EventData) -> Any:
    """Into the Train tab's form. Raises ConfigError where there is no such recipe."""
    config = recipe(str(event._data["recipe"])).config
    return config.to_dict(), config.dataset.source, gr.Tabs(selected="train")
