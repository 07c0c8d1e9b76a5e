"""Export: what a run learnt leaves the studio as one file, in the form that others can use."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from studio import exporter
from studio.errors import RunError, StudioError
from studio.exporter import Exported, check_room, delete, made, ready
from studio.exports import Export, exports
from studio.rehearsal import size
from studio.settings import facts
from tabs import _downloads, _import, _publish, _voices
from tabs._form import Choice
from tabs._shared import PRIVATE, QUIET, Page, ends, escaped, meter, refusal, run_choices, said, waits

TITLE = "Export"
ORDER = 58

INTRODUCTION = (
    "What a run learnt, as one file to take away: checked before it is offered, whole or not at all. "
    "The file stays on this machine until you delete it here."
)
NOTHING = '<p class="muted">Nothing was exported yet: choose a run and a form above and press “Export”.</p>'
NO_RUN = '<p class="muted">Train a model first: then what it learnt can be taken away here.</p>'
SURE = "(name) => name && confirm('Delete this export?') ? name : null"


def build(page: Page, tab: gr.Tab) -> None:
    """A form, what was made, and a list of all that was."""
    gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
    run = gr.Dropdown([], label="Run", interactive=False, elem_id="export-run")
    form = Choice("Form", exports(), "adapter", "export-form", _about)
    fits = gr.HTML(NO_RUN, apply_default_css=False, elem_id="export-fits")
    with gr.Row(elem_classes="tools"):
        start = gr.Button("Export", variant="primary", interactive=False, elem_id="export-start")
        stop = gr.Button("Cancel", visible=False, elem_id="export-stop")
    told = gr.HTML("", apply_default_css=False, elem_id="export-told")
    with gr.Accordion("What was exported", open=True):
        listed = gr.HTML(NOTHING, apply_default_css=False, elem_id="export-list")
        with gr.Row(elem_classes="tools", visible=False) as tools:
            chooser = gr.Dropdown(
                [], label="Export", interactive=True, scale=4, min_width=280, elem_id="export-chooser"
            )
            drop = gr.Button("Delete", variant="stop", elem_id="export-delete")
    _publish.build(page, tab)
    _import.build(page, tab)

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    def look(run_id: str | None, *raw: Any) -> Any:
        return _look(page, run_id, form.parse(raw))

    def export(run_id: str | None, *raw: Any) -> Iterator[Any]:
        yield from _export(page, run_id, form.parse(raw))

    asked, shelf = [run, *form.components()], [listed, tools, chooser]
    estimate = [fits, start]
    tab.select(on(_arrive), [run, page.run], run, **QUIET).then(look, asked, estimate, **QUIET).then(
        on(_shelf), chooser, shelf, **QUIET
    )
    gr.on(
        [component.change for component in asked],  # pyright: ignore[reportAttributeAccessIssue]
        look,
        asked,
        estimate,
        **QUIET,
        trigger_mode="always_last",
    )
    waits(told, start)
    working = [run, told, start, stop]
    making = start.click(
        said(export), asked, working, concurrency_id="exporter", concurrency_limit=1, show_progress="hidden", **PRIVATE
    )
    making.failure(_rest, None, working, **QUIET)
    making.then(look, asked, estimate, **QUIET).then(on(_shelf), chooser, shelf, **QUIET)
    ends(told, stop, [making])
    stop.click(page.exporter.close, None, None, **QUIET)  # also amid loading, where it has no word to say
    drop.click(on(_delete), chooser, shelf, js=SURE, trigger_mode="multiple", **PRIVATE)


# -- the form ------------------------------------------------------------------------------------------


def _about(cls: type[Export]) -> str:
    """The first paragraph of what a form is."""
    first = (cls.__doc__ or "").partition("\n\n")[0]
    return f'<p class="muted">{escaped(" ".join(first.split()))}</p>'


def _arrive(page: Page, chosen: str | None, run: str) -> Any:
    """Runs that are at an end; at first the one that this browser looks at."""
    states = [state for state in page.store.states(also=[chosen, run]) if not state.active]
    known = run_choices(states)
    return gr.Dropdown(known, value=_voices.pick(known, chosen, run), interactive=bool(known))


def _look(page: Page, run: str | None, values: dict[str, Any]) -> tuple[str, Any]:
    """What it takes, or why it cannot be made; whether it can be begun."""
    if not run:
        return NO_RUN, gr.Button(interactive=False)
    try:
        export = exporter.parse(values)
        taken, free = check_room(page.workspace, export, ready(page.workspace, run, export))
    except StudioError as error:
        return refusal(error), gr.Button(interactive=False)
    told = f"Takes {size(taken)} of disk at most while it is made; {size(free)} may be taken."
    return f'<p class="muted">{told}</p>', gr.Button(interactive=True)


# -- making one ----------------------------------------------------------------------------------------


def _export(page: Page, run: str | None, values: dict[str, Any]) -> Iterator[Any]:
    """How far it is, then what was made and what was checked. Raises StudioError."""
    if not run:
        raise RunError("No run is chosen.", remedy="Choose one from the list.")
    stay, doing, began = gr.skip(), "", time.monotonic()
    yield gr.Dropdown(interactive=False), meter(0, "Starting", 0), gr.Button(interactive=False), gr.Button(visible=True)
    with closing(page.exporter.export(run, exporter.parse(values))) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            if isinstance(part, Exported):
                yield _rest(_told(page, part))
            else:
                if part.doing != doing:
                    doing, began = part.doing, time.monotonic()  # its own time tells what is left of it
                share = part.done / part.total if part.total else 0.0
                yield stay, meter(share, part.doing, time.monotonic() - began), stay, stay


def _rest(told: str = "") -> tuple[Any, ...]:
    """Nothing is made now."""
    return gr.Dropdown(interactive=True), told, gr.Button(interactive=True), gr.Button(visible=False)


def _told(page: Page, found: Exported) -> str:
    checked = "".join(f"<p>{escaped(each)}</p>" for each in found.checked)
    link = _downloads.kept_link(found.path(page.workspace), f"Download {found.file}")
    return f'<div class="ready"><p><strong>Made, {size(found.bytes)}.</strong> {link}</p>{checked}</div>'


# -- what was made -------------------------------------------------------------------------------------


def _shelf(page: Page, chosen: str | None) -> tuple[Any, ...]:
    """All exports as a table, and a chooser of one to delete."""
    found = made(page.workspace)
    choices = [(f"{_form(each)} · {each.title} · {_when(each)}", each.name) for each in found]
    table = _table(page, found) if found else NOTHING
    return table, gr.Row(visible=bool(found)), _voices.picked(choices, chosen)


def _table(page: Page, found: Sequence[Exported]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Form", "File", "Run", "Made", "Checked"))
    return (
        f'<div class="scroll"><table class="history exports"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_row(page, each) for each in found)}</tbody></table></div>"
    )


def _row(page: Page, each: Exported) -> str:
    link = _downloads.kept_link(each.path(page.workspace), f"Download ({size(each.bytes)})")
    checked = "".join(f"<p>{escaped(sentence)}</p>" for sentence in each.checked)
    details = (
        f"<details><summary>What was checked</summary>{checked}"
        f'<p class="muted">SHA-256 <code>{escaped(each.sha256)}</code>, made in {each.seconds:,.0f} s</p></details>'
    )
    return (
        f'<tr><th scope="row">{escaped(_form(each))}</th><td>{link}</td><td>{escaped(each.title)}</td>'
        f"<td>{_when(each)}</td><td>{details}</td></tr>"
    )


def _form(each: Exported) -> str:
    """A form as people call it, with the settings that matter."""
    key = str(each.export.get("name", ""))
    cls = exports().get(key)
    if cls is None:
        return key
    told = [str(each.export[fact.name]) for fact in facts(cls) if fact.kind == "choice" and fact.name in each.export]
    return ", ".join([cls.title, *told])


def _when(each: Exported) -> str:
    day, clock = each.name[:8], each.name[9:13]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]}"


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it
        return [gr.skip()] * 3
    delete(page.workspace, name)
    return _shelf(page, None)
