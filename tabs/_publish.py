"""Push an export to the Hugging Face Hub: first what would be sent, then the button that sends it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.child import Progress
from studio.errors import RunError, StudioError
from studio.exporter import made
from studio.publish import Order, Published, own_token, parcel
from studio.rehearsal import size
from tabs import _voices
from tabs._shared import PRIVATE, QUIET, Page, ends, escaped, meter, refusal, said, waits

INTRODUCTION = (
    "An export above, as a repository of your account on the Hugging Face Hub. It is private unless you say otherwise. "
    "Nothing is sent before you have seen the list, and all files appear there at once or not at all."
)
_OWN = "Empty: the one of HF_TOKEN or of “hf auth login” is used. It is sent to the Hub alone and kept nowhere."
_TYPED = "One of yours that may write. It is sent to the Hub alone and kept nowhere."
NOTHING = '<p class="muted">Export an adapter, a merged model or a GGUF file first.</p>'


def build(page: Page, tab: gr.Tab) -> None:
    """Which export goes where; the list of its files; the button that sends them."""
    with gr.Accordion("Publish on the Hugging Face Hub", open=False, elem_id="publish"):
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        with gr.Row():
            chooser = gr.Dropdown([], label="Export", interactive=True, elem_id="publish-export")
            repo = gr.Textbox(
                label="Repository",
                info="owner/name, or a name alone for your own account.",
                max_length=200,
                elem_id="publish-repo",
            )
        with gr.Row():
            public = gr.Checkbox(
                False, label="Public", info="Everybody can see and fetch it.", elem_id="publish-public"
            )
            update = gr.Checkbox(
                False,
                label="Add to a repository that is there",
                info="Files of the same names are replaced.",
                elem_id="publish-update",
            )
        token = gr.Textbox(
            label="Token of the Hub",
            info=_OWN if page.alone else _TYPED,
            type="password",
            max_length=200,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            elem_id="publish-token",
        )
        with gr.Row(elem_classes="tools"):
            show = gr.Button("Show what would be sent", elem_id="publish-show")
            send = gr.Button("Send it", variant="primary", interactive=False, elem_id="publish-send")
            stop = gr.Button("Cancel", visible=False, elem_id="publish-stop")
        told = gr.HTML("", apply_default_css=False, elem_id="publish-told")
    shown = gr.State("")  # of what stands in the list

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    where = [chooser, repo, public, update]
    tab.select(on(_arrive), chooser, chooser, **QUIET)
    gr.on(
        [chooser.input, repo.input, public.input, update.input],
        lambda: (gr.Button(interactive=False), ""),
        None,
        [send, shown],
        **QUIET,
    )
    show.click(on(_show), where, [told, send, shown], **PRIVATE)
    working = [told, show, send, stop, shown, token]
    waits(told, send)
    sending = send.click(
        on(_send), [*where, token, shown], working,
        concurrency_id="publisher", concurrency_limit=1, show_progress="hidden", **PRIVATE,
    )  # fmt: skip
    sending.failure(_rest, None, working, **QUIET)
    ends(told, stop, [sending])
    stop.click(page.publisher.close, None, None, **QUIET)  # also amid an upload, where it has no word to say


def _arrive(page: Page, chosen: str | None) -> gr.Dropdown:
    """What was exported, newest first; what was chosen stays."""
    known = [(f"{each.title} · {each.file} · {size(each.bytes)}", each.name) for each in made(page.workspace)]
    return _voices.picked(known, chosen)


def _order(repo: str, public: bool, update: bool) -> Order:
    return Order(repo, bool(public), bool(update)).checked()


def _stamp(export: str, order: Order) -> str:
    """Of all that was shown."""
    return f"{export} {order.repo} {order.public} {order.update}"


def _show(page: Page, name: str | None, repo: str, public: bool, update: bool) -> tuple[str, gr.Button, str]:
    """The files and where they would go, or why they cannot."""
    if not name:
        return NOTHING, gr.Button(interactive=False), ""
    try:
        order, ready = _order(repo, public, update), parcel(page.workspace, name)
    except StudioError as error:
        return refusal(error), gr.Button(interactive=False), ""
    rows = "".join(
        f'<tr><td class="code">{escaped(file)}</td><td>{size(length)}</td></tr>' for file, length in ready.files
    )
    whose = "public: everybody will see it" if order.public else "private: you alone will see it"
    told = (
        f"<p>These {len(ready.files)} files, {size(ready.bytes)} together, would go to "
        f"<strong>{escaped(order.repo)}</strong>, {whose}.</p>"
        f'<div class="scroll"><table class="history"><tbody>{rows}</tbody></table></div>'
    )
    return told, gr.Button(interactive=True), _stamp(ready.stamp, order)


def _send(
    page: Page, name: str | None, repo: str, public: bool, update: bool, token: str, shown: str
) -> Iterator[tuple[Any, ...]]:
    """How far it is, then where it lies. Raises StudioError."""
    order, ready = _order(repo, public, update), parcel(page.workspace, name or "")
    if shown != _stamp(ready.stamp, order):
        raise RunError("This is not what was shown.", remedy="Look at the list of what would be sent once more.")
    token = token.strip() or (own_token() if page.alone else "")  # that of this machine is not for strangers
    began, stay = time.monotonic(), gr.skip()
    off = gr.Button(interactive=False)
    yield meter(0, "Starting", 0), off, off, gr.Button(visible=True), stay, ""
    with closing(page.publisher.send(ready, order, token)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            if isinstance(part, Progress):
                share = part.done / part.total if part.total else 0.0
                yield meter(share, part.doing, time.monotonic() - began), *[stay] * 5
            else:
                yield _rest(_told(part))


def _told(found: Published) -> str:
    link = f'<a href="{escaped(found.url)}" target="_blank" rel="noopener noreferrer">{escaped(found.repo)}</a>'
    whose = "It is private." if found.private else "It is public."
    notes = "".join(f" {escaped(note)}" for note in found.notes)
    return (
        f'<p class="ready" role="status"><strong>{found.files} files, {size(found.bytes)}, are on the Hub:</strong> '
        f"{link}. {whose}{notes}</p>"
    )


def _rest(told: str = "") -> tuple[Any, ...]:
    """Nothing is sent now; the token is forgotten."""
    return told, gr.Button(interactive=True), gr.Button(interactive=False), gr.Button(visible=False), "", ""
