"""Dataset: choose or bring data, look at it, and say which column plays which part."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from studio.data.library import Found, add, look, names, open_source, remove, set_mapping, settle
from studio.data.templates import FORMATS, Mapping, guess, to_messages, to_text
from studio.errors import StudioError
from tabs._shared import PRIVATE, QUIET, Page, escaped, said

TITLE = "Dataset"
ORDER = 20
PAGE_ROWS = 50
CELL_LETTERS = 300
MOST_ROLES = max(len(spec.roles) for spec in FORMATS.values())
FILE_TYPES = [".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt"]


def build(page: Page, tab: gr.Tab) -> None:
    """Chooser, rows, columns, and the first row as the model will read it."""
    with gr.Row():
        chooser = gr.Dropdown(
            _choices(page),
            value="customer_messages",
            label="Data set",
            interactive=True,
            scale=3,
            elem_id="dataset-choice",
            info="Samples, and what was uploaded here.",
        )
        with gr.Column(scale=2, min_width=260):
            upload = gr.UploadButton(
                "Upload CSV, JSON, JSONL, Parquet or text",
                file_types=FILE_TYPES,
                variant="primary",
                elem_id="dataset-upload",
            )
            with gr.Row():
                use = gr.Button("Train on this", elem_id="dataset-use")
                drop = gr.Button("Delete", variant="stop", visible=False, elem_id="dataset-delete")
    about = gr.HTML("", apply_default_css=False, elem_id="dataset-about")
    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            table = gr.Dataframe(interactive=False, wrap=True, show_label=False, elem_id="dataset-rows", max_height=520)
            with gr.Row():
                back = gr.Button("← Earlier rows", size="sm")
                place = gr.HTML("", apply_default_css=False)
                forth = gr.Button("Later rows →", size="sm")
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### Columns")
            shape = gr.Dropdown(
                [(spec.label, key) for key, spec in FORMATS.items()],
                label="Format",
                interactive=True,
                elem_id="dataset-format",
            )
            roles = [
                gr.Dropdown([], interactive=True, visible=False, elem_id=f"dataset-role-{i}") for i in range(MOST_ROLES)
            ]
            example = gr.HTML("", apply_default_css=False, elem_id="dataset-example")
            save = gr.Button("Save columns", size="sm", elem_id="dataset-save")
    first = gr.State(0)

    def on(handler: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
        return said(functools.partial(handler, page, *fixed))

    everything = [about, table, first, place, shape, *roles, example, drop, save]
    chooser.change(on(_show), chooser, everything, **QUIET)
    tab.select(on(_show), chooser, everything, **QUIET)
    # Others upload too; the list is looked up when it is opened, and never while something else fills it.
    chooser.focus(lambda: gr.Dropdown(_choices(page)), None, chooser, **QUIET)
    upload.upload(on(_bring), upload, chooser, **PRIVATE)
    drop.click(on(_delete), chooser, chooser, **PRIVATE)
    back.click(on(_turn_page, -PAGE_ROWS), [chooser, first], [table, first, place], **QUIET)
    forth.click(on(_turn_page, PAGE_ROWS), [chooser, first], [table, first, place], **QUIET)
    shape.input(on(_reshape), [chooser, shape], [*roles, example], **QUIET)
    for role in roles:
        role.input(on(_preview), [chooser, shape, *roles], example, **QUIET)
    save.click(on(_keep), [chooser, shape, *roles], about, **PRIVATE)
    use.click(on(_go), [chooser, shape, *roles], [page.source, page.tabs], **PRIVATE)


def _show(page: Page, name: str) -> Any:
    """Everything about a data set, its first rows included."""
    found = look(name, page.workspace)
    mapping = _mapping(found)
    own = found.kind == "upload"
    return [
        _about(found),
        *_rows_at(page, name, 0),
        mapping.format,
        *_role_updates(found.train.columns, mapping),
        _example(found, mapping),
        gr.Button(visible=own),
        gr.Button(interactive=own),
    ]


def _rows_at(page: Page, name: str, at: int) -> Any:
    rows = look(name, page.workspace).train
    at = max(0, min(at, (len(rows.rows) - 1) // PAGE_ROWS * PAGE_ROWS))
    some = rows.rows[at : at + PAGE_ROWS]
    cells = [[at + i + 1, *(_cell(row.get(column)) for column in rows.columns)] for i, row in enumerate(some)]
    widths: list[str | int] = ["64px", *([f"{90 // len(rows.columns)}%"] * len(rows.columns))]
    value = {"headers": ["row", *rows.columns], "data": cells}
    return (
        gr.Dataframe(value, column_widths=widths),
        at,
        f'<p class="muted">rows {at + 1}–{at + len(some)} of {len(rows.rows)}</p>',
    )


def _turn_page(page: Page, rows: int, name: str, at: int) -> Any:
    return _rows_at(page, name, at + rows)


def _chosen(format_key: str, values: tuple[Any, ...]) -> Mapping:
    spec = FORMATS[format_key]
    return Mapping(format_key, {role.name: column for role, column in zip(spec.roles, values, strict=False) if column})


def _reshape(page: Page, name: str, format_key: str) -> Any:
    """Another format was chosen: offer its roles, filled in where a column's name fits."""
    found = look(name, page.workspace)
    mapping = guess(format_key, found.train)
    return [*_role_updates(found.train.columns, mapping), _example(found, mapping)]


