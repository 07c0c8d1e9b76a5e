"""Bring an adapter or a model from elsewhere: files, a folder of this machine, or a name on the Hub."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from studio.child import Progress
from studio.config import RunConfig
from studio.errors import ConfigError
from studio.importer import Report, lines
from tabs._shared import PRIVATE, QUIET, Page, ends, escaped, meter, model_choices, said, waits

INTRODUCTION = (
    "An adapter that PEFT saved, or one of another studio, becomes a run like those trained here: to chat with, to "
    "evaluate, to export. It is put onto its base model first, and refused where the two do not belong together. A "
    "whole model becomes one to choose from. Weights must be safetensors; nothing that was brought is ever run."
)
FILES = "A .zip, or an adapter's adapter_config.json with its adapter_model.safetensors"
_AS_IT_SAYS = "As the adapter says"


def build(page: Page, tab: gr.Tab) -> None:
    """What to bring, the base it belongs to, and what was found."""
    with gr.Accordion("Import an adapter or a model", open=False, elem_id="import"):
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        files = gr.File(
            label=FILES,
            file_count="multiple",
            file_types=[".zip", ".json", ".safetensors"],
            height=190,
            elem_id="import-files",
        )
        with gr.Row():
            folder = gr.Textbox(
                label="Or a folder of this machine",
                info="With the files of an adapter or of a model.",
                max_length=1000,
                visible=page.alone,
                elem_id="import-folder",
            )
            hub = gr.Textbox(
                label="Or an adapter on the Hub",
                info="Such as owner/name. Whole models of the Hub need no import: choose them by their names.",
                max_length=200,
                elem_id="import-hub",
            )
        with gr.Row(elem_classes="tools"):
            base = gr.Dropdown(
                [(_AS_IT_SAYS, "")],
                value="",
                allow_custom_value=True,
                label="Base model of an adapter",
                info="That it was trained on: one of these, or a name on the Hub.",
                scale=4,
                min_width=280,
                elem_id="import-base",
            )
            start = gr.Button("Import", variant="primary", elem_id="import-start")
            stop = gr.Button("Cancel", visible=False, elem_id="import-stop")
        told = gr.HTML("", apply_default_css=False, elem_id="import-told")
        with gr.Row(elem_classes="tools"):
            chat = gr.Button("Chat with it", visible=False, elem_id="import-chat")
            train = gr.Button("Train on it", visible=False, elem_id="import-train")
    brought = gr.State("")  # the run, or the model as a config names it

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    tab.select(on(_arrive), None, base, **QUIET)
    working = [told, start, stop, brought, chat, train, base]
    waits(told, start)
    running = start.click(
        on(_bring), [files, folder, hub, base], working,
        concurrency_id="importer", concurrency_limit=1, show_progress="hidden", **PRIVATE,
    )  # fmt: skip
    running.failure(_rest, None, working, **QUIET)
    ends(told, stop, [running])
    stop.click(page.importer.close, None, None, **QUIET)  # also amid loading, where it has no word to say
    chat.click(lambda run: (run, gr.Tabs(selected="chat")), brought, [page.run, page.tabs], **QUIET)
    train.click(on(_wanted), [brought, page.source], [page.wanted, page.tabs], **PRIVATE)


def _arrive(page: Page) -> gr.Dropdown:
    return gr.Dropdown([(_AS_IT_SAYS, ""), *model_choices(page.workspace)])


def _bring(page: Page, files: list[str] | None, folder: str, hub: str, base: str | None) -> Iterator[tuple[Any, ...]]:
    """How far it is, then what was found. Raises StudioError."""
    sources, hub, base = _sources(page, files, folder, hub), hub.strip(), (base or "").strip()
    _check_base(page, base)
    began, stay = time.monotonic(), gr.skip()
    hidden = gr.Button(visible=False)
    yield meter(0, "Starting", 0), gr.Button(interactive=False), gr.Button(visible=True), "", hidden, hidden, stay
    with closing(page.importer.bring(sources, hub=hub, base=base)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            if isinstance(part, Progress):
                share = part.done / part.total if part.total else 0.0
                yield meter(share, part.doing, time.monotonic() - began), *[stay] * 6
            else:
                yield _found(page, part)


def _sources(page: Page, files: list[str] | None, folder: str, hub: str) -> list[Path]:
    """Raises ConfigError where nothing is named, more than one thing, or a folder that a stranger may not name."""
    named = [bool(files), bool(folder.strip()), bool(hub.strip())]
    if sum(named) != 1:
        what = "Nothing to import is named." if not any(named) else "More than one thing to import is named."
        raise ConfigError(what, remedy="Choose files, or a folder, or a name on the Hub.")
    if folder.strip() and not page.alone:
        raise ConfigError(
            "This studio is open to others, and any folder of the machine that runs it could be named.",
            remedy="Upload the files, or import from the command line.",
        )
    return [Path(os.path.expanduser(each)) for each in files or [folder.strip()] if each]


def _check_base(page: Page, base: str) -> None:
    """Raises ConfigError for a folder that is none of the models to choose, where strangers reach the page."""
    known = {value for _, value in model_choices(page.workspace)}
    if base and not page.alone and base not in known and (base.startswith((".", "~")) or os.path.exists(base)):
        raise ConfigError("That base is a folder of the machine that runs this studio.", remedy="Choose another one.")


def _found(page: Page, report: Report) -> tuple[Any, ...]:
    """The report as a table, and what can be done next."""
    what = "It is a run now" if report.kind == "adapter" else "It is among the models to choose now"
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>' for name, value in lines(report)
    )
    told = (
        f'<p class="ready" role="status"><strong>{escaped(report.title)}</strong> was imported. {what}.</p>'
        f'<div class="scroll"><table class="history"><tbody>{rows}</tbody></table></div>'
    )
    adapter = report.kind == "adapter"
    return (
        told,
        gr.Button(interactive=True),
        gr.Button(visible=False),
        report.key,
        gr.Button(visible=adapter and report.writes),
        gr.Button(visible=not adapter),
        _arrive(page),
    )


def _rest() -> tuple[Any, ...]:
    """Nothing is imported now."""
    hidden = gr.Button(visible=False)
    return "", gr.Button(interactive=True), hidden, "", hidden, hidden, gr.skip()


def _wanted(page: Page, model: str, source: str) -> tuple[dict[str, Any], gr.Tabs]:
    """To the Train tab with that model."""
    writes = next((each for _, each in model_choices(page.workspace) if each == model), None)
    if writes is None:
        raise ConfigError("The model is not there any more.", remedy="Import it again.")
    data = {"dataset": {"source": source}} if source else {}
    return RunConfig.parse({"model": model, **data}).to_dict(), gr.Tabs(selected="train")
