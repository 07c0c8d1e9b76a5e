"""Ask in SQL: one SELECT over the rows as they are now, edits included."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.data.collection import find
from tabs._data.bench import CELL_LETTERS, PAGE_ROWS, Bench, handed, shown_cell, table_of
from tabs._shared import HEARD, PRIVATE, QUIET, Page


def build(bench: Bench) -> None:
    """The query, its answer, and a way from there to the rows themselves."""
    query = gr.Code(
        "SELECT * FROM data LIMIT 20",
        language="sql",
        label="The table is called data; row is the row's number. Nothing can be changed from here.",
        elem_id="sql-query",
        lines=3,
    )
    with gr.Row(elem_classes="tools"):
        ask = gr.Button("Run the query", size="sm", variant="primary", elem_id="sql-run")
        show = gr.Button("Show these rows in the table", size="sm", elem_id="sql-show", visible=False)
    answer = gr.Dataframe(
        interactive=False, wrap=True, show_label=False, visible=False, elem_id="sql-answer", max_height=360
    )
    said = gr.HTML("", apply_default_css=False, elem_id="sql-said")
    rows = gr.State(None)
    ask.click(bench.on(_sql), [bench.chooser, query], [answer, said, rows, show], **PRIVATE)
    show.click(lambda rows: rows, rows, bench.only, **HEARD)
    nothing = (gr.Dataframe(visible=False), "", None, gr.Button(visible=False))
    bench.chosen.change(lambda: nothing, None, [answer, said, rows, show], **QUIET)


def _sql(page: Page, name: str, query: str) -> Any:
    if kept := find(page.workspace, name):
        lies = page.desk.draft(kept).lies()
    else:
        path = table_of(page, name).path
        lies = path, path.parent, 0
    answer = page.querier.ask(*lies, query)
    rows = [[shown_cell(cell, CELL_LETTERS)[0] for cell in row] for row in answer.rows[:PAGE_ROWS]]
    at = next((i for i, column in enumerate(answer.columns) if column == "row"), None)
    cells = [row[at] for row in answer.rows] if at is not None else []
    found = [cell for cell in cells if isinstance(cell, int) and 0 < cell < 2**62]
    named = handed(name, table_of(page, name), (number - 1 for number in found)) if found else None
    shown = f"{len(answer.rows):,} rows{' and more' if answer.more else ''}"
    note = f", the first {PAGE_ROWS} are shown" if len(answer.rows) > PAGE_ROWS else ""
    value = {"headers": list(answer.columns), "data": rows}
    return (
        gr.Dataframe(value, visible=True),
        f'<p class="muted">{shown}{note}.</p>',
        named,
        gr.Button(visible=named is not None),
    )
