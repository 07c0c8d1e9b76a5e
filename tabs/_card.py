"""The efficiency card of a model or a run: what it is made of, what it costs, and one pass of it measured."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.card import Card, card_of, lines
from studio.errors import StudioError
from tabs import _downloads, _voices
from tabs._shared import PRIVATE, QUIET, Page, ends, escaped, meter, refusal, said, waits

INTRODUCTION = (
    "What a model is made of and what it costs, before it is used: known at once for every model on this machine. "
    "How long one pass takes is measured, while nothing trains."
)


def build(page: Page, tab: gr.Tab) -> None:
    """A model, its card and a button that measures."""
    with gr.Accordion("What a model is made of, and what it costs", open=False, elem_id="card"):
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        with gr.Row(elem_classes="tools"):
            chooser = gr.Dropdown([], label="Model", interactive=False, scale=4, min_width=280, elem_id="card-model")
            start = gr.Button("Measure a pass", elem_id="card-start")
            stop = gr.Button("Cancel", visible=False, elem_id="card-stop")
        told = gr.HTML("", apply_default_css=False, elem_id="card-told")
        shown = gr.HTML("", apply_default_css=False, elem_id="card-lines")

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    working = [chooser, told, start, stop, shown]
    tab.select(on(_arrive), [chooser, page.run], [chooser, shown], **QUIET)
    chooser.input(on(_look), chooser, shown, **QUIET)
    waits(told, start)
    measuring = start.click(
        on(_measure), chooser, working, concurrency_id="bencher", concurrency_limit=1, show_progress="hidden", **PRIVATE
    )
    measuring.failure(_rest, None, working, **QUIET)
    ends(told, stop, [measuring])
    stop.click(page.carder.close, None, None, **QUIET)  # also amid loading, where it has no word to say


def _arrive(page: Page, chosen: str | None, run: str) -> Any:
    """Models as they are now; at first that of the run this browser looks at. One that was measured stays."""
    known = _voices.voice_choices(page)
    now = _voices.pick(known, chosen, _voices.key_of(run=run))
    return gr.Dropdown(known, value=now, interactive=True), gr.skip() if now == chosen else _look(page, now)


def _look(page: Page, chosen: str | None) -> str:
    """The card, or why there is none."""
    try:
        voice = _voices.voice_of(chosen)
        return _shown(page, card_of(page.workspace, voice.model, voice.run), _voices.name_of(page, voice))
    except StudioError as error:
        return refusal(error)


def _shown(page: Page, card: Card, title: str) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td><td class="muted">{escaped(about)}</td></tr>'
        for name, value, about in lines(card)
    )
    told = json.dumps(card.plain(), indent=1)
    path = _downloads.place(page.workspace, f"card-{title}", ".json", told)
    path.write_text(told, encoding="utf-8")
    link = _downloads.link(path, "Save as JSON")
    return f'<div class="scroll"><table class="history"><tbody>{rows}</tbody></table></div><p class="muted">{link}</p>'


def _measure(page: Page, chosen: str | None) -> Iterator[Any]:
    """How far it is, then the card with its pass. Raises StudioError."""
    voice = _voices.voice_of(chosen)
    held, stay, began = gr.Dropdown(interactive=False), gr.skip(), time.monotonic()
    yield held, meter(0, "Starting", 0), gr.Button(interactive=False), gr.Button(visible=True), stay
    with closing(page.carder.measure(voice.model, voice.run)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            if isinstance(part, Card):
                yield *_rest()[:-1], _shown(page, part, _voices.name_of(page, voice))
            else:
                share = part.done / part.total if part.total else 0.0
                yield stay, meter(share, part.doing, time.monotonic() - began), stay, stay, stay


def _rest() -> tuple[Any, ...]:
    """Nothing is measured now."""
    return gr.Dropdown(interactive=True), "", gr.Button(interactive=True), gr.Button(visible=False), gr.skip()
