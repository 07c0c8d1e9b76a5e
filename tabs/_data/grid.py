"""The editor's table as `assets/grid.js` draws it: a page of rows, where that is, and what is not saved yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from studio.data.table import Table
from studio.data.views import ALL
from studio.errors import DatasetError
from tabs._data.bench import CELL_LETTERS, PAGE_ROWS, Looking, draft_of, shown_cell, table_of
from tabs._shared import Page

MOST_COLUMNS = 50  # beyond, a table is read by nobody and takes the browser seconds
_SIMPLE = ("text", "whole", "number", "truth")  # what the table shows of them is what they hold
KINDS = {
    "text": "text",
    "whole": "whole numbers",
    "number": "numbers",
    "truth": "true or false",
    "json": "lists, objects or mixed cells, as JSON",
    "other": "dates or other values",
}


def shown_rows(page: Page, looking: Looking, *, keep: bool = False) -> list[Any]:
    """The state as it is now, the page of rows, where that is, what is unsaved, and the tools."""
    table = table_of(page, looking.name)
    looking = _of_now(looking, table)
    ids = table.ids(looking.view)
    at = max(0, min(looking.at, (len(ids) - 1) // PAGE_ROWS * PAGE_ROWS))
    looking = replace(looking, at=at)
    chosen = ids[at : at + PAGE_ROWS].tolist()
    own, head, redo = draft_facts(page, looking.name)
    touched = table.touched(chosen) if own and head else set()
    rows, columns = [], table.columns[:MOST_COLUMNS]
    for number, row in table.fetch(chosen, CELL_LETTERS):
        cells = [shown_cell(row[name], CELL_LETTERS) for name in columns]
        rows.append(
            {
                "id": number,
                "label": f"{number + 1:,}" if number < table.base_rows else f"new {number - table.base_rows + 1}",
                "touched": number in touched,
                "cells": [text for text, _ in cells],
                "cut": [cut for _, cut in cells],
            }
        )
    view = looking.view
    value = {
        "key": f"{looking.name} {looking.version}",
        "columns": [{"name": n, "kind": KINDS[table.kinds[n]], "simple": table.kinds[n] in _SIMPLE} for n in columns],
        "rows": rows,
        "sort": view.sort,
        "descending": view.descending,
        "editable": own,
        "cell": list(looking.cell) if looking.cell else None,
        "keep": keep,
        "picked": list(looking.picked),
        "nothing": "No row is like that. Change the filter, or press 'Show all'.",
    }
    state = [gr.Button(interactive=each) for each in (own, own, own, head > 0, redo, head > 0)]
    place = place_of(looking, len(ids))
    if len(columns) < len(table.columns):
        place += f'<p class="note">The first {len(columns)} of {len(table.columns):,} columns are shown.</p>'
    return [looking, value, place, _unsaved(own, head), *state]


def _of_now(looking: Looking, table: Table) -> Looking:
    """Without what names rows of another version: they are counted anew in this one."""
    if looking.version == table.path.name:
        return looking
    view = replace(looking.view, only=None)
    return replace(looking, version=table.path.name, view=view, picked=(), cell=None)


def place_of(looking: Looking, total: int) -> str:
    """Which rows are shown and how many are picked."""
    view, last = looking.view, min(looking.at + PAGE_ROWS, total)
    filtered = view != replace(ALL, sort=view.sort, by=view.by, descending=view.descending)
    of = f"{total:,}" + (" found" if filtered else "")
    where = f"rows {looking.at + 1:,}–{last:,} of {of}" if total else "no rows"
    picked = f", {len(looking.picked):,} picked" if looking.picked else ""
    return f'<p class="muted">{where}{picked}</p>'


def draft_facts(page: Page, name: str) -> tuple[bool, int, bool]:
    """(whether it can be edited, changes since the last save, whether one can be done again)."""
    try:
        draft = draft_of(page, name)
    except DatasetError:
        return False, 0, False
    return True, draft.head, draft.can_redo


def _unsaved(own: bool, head: int) -> str:
    if not own:
        return '<p class="muted">A sample stays as it is: press “Edit a copy” above.</p>'
    if not head:
        return '<p class="muted">Everything is saved.</p>'
    return f'<p class="unsaved">{head} change{"s" * (head > 1)} not yet saved as a version</p>'
