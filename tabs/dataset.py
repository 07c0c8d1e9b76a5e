"""Dataset: bring data, look at it, clean it, and see what the model will be trained on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gradio as gr

from studio.data.aside import ending, write_aside
from studio.data.files import SUFFIXES
from studio.data.formats import FORMATS
from studio.data.library import Found, add, copy, look, names, open_source, own, remove, settle
from studio.errors import StudioError
from tabs._data import columns, make, quality, rows, seen, versions
from tabs._data.bench import Bench, draft_of, table_of, who
from tabs._downloads import link, place
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, said

TITLE = "Dataset"
ORDER = 20
FIRST = "customer_messages"
SURE = "(name) => confirm('Delete this data set with all its versions? This cannot be undone.') ? name : null"


def build(page: Page, tab: gr.Tab) -> None:
    """The chooser above, then a part for each thing that can be done with the data set."""
    with gr.Row():
        chooser = gr.Dropdown(
            _choices(page),
            value=None,  # set on arrival, which shows it; chosen before that, the answer would overrule the choice
            label="Data set",
            interactive=False,
            scale=3,
            elem_id="dataset-choice",
            info="Samples, and what is yours.",
        )
        with gr.Column(scale=2, min_width=260):
            upload = gr.UploadButton(
                "Upload CSV, JSON, JSONL, Parquet or text",
                file_types=list(SUFFIXES),
                variant="primary",
                elem_id="dataset-upload",
            )
            with gr.Row():
                use = gr.Button("Train on this", elem_id="dataset-use")
                mine = gr.Button("Edit a copy", elem_id="dataset-copy")
                drop = gr.Button("Delete", variant="stop", visible=False, elem_id="dataset-delete")
    about = gr.HTML("", apply_default_css=False, elem_id="dataset-about")
    chosen, changed, only = gr.State(""), gr.State(0), gr.State(())
    with gr.Tabs(elem_id="dataset-parts") as parts:
        bench = Bench(page, chooser, chosen, changed, only, parts)
        for key, title, build_part in (
            ("rows", "Rows", rows.build),
            ("columns", "Columns", columns.build),
            ("seen", "What the model sees", seen.build),
            ("quality", "Quality", quality.build),
            ("versions", "Versions and export", versions.build),
            ("make", "Get and make data", make.build),
        ):
            with gr.Tab(title, id=key, elem_id=f"dataset-part-{key}") as part:
                build_part(bench, part)

    on = functools.partial(_on, page)
    head = [about, drop, mine]
    chooser.change(lambda name: name, chooser, chosen, **HEARD)
    chosen.change(on(_show), chooser, head, **QUIET)
    changed.change(on(_show), chooser, head, **QUIET)
    tab.select(on(_arrive), [chooser, changed, page.looked], [chooser, changed, page.looked], **HEARD)
    # Others bring data too; the list is looked up when it is opened, and never while something else fills it.
    chooser.focus(lambda: gr.Dropdown(_choices(page)), None, chooser, **QUIET)
    upload.upload(on(_bring), upload, chooser, **PRIVATE)
    mine.click(on(_copy), chooser, chooser, **PRIVATE)
    # Multiple: a yes that follows a no at once must not be swallowed because the no is still on its way.
    drop.click(on(_delete), chooser, chooser, js=SURE, trigger_mode="multiple", **PRIVATE)
    use.click(on(_go), chooser, [page.source, page.tabs], **PRIVATE)


def _on(page: Page, handler: Any) -> Any:
    return said(functools.partial(handler, page))


def _arrive(page: Page, name: str | None, changed: int, looked: str) -> Any:
    """Show the data set as it is by now, or the one that another tab sends to: somebody may have changed it."""
    choices = _choices(page)
    known = [value for _, value in choices]
    if looked in known and looked != name:
        return gr.Dropdown(choices, value=looked, interactive=True), gr.skip(), ""
    if name in known:
        return gr.Dropdown(choices), changed + 1, ""
    return gr.Dropdown(choices, value=FIRST, interactive=True), gr.skip(), ""


def _show(page: Page, name: str) -> Any:
    found = look(name, page.workspace)
    yours = found.kind == "yours"
    return [
        _about(page, name, found),
        gr.Button(visible=yours),
        gr.Button(visible=not yours),
    ]


def _aside(page: Page, found: Found) -> str:
    """A link to the rows that could not be read, to be mended and brought again; nothing where there are none."""
    rows = found.train.set_aside
    if not rows:
        return ""
    path = place(page.workspace, f"{found.title} set aside", ending(found.train.name), str(found.train.path))
    if not path.exists():
        write_aside(path, rows, found.train.columns)
    count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    how = "mend them and add them under “Get and make data”"
    return f'<p class="note">{count} could not be read: {link(path, "download")}, {how}.</p>'


def _bring(page: Page, file: str, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - Gradio's way
    path = Path(file)
    try:
        name = add(page.workspace, path, path.name, lambda share: _say(progress, share, path.name))
    finally:
        path.unlink(missing_ok=True)  # Gradio would keep its copy for ever, a deleted data set's as well
    return gr.Dropdown(_choices(page), value=name)


def _say(progress: gr.Progress, share: float, name: str) -> None:
    progress(share, f"Reading {name}")


def _copy(page: Page, name: str, request: gr.Request) -> Any:
    return gr.Dropdown(value=copy(page.workspace, name, who(request)), choices=_choices(page))


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it
        return gr.skip()
    kept = own(page.workspace, name)
    remove(page.workspace, name)
    page.desk.forget(kept)  # last: what is asked for meanwhile must not be opened again
    return gr.Dropdown(_choices(page), value=FIRST)


def _go(page: Page, name: str) -> Any:
    """Take the data set to the Train tab, if it can be trained on and what is seen here is what is saved."""
    open_source(name, page.workspace)
    if look(name, page.workspace).kind == "yours" and (unsaved := draft_of(page, name).head):
        gr.Warning(f"{unsaved} changes are not saved yet: a run trains on the saved version.")
    return name, gr.Tabs(selected="train")


def _choices(page: Page) -> list[tuple[str, str]]:
    return [(f"{each.title} ({each.kind})", each.name) for each in names(page.workspace)]


def _about(page: Page, name: str, found: Found) -> str:
    """Rows, columns, format, version and what was set aside, in a line."""
    train = found.train
    rows = len(table_of(page, name).ids())
    saved = f" ({train.total:,} in the saved version)" if rows != train.total else ""
    parts = [f"{rows:,} rows{saved}", f"{len(train.columns)} columns"]
    if found.validation is not None:
        parts.append(f"{found.validation.total:,} held-out rows of its own")
    try:
        parts.append(f"format: {FORMATS[settle(found).mapping.format].label}")
    except StudioError:
        parts.append("format: please choose it under Columns")
    if found.version:
        parts.append(f"version {found.version[:8]}")
    line = f'<p class="muted">{escaped(found.about)} {escaped(" · ".join(parts))}</p>'
    notes = [*train.notes, *(f"Line {row.line} was left out: {row.reason}" for row in train.set_aside[:5])]
    if len(train.set_aside) > 5:
        notes.append(f"{len(train.set_aside) - 5} more lines were left out.")
    return line + "".join(f'<p class="note">{escaped(note)}</p>' for note in notes) + _aside(page, found)
