"""Quick tidy: what rules say of a prompt, each with its reason and a switch, and what the prompt would be then."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.prompt import Example, Prompt
from studio.tidy import suggestions, tidied
from tabs._live import script
from tabs._shared import HEARD, QUIET, said

FINE = "Nothing to tidy: the rules find nothing that this prompt lacks."
Read = Callable[..., tuple[Prompt, list[Example]]]  # the form's values → its prompt, and rows to judge it by


def build(read: Read, inputs: list[Component], system: gr.Textbox, template: gr.Textbox) -> None:
    """A button, and under it the suggestions with the prompt before and after."""
    with gr.Row(elem_classes="tools"):
        look = gr.Button("Quick tidy", elem_id="prompts-tidy")
    panel = gr.HTML(
        {},
        html_template='<div class="tidy"></div>',
        js_on_load=script("along", "diff", "tidy"),
        apply_default_css=False,
        elem_id="prompts-suggestions",
    )
    look.click(said(functools.partial(_look, read)), inputs, panel, **HEARD)
    panel.input(said(functools.partial(_switched, read)), inputs, panel, trigger_mode="always_last", **HEARD)
    panel.submit(said(functools.partial(_apply, read)), inputs, [system, template, panel], **HEARD)
    panel.click(_undo, None, [system, template, panel], **QUIET)


def _look(read: Read, *raw: Any) -> dict[str, Any]:
    """All suggestions, switched on. Raises StudioError."""
    prompt, examples = read(*raw)
    found = suggestions(prompt, examples)
    return _shown(prompt, examples, [each.key for each in found])


def _shown(prompt: Prompt, examples: list[Example], on: list[str]) -> dict[str, Any]:
    """As the script draws it."""
    found = suggestions(prompt, examples)
    after = tidied(prompt, examples, on)
    return {
        "items": [{"key": each.key, "title": each.title, "why": each.why, "on": each.key in on} for each in found],
        "before": _texts(prompt),
        "after": _texts(after),
        "nothing": "" if found else FINE,
    }


def _texts(prompt: Prompt) -> dict[str, str]:
    return {"system": prompt.system, "template": prompt.template}


def _switched(read: Read, event: gr.EventData, *raw: Any) -> dict[str, Any]:
    """A switch was turned: the prompt as it would be now. Raises StudioError."""
    return _shown(*read(*raw), [str(each) for each in event._data["on"]])


def _apply(read: Read, event: gr.EventData, *raw: Any) -> Any:
    """What is switched on into the form; the panel keeps what was there."""
    prompt, examples = read(*raw)
    after = tidied(prompt, examples, [str(each) for each in event._data["on"]])
    return after.system, after.template, {"undo": _texts(prompt)}


def _undo(event: gr.EventData) -> Any:
    before = event._data["undo"]
    return str(before["system"]), str(before["template"]), {}
