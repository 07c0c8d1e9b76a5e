"""The editor: page, filter, sort, edit, undo."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from studio.data import changes
from studio.data.table import Table
from studio.data.views import OPERATORS, Condition, View
from studio.errors import DatasetError
from tabs._data import asking, replacing
from tabs._data.bench import PAGE_ROWS, Bench, Handed, Looking, draft_of, same_version, table_of, who
from tabs._data.grid import KINDS, draft_facts, place_of, shown_rows
from tabs._language import named
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped

ANY = "(any column)"


def build(bench: Bench, part: gr.Tab) -> None:
    """Filter and tools above, the table at the left, the open cell at the right, replace and SQL below."""
    looking = gr.State(Looking())
    with gr.Row(elem_classes="tools"):
        search = gr.Textbox(
            label="Search", placeholder="in every column", elem_id="rows-search", scale=2, min_width=160
        )
        column = gr.Dropdown([], label="Only where", interactive=True, elem_id="rows-column", min_width=130)
        operator = gr.Dropdown(
            [(text, key) for key, text in OPERATORS.items()],
            value="contains",
            label="it …",
            interactive=True,
            elem_id="rows-operator",
            min_width=130,
        )
        value = gr.Textbox(label="this", elem_id="rows-value", min_width=110)
        length = gr.Checkbox(False, label="Sort by length", elem_id="rows-by-length", min_width=120)
        clear = gr.Button("Show all", size="sm", elem_id="rows-clear")
    tools = _draw_tools()
    unsaved = gr.HTML("", apply_default_css=False, elem_id="rows-unsaved")
    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            grid = gr.HTML(
                {},
                html_template='<div class="grid" tabindex="-1"></div>',
                js_on_load=script("grid"),
                apply_default_css=False,
                elem_id="dataset-rows",
            )
            with gr.Row(elem_classes="tools"):
                back = gr.Button("← Earlier", size="sm", elem_id="rows-back")
                place = gr.HTML("", apply_default_css=False, elem_id="rows-place")
                forth = gr.Button("Later →", size="sm", elem_id="rows-forth")
        with gr.Column(scale=2, min_width=300):
            heading = gr.HTML(NO_CELL, apply_default_css=False, elem_id="cell-heading")
            cell = gr.Textbox(
                "", lines=12, max_lines=24, show_label=False, interactive=False, elem_id="cell-text", buttons=["copy"]
            )
            seen = gr.State("")
            with gr.Row(elem_classes="tools"):
                keep = gr.Button("Keep this text", size="sm", variant="primary", interactive=False, elem_id="cell-keep")
                above = gr.Button("↑ Row above", size="sm", elem_id="cell-above")
                below = gr.Button("↓ Row below", size="sm", elem_id="cell-below")
    table_parts = [looking, grid, place, unsaved, *tools.values()]
    cell_parts = [heading, cell, seen, keep]
    bench.chosen.change(bench.on(_open), bench.chooser, [*table_parts, column, search, value, *cell_parts], **QUIET)
    bench.changed.change(bench.on(_again), [bench.chooser, looking], [*table_parts, *cell_parts], **HEARD)
    # What may be refused goes through the queue: of a handler beside it, Gradio shows no message.
    handed = [*table_parts, search, value, bench.parts, bench.only]
    bench.only.change(bench.on(_only), [bench.chooser, bench.only], handed, **HEARD)
    asked = [bench.chooser, looking, search, column, operator, value, length]
    for widget in (search.submit, search.blur, value.submit, value.blur, column.input, operator.input, length.input):
        widget(bench.on(_filter), asked, table_parts, trigger_mode="always_last", **HEARD)
    clear.click(bench.on(_open), bench.chooser, [*table_parts, column, search, value, *cell_parts], **QUIET)
    back.click(bench.on(_turn, -PAGE_ROWS), [bench.chooser, looking], table_parts, **HEARD)
    forth.click(bench.on(_turn, PAGE_ROWS), [bench.chooser, looking], table_parts, **HEARD)
    here = [bench.chooser, looking]
    # Every click counts, also while the one before is being answered.
    grid.click(
        bench.on(_clicked),
        [*here, length, bench.changed],
        [*table_parts, *cell_parts, bench.changed],
        trigger_mode="multiple",
        **HEARD,
    )
    above.click(bench.on(_step, -1), here, [*table_parts, *cell_parts], **HEARD)
    below.click(bench.on(_step, 1), here, [*table_parts, *cell_parts], **HEARD)
    keep.click(bench.on(_keep), [*here, cell, seen, bench.changed], [bench.changed, *cell_parts], **PRIVATE)
    handlers = [_add, _duplicate, _delete, _undo, _redo, _save]
    for button, handler in zip(tools.values(), handlers, strict=True):
        button.click(bench.on(handler), [*here, bench.changed], bench.changed, **PRIVATE)
    with gr.Accordion("Find and replace", open=False):
        replacing.build(bench, looking)
    with gr.Accordion("Ask in SQL", open=False):
        asking.build(bench)


def _draw_tools() -> dict[str, gr.Button]:
    """What is done to rows, by its name."""
    with gr.Row(elem_classes="tools"):
        names = ["Add row", "Duplicate row", "Delete", "Undo", "Redo", "Save version"]
        return {
            name: gr.Button(
                name,
                size="sm",
                elem_id=f"rows-{name.split()[0].lower()}",
                variant="primary" if "Save" in name else "secondary",
            )
            for name in names
        }


# -- the table ---------------------------------------------------------------------------------------


def _open(page: Page, name: str) -> list[Any]:
    """Another data set, or the whole of this one: no filter, first page, no cell."""
    table = table_of(page, name)
    columns = gr.Dropdown([(ANY, ANY), *named(table.columns)], value=ANY)
    return [*shown_rows(page, Looking(name)), columns, "", "", *_no_cell()]


def _again(page: Page, name: str, looking: Looking) -> list[Any]:
    """After a change: the same page; in another version no row is picked and no cell open any more."""
    if looking.name != name:
        looking = Looking(name)
    shown = shown_rows(page, replace(looking, picked=()), keep=True)
    kept = shown[0].version == looking.version
    return [*shown, *([gr.skip()] * 4 if kept else _no_cell())]


def _only(page: Page, name: str, only: Handed | None) -> list[Any]:
    """Rows that a finding or a query named; taken from where they lie, so that the same can be handed over again."""
    if only is None:
        return [gr.skip()] * 14
    if only.name != name:
        raise DatasetError("Those rows are another data set's.", remedy="Choose that one first, and ask again.")
    same_version(table_of(page, name), only.version)
    looking = Looking(name, only.version, View(only=only.rows))
    return [*shown_rows(page, looking), "", "", gr.Tabs(selected="rows"), None]


def _filter(
    page: Page, name: str, looking: Looking, search: str, column: str, operator: str, value: str, length: bool
) -> list[Any]:
    conditions: tuple[Condition, ...] = ()
    if column and column != ANY and (value or operator in ("empty", "filled")):
        conditions = (Condition(column, operator, value),)
    old = looking.view
    by = "length" if length else "value"
    view = replace(old, search=search.strip(), conditions=conditions, by=by)
    if view == old:
        return [gr.skip()] * 10
    return shown_rows(page, replace(looking, name=name, view=view, at=0, picked=()))


def _turn(page: Page, rows: int, name: str, looking: Looking) -> list[Any]:
    return shown_rows(page, replace(looking, name=name, at=looking.at + rows, picked=()))


def _sorted(view: View, column: str, length: bool) -> View:
    """Up, then down, then the data set's own order."""
    if view.sort != column:
        return replace(view, sort=column, descending=False, by="length" if length else "value")
    return replace(view, descending=True) if not view.descending else replace(view, sort="", descending=False)


