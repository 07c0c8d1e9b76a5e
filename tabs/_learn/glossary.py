"""What words mean, and what each setting does: searched in the browser."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.glossary import settings, terms
from tabs._live import script
from tabs._shared import QUIET, Page


def build(page: Page, tab: gr.Tab, part: gr.Tab) -> None:
    """One list with a box to search it; sent when it is first opened."""
    shown = gr.HTML(
        {},
        html_template='<div class="glossary"></div>',
        js_on_load=script("glossary"),
        apply_default_css=False,
        elem_id="learn-glossary",
    )
    part.select(_entries, None, shown, **QUIET)


def _entries() -> dict[str, Any]:
    return {"terms": [asdict(each) for each in terms()], "settings": [asdict(each) for each in settings()]}
