"""Find and replace in the rows that are shown, with a preview."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.data import changes
from studio.data.table import Table
from studio.data.views import ALL
from tabs._data.bench import Bench, Looking, compared, draft_of, same_version, table_of, who
from tabs._language import named
from tabs._shared import PRIVATE, QUIET, Page

PREVIEWED = 8


def build(bench: Bench, looking: gr.State) -> None:
    """What to find, what to put there, and in which columns."""
    with gr.Row(elem_classes="tools"):
        find = gr.Textbox(label="Find", elem_id="replace-find")
        by = gr.Textbox(label="Replace by", elem_id="replace-by")
        columns = gr.Dropdown(
            [], multiselect=True, label="In these columns", elem_id="replace-columns", info="None: all."
        )
        pattern = gr.Checkbox(False, label="It is a pattern (regular expression; \\1 is its first group)")
    with gr.Row(elem_classes="tools"):
        look = gr.Button("Preview", size="sm", elem_id="replace-preview")
        go = gr.Button("Replace", size="sm", variant="primary", elem_id="replace-go")
    shown = gr.HTML(
        '<p class="muted">Works on the rows that the filter above shows; Undo takes it back.</p>',
        apply_default_css=False,
        elem_id="replace-shown",
    )
    asked = [bench.chooser, looking, find, by, columns, pattern]
    bench.chosen.change(
        bench.on(lambda page, name: gr.Dropdown(named(table_of(page, name).columns), value=[])),
        bench.chooser,
        columns,
        **QUIET,
    )
    look.click(bench.on(_replace_preview), asked, shown, **PRIVATE)
    go.click(bench.on(_replace), [*asked, bench.changed], [bench.changed, shown], **PRIVATE)


@dataclass(frozen=True)
class _Wanted:
    """A replacement as the form describes it."""

    name: str
    looking: Looking
    find: str
    by: str
    columns: list[str]
    pattern: bool

    def change(self, table: Table) -> changes.Change:
        view = self.looking.view if self.looking.name == self.name else ALL
        if view.only is not None:
            same_version(table, self.looking.version)
        ids = table.ids(view)
        return changes.replace(table, ids, self.columns or table.columns, self.find, self.by, pattern=self.pattern)


def _replace_preview(page: Page, *form: Any) -> str:
    table = table_of(page, form[0])
    change = _Wanted(*form).change(table)
    shown = [
        (f"{table.called(row)}, {column}", old, new)
        for row, column, old, new in changes.cells(change, table.columns, PREVIEWED)
    ]
    return f'<p class="note">{change.rows:,} row{"s" * (change.rows > 1)} would change.</p>{compared(shown)}'


def _replace(
    page: Page,
    name: str,
    looking: Looking,
    find: str,
    by: str,
    columns: list[str],
    pattern: bool,
    changed: int,
    request: gr.Request,
) -> Any:
    wanted = _Wanted(name, looking, find, by, columns, pattern)
    change = draft_of(page, name).do(wanted.change, who(request))
    rows = f"{change.rows:,} row{'s were' if change.rows > 1 else ' was'}"
    return changed + 1, f'<p class="ready">{rows} changed. Undo takes it back.</p>'
