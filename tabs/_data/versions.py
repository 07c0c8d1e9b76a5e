"""Versions: what was changed, by whom; earlier versions, compared and taken up again; files to take away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.data import changes
from studio.data.collection import Version, find, versions
from studio.data.diff import Diff, diff
from studio.data.draft import Entry, change_of, history_of
from studio.data.export import export
from studio.data.library import title_of
from studio.errors import DatasetError
from tabs._data.bench import Bench, Outcome, compared, draft_of, progress_of, table_of
from tabs._downloads import link, place
from tabs._shared import PRIVATE, QUIET, Page, escaped

ROWS_SHOWN = 25
CELLS_SHOWN = 50
DRAFT = "draft"
NOT_YOURS = '<p class="muted">A sample has no versions. Press “Edit a copy”; every save of the copy is kept here.</p>'


def build(bench: Bench, part: gr.Tab) -> None:
    """The history, the versions, and the export."""
    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            gr.Markdown("### History")
            which = gr.Dropdown([], label="Changes", interactive=True, elem_id="versions-which")
            history = gr.HTML("", apply_default_css=False, elem_id="versions-history")
            number = gr.Number(1, precision=0, label="Show the cells of change number", elem_id="versions-number")
            cells = gr.HTML("", apply_default_css=False, elem_id="versions-cells")
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### Versions")
            chosen = gr.Dropdown([], label="Version", interactive=True, elem_id="versions-choice")
            with gr.Row(elem_classes="tools"):
                back = gr.Button("Go back to it", size="sm", elem_id="versions-back")
                against = gr.Button("Compare with the current one", size="sm", elem_id="versions-compare")
                discard = gr.Button("Discard unsaved changes", size="sm", variant="stop", elem_id="versions-discard")
            gr.Markdown("### Export")
            ending = gr.Radio(
                [("JSON Lines", ".jsonl"), ("CSV", ".csv"), ("Parquet", ".parquet")],
                value=".jsonl",
                label="The version chosen above; of the current one, as it is now with its edits",
                elem_id="export-format",
            )
            with gr.Row(elem_classes="tools"):
                write = gr.Button("Make the file", size="sm", variant="primary", elem_id="export-go")
            told = gr.HTML("", apply_default_css=False, elem_id="export-told")
    difference = gr.HTML("", apply_default_css=False, elem_id="versions-diff")

    shown = [which, history, chosen, discard]
    for event in (bench.chosen.change, bench.changed.change, part.select):
        event(bench.on(_show), bench.chooser, shown, **QUIET)
    bench.chosen.change(lambda: ("", "", ""), None, [cells, difference, told], **QUIET)
    which.input(bench.on(_history), [bench.chooser, which], history, **QUIET)
    gr.on([number.submit, number.change, which.input], bench.on(_cells), [bench.chooser, which, number], cells, **QUIET)
    back.click(bench.on(_back), [bench.chooser, chosen, bench.changed], bench.changed, **PRIVATE)
    against.click(bench.on(_compare), [bench.chooser, chosen], difference, **PRIVATE)
    discard.click(bench.on(_discard), [bench.chooser, bench.changed], bench.changed, **PRIVATE)
    write.click(bench.on(_export), [bench.chooser, chosen, ending], told, **PRIVATE)


def _show(page: Page, name: str) -> Any:
    kept = find(page.workspace, name)
    if kept is None:
        nothing = gr.Dropdown([], value=None, interactive=False)
        return nothing, NOT_YOURS, nothing, gr.Button(interactive=False)
    draft = page.desk.draft(kept)
    known = versions(kept)
    saved = [(f"that led to {_called(version)}", version.key) for version in known if version.parent]
    return (
        gr.Dropdown([("since the last save", DRAFT), *saved], value=DRAFT, interactive=True),
        _list(draft.history()),
        gr.Dropdown([(_called(v, v.key == kept.current), v.key) for v in known], value=kept.current, interactive=True),
        gr.Button(interactive=draft.head > 0),
    )


def _called(version: Version, current: bool = False) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created))
    how = f"{len(version.what)} changes by {version.by}" if version.parent else f"as it came, {version.by}"
    return f"{version.key[:8]} · {when} · {version.rows:,} rows · {how}{' · current' if current else ''}"


def _history(page: Page, name: str, which: str) -> str:
    draft = draft_of(page, name)
    return _list(draft.history() if which == DRAFT else history_of(draft.kept, which))


def _list(entries: list[Entry]) -> str:
    if not entries:
        return '<p class="muted">Nothing was changed.</p>'
    lines = "".join(
        f"<tr{' class=undone' if entry.undone else ''}><td>{number}</td><td>{escaped(entry.what)}</td>"
        f"<td>{entry.rows:,}</td><td>{escaped(entry.who)}</td>"
        f"<td>{time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.when))}</td></tr>"
        for number, entry in enumerate(entries, start=1)
    )
    head = "<tr><th></th><th>what</th><th>rows</th><th>who</th><th>when</th></tr>"
    return f'<div class="scroll"><table class="history"><thead>{head}</thead><tbody>{lines}</tbody></table></div>'


def _cells(page: Page, name: str, which: str, number: float | None) -> str:
    """Old and new of each cell that a change touched."""
    draft = draft_of(page, name)
    entries = draft.history() if which == DRAFT else history_of(draft.kept, which)
    if not number or not 1 <= int(number) <= len(entries):
        return ""
    change = change_of(draft.folder if which == DRAFT else draft.kept.history(which), int(number))
    found = changes.cells(change, draft.table.columns, CELLS_SHOWN)
    return compared([(f"row {row + 1:,}, {column}", old, new) for row, column, old, new in found])


def _back(page: Page, name: str, version: str, changed: int) -> int:
    draft_of(page, name).go_to(version)
    gr.Info("This version is the current one now. The others stay.")
    return changed + 1


def _discard(page: Page, name: str, changed: int) -> int:
    draft_of(page, name).discard()
    gr.Info("The data set is as it was saved last.")
    return changed + 1


def _compare(page: Page, name: str, version: str) -> str:
    kept = draft_of(page, name).kept
    if version == kept.current:
        raise DatasetError("That is the current version.", remedy="Choose another version to compare it with.")
    found = diff(kept.path(version), kept.path())
    return _difference(found)


def _difference(found: Diff) -> str:
    counts = (
        f"{found.same:,} rows are the same, {found.changed:,} changed, {found.added:,} came, {found.removed:,} went."
    )
    lines: list[tuple[str, Any, Any]] = []
    for each in found.shown[:ROWS_SHOWN]:
        if each.old is None or each.new is None:
            row, cells = (each.new_row, each.new) if each.old is None else (each.old_row, each.old)
            text = " | ".join(changes.cell_text(cell)[:300] for cell in (cells or {}).values())
            where = f"row {(row or 0) + 1:,} {'came' if each.old is None else 'went'}"
            lines.append((where, None if each.old is None else text, text if each.old is None else None))
            continue
        old, new = each.old, each.new
        lines += [(f"row {(each.new_row or 0) + 1:,}, {n}", old[n], new[n]) for n in old if old[n] != new[n]]
    more = f" The first {ROWS_SHOWN} are shown." if len(found.shown) > ROWS_SHOWN else ""
    return f'<p class="note">From that version to the current one: {counts}{more}</p>{compared(lines)}'


def _export(page: Page, name: str, version: str | None, ending: str) -> Iterator[str]:
    """The file, made anew each time; with progress, for a million rows take a while."""
    kept = find(page.workspace, name)
    older = kept is not None and version and version != kept.current
    table = page.desk.table(kept.path(version)) if kept and version and older else table_of(page, name)
    path = place(page.workspace, title_of(name, page.workspace), ending)
    done: Outcome[int] = Outcome()
    yield from progress_of(lambda tell: export(table, path, lambda share: tell(share, "Writing")), done)
    count = "1 cell" if done.result == 1 else f"{done.result:,} cells"
    safe = f"{count} that a spreadsheet would run as a formula got an apostrophe in front."
    told = f'<p class="ready">{link(path, "Download")} ({path.stat().st_size / 1e6:,.2f} MB)</p>'
    yield told + (f'<p class="note">{safe}</p>' if done.result else "")