def _preview(page: Page, name: str, format_key: str, *values: Any) -> str:
    return _example(look(name, page.workspace), _chosen(format_key, values))


def _keep(page: Page, name: str, format_key: str, *values: Any) -> Any:
    set_mapping(page.workspace, name, _chosen(format_key, values))
    gr.Info("The columns are saved with the data set.")
    return _about(look(name, page.workspace))


def _bring(page: Page, file: str) -> Any:
    path = Path(file)
    try:
        name = add(page.workspace, path, path.name)  # before the list is made, which shall hold it
    finally:
        path.unlink(missing_ok=True)  # Gradio would keep its copy for ever, a deleted data set's as well
    return gr.Dropdown(_choices(page), value=name)


def _delete(page: Page, name: str) -> Any:
    remove(page.workspace, name)
    return gr.Dropdown(_choices(page), value="customer_messages")


def _go(page: Page, name: str, format_key: str, *values: Any) -> Any:
    """Save what was chosen, if it can be changed at all, and take the data set to the Train tab."""
    stored = look(name, page.workspace).mapping
    wanted = _chosen(format_key, values)
    if wanted != stored:
        set_mapping(page.workspace, name, wanted)
    open_source(name, page.workspace)  # refuses what cannot be trained on, here rather than there
    return name, gr.Tabs(selected="train")


def _choices(page: Page) -> list[tuple[str, str]]:
    return [(f"{each.title} ({each.kind})", each.name) for each in names(page.workspace)]


def _cell(value: Any) -> str:
    text = (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    )
    return text if len(text) <= CELL_LETTERS else text[:CELL_LETTERS] + " …"


def _role_updates(columns: tuple[str, ...], mapping: Mapping) -> list[Any]:
    """The role dropdowns as the format wants them; those it has no use for are hidden."""
    spec = FORMATS[mapping.format]
    updates = []
    for i in range(MOST_ROLES):
        if i >= len(spec.roles):
            updates.append(gr.Dropdown([], value=None, visible=False))
            continue
        role = spec.roles[i]
        choices = list(columns) if role.required else [("(none)", ""), *((column, column) for column in columns)]
        label = role.label if role.required else f"{role.label} (optional)"
        updates.append(
            gr.Dropdown(choices, value=mapping.columns.get(role.name, "") or None, label=label, visible=True)
        )
    return updates


def _about(found: Found) -> str:
    """Rows, columns, format and what was set aside, in a line."""
    train = found.train
    parts = [f"{len(train.rows):,} rows", f"{len(train.columns)} columns"]
    if found.validation is not None:
        parts.append(f"{len(found.validation.rows):,} held-out rows of its own")
    try:
        parts.append(f"format: {FORMATS[settle(found).mapping.format].label}")
    except StudioError:
        parts.append("format: please choose it under Columns")
    line = f'<p class="muted">{escaped(found.about)} {escaped(" · ".join(parts))}</p>'
    notes = [*train.notes, *(f"Line {row.line} was left out: {row.reason}" for row in train.set_aside[:5])]
    if len(train.set_aside) > 5:
        notes.append(f"{len(train.set_aside) - 5} more lines were left out.")
    return line + "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)


def _mapping(found: Found) -> Mapping:
    """The stored mapping, else the detected one, else an empty one for the person to fill in."""
    try:
        return settle(found).mapping
    except StudioError:
        return Mapping("instruction", {})


def _example(found: Found, mapping: Mapping) -> str:
    """The first usable row as a conversation, what is learnt marked."""
    try:
        rows = settle(found, mapping).train.rows
    except StudioError as error:
        return f'<p class="fault">{escaped(error.problem)} {escaped(error.remedy)}</p>'
    for row in rows[:200]:
        if mapping.format == "text":
            return _turns([("text", to_text(row, mapping)[:2000], True)])
        if messages := to_messages(row, mapping):
            return _turns([(m["role"], m["content"][:2000], m["role"] == "assistant") for m in messages])
    return '<p class="fault">No row has an answer to learn from. Choose other columns.</p>'


def _turns(turns: list[tuple[str, str, bool]]) -> str:
    blocks = "".join(
        f'<div class="turn{" learnt" if learnt else ""}"><span class="label">{escaped(who)}'
        f"{' – learnt' if learnt else ''}</span><pre>{escaped(text)}</pre></div>"
        for who, text, learnt in turns
    )
    return f'<div class="turns"><span class="label">The first row, as the model reads it</span>{blocks}</div>'