def _clicked(
    page: Page, name: str, looking: Looking, length: bool, changed: int, event: gr.EventData, request: gr.Request
) -> list[Any]:
    """What a person did in the table."""
    same_table, same_cell = [gr.skip()] * 10, [gr.skip()] * 4
    data = event._data or {}
    match data.get("action"):
        case "pick":
            looking = replace(looking, picked=tuple(int(row) for row in data["rows"]))
            place = place_of(looking, len(table_of(page, name).ids(looking.view)))
            return [looking, gr.skip(), place, *same_table[3:], *same_cell, gr.skip()]
        case "open":
            looking = replace(looking, cell=(int(data["row"]), str(data["column"])))
            return [looking, *same_table[1:], *_cell(page, looking), gr.skip()]
        case "sort":
            view = _sorted(looking.view, str(data["column"]), length)
            return [*shown_rows(page, replace(looking, view=view, at=0)), *same_cell, gr.skip()]
        case "write":
            row, column = int(data["row"]), str(data["column"])
            seen, text = str(data["seen"]), str(data["text"])
            _edit(page, name, looking, (row, column), text, seen, request)
            looking = replace(looking, cell=(row, column))
            return [looking, *same_table[1:], *_cell(page, looking), changed + 1]
    return [*same_table, *same_cell, gr.skip()]


