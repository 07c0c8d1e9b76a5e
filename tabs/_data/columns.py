"""Columns: which one plays which part, and the first rows as the model reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from studio.data.dataset_info import mapping_for, read_info
from studio.data.formats import FORMATS
from studio.data.library import Found, look, set_mapping, settle
from studio.data.templates import Mapping, explain_row, guess, to_messages, to_pair, to_text
from studio.data.views import ALL
from studio.errors import StudioError
from tabs._data.bench import Bench, mapping_of, table_of
from tabs._language import named
from tabs._shared import PRIVATE, QUIET, Page, escaped

MOST_ROLES = max(len(spec.roles) for spec in FORMATS.values())
LOOKED_AT = 200  # rows, until one can be learnt from


def build(bench: Bench, part: gr.Tab) -> None:
    """The format and its parts at the left, the first row as the model reads it at the right."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            shape = gr.Dropdown(
                [(spec.label, key) for key, spec in FORMATS.items()],
                label="Format",
                interactive=True,
                elem_id="dataset-format",
            )
            help_ = gr.HTML("", apply_default_css=False, elem_id="dataset-format-help")
            roles = [
                gr.Dropdown([], interactive=True, visible=False, elem_id=f"dataset-role-{i}") for i in range(MOST_ROLES)
            ]
            with gr.Row(elem_classes="tools"):
                save = gr.Button("Save columns", variant="primary", size="sm", elem_id="dataset-save")
                info = gr.UploadButton(
                    "Take over from dataset_info.json", size="sm", file_types=[".json"], elem_id="dataset-info"
                )
        with gr.Column(scale=3, min_width=340):
            example = gr.HTML("", apply_default_css=False, elem_id="dataset-example")
    everything = [shape, help_, *roles, example, save]
    for event in (bench.chosen.change, bench.changed.change):
        event(bench.on(_show), bench.chooser, everything, **QUIET)
    shape.input(bench.on(_reshape), [bench.chooser, shape], [help_, *roles, example], **QUIET)
    for role in roles:
        role.input(bench.on(_preview), [bench.chooser, shape, *roles], example, **QUIET)
    save.click(bench.on(_keep), [bench.chooser, bench.changed, shape, *roles], bench.changed, **PRIVATE)
    info.upload(bench.on(_take_over), [bench.chooser, info, bench.changed], bench.changed, **PRIVATE)


def _show(page: Page, name: str) -> Any:
    found = look(name, page.workspace)
    mapping = mapping_of(found)
    return [
        mapping.format,
        _help(mapping.format),
        *_roles(found.train.columns, mapping),
        _example(page, name, found, mapping),
        gr.Button(interactive=found.kind == "yours"),
    ]


def _chosen(format_key: str, values: tuple[Any, ...]) -> Mapping:
    spec = FORMATS[format_key]
    return Mapping(format_key, {role.name: column for role, column in zip(spec.roles, values, strict=False) if column})


def _reshape(page: Page, name: str, format_key: str) -> Any:
    """Another format was chosen: offer its roles, filled in where a column's name fits."""
    found = look(name, page.workspace)
    mapping = guess(format_key, found.train)
    return [_help(format_key), *_roles(found.train.columns, mapping), _example(page, name, found, mapping)]


def _preview(page: Page, name: str, format_key: str, *values: Any) -> str:
    return _example(page, name, look(name, page.workspace), _chosen(format_key, values))


def _keep(page: Page, name: str, changed: int, format_key: str, *values: Any) -> int:
    set_mapping(page.workspace, name, _chosen(format_key, values))
    gr.Info("The columns are saved with the data set.")
    return changed + 1


def _take_over(page: Page, name: str, file: str, changed: int) -> int:
    """How LLaMA-Factory was told to read this file."""
    path, train = Path(file), look(name, page.workspace).train
    try:
        mapping, notes = mapping_for(read_info(path), train.name, train.columns)
    finally:
        path.unlink(missing_ok=True)
    set_mapping(page.workspace, name, mapping)
    gr.Info("The columns are taken over. " + escaped(" ".join(notes)))
    return changed + 1


def _help(format_key: str) -> str:
    return f'<p class="muted">{escaped(FORMATS[format_key].help)}</p>'


def _roles(columns: tuple[str, ...], mapping: Mapping) -> list[Any]:
    """The role dropdowns as the format wants them; those it has no use for are hidden."""
    spec = FORMATS[mapping.format]
    updates = []
    for i in range(MOST_ROLES):
        if i >= len(spec.roles):
            updates.append(gr.Dropdown([], value=None, visible=False))
            continue
        role = spec.roles[i]
        choices = named(columns) if role.required else [("(none)", ""), *named(columns)]
        label = role.label if role.required else f"{role.label} (optional)"
        chosen = mapping.columns.get(role.name, "") or None
        updates.append(gr.Dropdown(choices, value=chosen, label=label, visible=True))
    return updates


def _example(page: Page, name: str, found: Found, mapping: Mapping) -> str:
    """The first usable row as a conversation, what is learnt marked; else why there is none."""
    try:
        settle(found, mapping)
    except StudioError as error:
        return f'<p class="fault">{escaped(error.problem)} {escaped(error.remedy)}</p>'
    table = table_of(page, name)
    reason = ""
    for row, cells in table.rows(table.ids(ALL)[:LOOKED_AT]):
        where = table.called(row).capitalize()
        if mapping.format == "text":
            if text := to_text(cells, mapping):
                return _turns(where, [("text", text, "learnt")])
        elif messages := to_messages(cells, mapping):
            turns = [(m["role"], m["content"], "learnt" if m["role"] == "assistant" else "") for m in messages]
            if mapping.format == "preference" and (pair := to_pair(cells, mapping)):
                turns.append(("rejected", pair[2], "rejected"))
            return _turns(where, turns)
        reason = reason or f"{where}: {explain_row(cells, mapping)}."
    return f'<p class="fault">No row can be learnt from. {escaped(reason)} Choose other columns.</p>'


def _turns(where: str, turns: list[tuple[str, str, str]]) -> str:
    told = {"learnt": " – learnt", "rejected": " – the worse answer", "": ""}
    blocks = "".join(
        f'<div class="turn {kind}"><span class="label">{escaped(who)}{told[kind]}</span>'
        f"<pre>{escaped(text[:2000])}</pre></div>"
        for who, text, kind in turns
    )
    return f'<div class="turns"><span class="label">{escaped(where)}, as the model reads it</span>{blocks}</div>'