# -- the open cell -----------------------------------------------------------------------------------

NO_CELL = '<p class="muted">Click a cell to read and edit it here; a double click edits it in its place.</p>'


def _no_cell() -> list[Any]:
    return [NO_CELL, gr.Textbox("", interactive=False), "", gr.Button(interactive=False)]


def _cell(page: Page, looking: Looking) -> list[Any]:
    if looking.cell is None:
        return _no_cell()
    table = table_of(page, looking.name)
    row, column = looking.cell
    found = table.fetch([row])
    if not found or column not in table.columns:
        return _no_cell()
    text = changes.cell_text(found[0][1][column])
    own, *_ = draft_facts(page, looking.name)
    words = len(text.split())
    about = f"{len(text):,} letters · {words:,} words · {KINDS[table.kinds[column]]}"
    heading = f'<p><strong>{escaped(column)}</strong>, {table.called(row)}</p><p class="muted">{escaped(about)}</p>'
    return [heading, gr.Textbox(text, interactive=own), text, gr.Button(interactive=own)]


def _step(page: Page, by: int, name: str, looking: Looking) -> list[Any]:
    """The same column of the row above or below, on the next page too."""
    ids = table_of(page, name).ids(looking.view).tolist()
    if looking.cell is None or looking.cell[0] not in ids:
        return [gr.skip()] * 14
    at = max(0, min(len(ids) - 1, ids.index(looking.cell[0]) + by))
    looking = replace(looking, cell=(ids[at], looking.cell[1]), at=at // PAGE_ROWS * PAGE_ROWS)
    return [*shown_rows(page, looking, keep=True), *_cell(page, looking)]


def _keep(
    page: Page, name: str, looking: Looking, text: str, seen: str, changed: int, request: gr.Request
) -> list[Any]:
    if looking.cell is None:
        raise DatasetError("No cell is open.", remedy="Click a cell of the table first.")
    _edit(page, name, looking, looking.cell, text, seen, request)
    return [changed + 1, *_cell(page, looking)]


def _edit(
    page: Page, name: str, looking: Looking, cell: tuple[int, str], text: str, seen: str, request: gr.Request
) -> None:
    def make(table: Table) -> changes.Change:
        return changes.edit(same_version(table, looking.version), *cell, text, seen)

    draft_of(page, name).do(make, who(request))


# -- tools -------------------------------------------------------------------------------------------


def _add(page: Page, name: str, looking: Looking, changed: int, request: gr.Request) -> int:
    behind = looking.picked[-1] if looking.picked else None

    def make(table: Table) -> changes.Change:
        empty = {column: "" if table.kinds[column] == "text" else None for column in table.columns}
        if behind is not None:
            same_version(table, looking.version)
        return changes.add(table, [empty], "Added a row", behind)

    draft_of(page, name).do(make, who(request))
    where = "behind the picked one" if behind is not None else "at the end"
    gr.Info(f"An empty row was added {where}.")
    return changed + 1


def _picked(looking: Looking) -> list[int]:
    if not looking.picked:
        raise DatasetError("No row is picked.", remedy="Tick rows at the left of the table first.")
    return list(looking.picked)


def _duplicate(page: Page, name: str, looking: Looking, changed: int, request: gr.Request) -> int:
    for row in _picked(looking):

        def make(table: Table, row: int = row) -> changes.Change:
            return changes.duplicate(same_version(table, looking.version), row)

        draft_of(page, name).do(make, who(request))
    return changed + 1


def _delete(page: Page, name: str, looking: Looking, changed: int, request: gr.Request) -> int:
    rows = _picked(looking)
    draft = draft_of(page, name)
    change = draft.do(lambda table: changes.delete(same_version(table, looking.version), rows), who(request))
    gr.Info(f"{change.what}. Undo brings them back.")
    return changed + 1


def _undo(page: Page, name: str, looking: Looking, changed: int) -> int:
    gr.Info(f"Undone: {escaped(draft_of(page, name).undo())}")
    return changed + 1


def _redo(page: Page, name: str, looking: Looking, changed: int) -> int:
    gr.Info(f"Done again: {escaped(draft_of(page, name).redo())}")
    return changed + 1


def _save(page: Page, name: str, looking: Looking, changed: int, request: gr.Request) -> int:
    version = draft_of(page, name).save(who(request))
    gr.Info(f"Saved as version {version.key} with {version.rows:,} rows. The older ones stay under Versions.")
    return changed + 1
