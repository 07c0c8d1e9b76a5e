"""Get and make data: from files, the Hub, a folder of code; new rows from those there are; splits."""

from __future__ import annotations

import base64
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import gradio as gr

from studio.data import changes, collection
from studio.data.code_files import LANGUAGES, LARGEST
from studio.data.files import SUFFIXES, open_rows
from studio.data.hub import POPULAR, HuggingFaceDataHub, fetch, repo_of
from studio.data.library import look, names, settle, title_of
from studio.data.makers import Ask, Made, Maker, makers
from studio.data.parquet import Row
from studio.data.splits import How, split_indices
from studio.data.table import Table
from studio.errors import DatasetError
from studio.responder import Sampling
from tabs._data.bench import Bench, Outcome, Tell, compared, draft_of, progress_of, same_rows, table_of, who
from tabs._form import Choice
from tabs._language import named
from tabs._live import ASSETS
from tabs._shared import PRIVATE, QUIET, Page, escaped, run_choices

PREVIEWED = 12
MOST_CODE = 20_000_000  # bytes of source taken from a browser at once
MOST_ADDED = 100_000  # rows at once; a larger file is a data set of its own


def build(bench: Bench, part: gr.Tab) -> None:
    """One fold for each way."""
    with gr.Accordion("Add rows from a file to this data set", open=True):
        _build_more(bench)
    with gr.Accordion("From the Hugging Face Hub", open=False):
        _build_hub(bench)
    with gr.Accordion("From a folder of source code", open=False):
        _build_folder(bench)
    with gr.Accordion("Make new rows from these", open=False):
        _build_makers(bench, part)
    with gr.Accordion("Split into train, validation and test", open=False):
        _build_splits(bench)


# -- files -------------------------------------------------------------------------------------------


def _build_more(bench: Bench) -> None:
    gr.HTML('<p class="muted">Rows that were mended, or more of the same kind. Undo takes them away again.</p>')
    file = gr.UploadButton("Choose a file", file_types=list(SUFFIXES), size="sm", elem_id="make-more")
    file.upload(bench.on(_more), [bench.chooser, file, bench.changed], bench.changed, **PRIVATE)


def _more(page: Page, name: str, file: str, changed: int, request: gr.Request) -> int:
    path = Path(file)
    try:
        reading = open_rows(path)
        rows: list[Row] = []
        for row in reading:
            rows.append(row)
            if len(rows) > MOST_ADDED:
                raise DatasetError(
                    f"{reading.name} has more than {MOST_ADDED:,} rows.", remedy="Upload it as a data set of its own."
                )
    finally:
        path.unlink(missing_ok=True)
    what = f"Added {len(rows):,} rows from {reading.name}"
    draft_of(page, name).do(lambda table: changes.add(table, rows, what), who(request))
    gr.Info(escaped(f"{what}. {len(reading.set_aside)} could not be read." if reading.set_aside else f"{what}."))
    return changed + 1


def _build_folder(bench: Bench) -> None:
    gr.HTML(
        '<p class="muted">Each source file becomes a row with its path, language and text. Nothing in it is run. '
        "“Make new rows” then turns its documented functions into tasks.</p>"
    )
    folder = gr.HTML(
        {"endings": sorted(LANGUAGES), "largest": LARGEST, "most": MOST_CODE},
        html_template='<div class="folder"><button type="button">Choose a folder</button>'
        '<input type="file" webkitdirectory hidden><p class="muted said"></p></div>',
        js_on_load=(ASSETS / "folder.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="make-folder",
    )
    folder.upload(bench.on(_folder), None, bench.chooser, **PRIVATE)


def _folder(page: Page, event: gr.EventData, request: gr.Request) -> Any:
    """The folder is built again, and read as one on disk."""
    files = [(str(path), str(data)) for path, data in (event._data or {}).get("files", [])]
    if sum(len(data) for _, data in files) > 2 * MOST_CODE:
        raise DatasetError("The folder is too large to be taken at once.", remedy="Choose a smaller one.")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve()
        for path, data in files:
            target = (root / path).resolve()
            if root not in target.parents:
                raise DatasetError(f"'{path[:80]}' leads out of the folder.", remedy="Choose a folder without links.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(base64.b64decode(data))
        title = PurePosixPath(files[0][0]).parts[0] if files else "code"
        reading = open_rows(root, title)
        name = collection.add_rows(page.workspace, collection.clean(title), reading, mapping=None, by=who(request))
    return _go_to(page, name)


def _go_to(page: Page, name: str) -> Any:
    choices = [(f"{each.title} ({each.kind})", each.name) for each in names(page.workspace)]
    return gr.Dropdown(choices, value=name)


# -- the Hub -----------------------------------------------------------------------------------------


def _build_hub(bench: Bench) -> None:
    with gr.Row(elem_classes="tools"):
        known = [(f"{name} · {each.repo} · {each.licence}", name) for name, each in POPULAR.items()]
        name = gr.Dropdown(known, label="Data set", allow_custom_value=True, value="dolly", elem_id="hub-name", scale=3)
        config = gr.Textbox(label="Configuration", placeholder="the only one", elem_id="hub-config")
        split = gr.Textbox(label="Split", placeholder="train", elem_id="hub-split")
    with gr.Row(elem_classes="tools"):
        go = gr.Button("Fetch", size="sm", variant="primary", elem_id="hub-go")
        stop = gr.Button("Cancel", size="sm", elem_id="hub-stop")
    told = gr.HTML("", apply_default_css=False, elem_id="hub-told")
    running = go.click(bench.on(_fetch), [name, config, split], [told, bench.chooser], **PRIVATE)
    stop.click(lambda: '<p class="muted">Cancelled.</p>', None, told, cancels=[running], **QUIET)


def _fetch(page: Page, name: str, config: str, split: str, request: gr.Request) -> Iterator[Any]:
    """Download, then keep as one data set. Nothing that a repository holds is ever run."""
    repo, by = repo_of(name or ""), who(request)
    folder = page.workspace.downloads / f"hub-{secrets.token_hex(8)}"
    made: Outcome[str] = Outcome()

    def work(tell: Tell) -> str:
        def fetched(what: str, done: float, total: float) -> None:
            tell(done / total if total else 0.0, what)

        try:
            files = fetch(name, config.strip() or None, split.strip() or None, HuggingFaceDataHub(), folder, fetched)
            tell(0.99, "Reading the rows")
            notes: list[str] = []
            rows = collection.shaped((row for file in files for row in open_rows(file)), notes)
            return collection.add_rows(
                page.workspace, repo.rpartition("/")[2], rows, mapping=None, by=f"{by}, from {repo}"
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    for html in progress_of(work, made):
        yield html, gr.skip()
    yield '<p class="ready">It is chosen above now. Mind its licence.</p>', _go_to(page, made.result or "")


# -- makers ------------------------------------------------------------------------------------------


def _build_makers(bench: Bench, part: gr.Tab) -> None:
    choice = Choice("What to make", makers(), next(iter(makers())), "make-choice")
    run = gr.Dropdown(
        [], label="Model that drafts (a finished run)", interactive=True, visible=False, elem_id="make-run"
    )
    with gr.Row(elem_classes="tools"):
        go = gr.Button("Make", size="sm", variant="primary", elem_id="make-go")
        stop = gr.Button("Cancel", size="sm", elem_id="make-stop")
    told = gr.HTML("", apply_default_css=False, elem_id="make-told")
    proposed = gr.State(None)
    apply = gr.Button("Apply these changes", variant="primary", visible=False, elem_id="make-apply")

    def make(page: Page, name: str, run: str | None, request: gr.Request, *raw: Any) -> Iterator[Any]:
        values = choice.parse(raw)
        maker = makers()[values.pop("name")].parse(values)
        yield from _make(page, name, maker, _asker(page, maker, run), who(request))

    inputs = [bench.chooser, run, *choice.components()]
    running = go.click(bench.on(make), inputs, [told, proposed, apply, bench.chooser], **PRIVATE)
    stop.click(lambda: '<p class="muted">Cancelled.</p>', None, told, cancels=[running], **QUIET)
    apply.click(bench.on(_apply), [bench.chooser, proposed, bench.changed], [bench.changed, told, apply], **PRIVATE)
    for event in (choice.name.input, part.select):
        event(bench.on(_runs), choice.name, run, **QUIET)


def _runs(page: Page, maker: str) -> Any:
    """Runs whose model can draft, where the maker needs one."""
    if not makers()[maker].needs_model:
        return gr.Dropdown(visible=False)
    states = [state for state in page.store.states(limit=50) if state.saved]
    return gr.Dropdown(run_choices(states), value=states[0].id if states else None, visible=True)


def _asker(page: Page, maker: Maker, run: str | None) -> Ask | None:
    if not maker.needs_model:
        return None
    if not run:
        raise DatasetError(
            "No model is at hand to draft with.", remedy="Train one under Train; its run can then be chosen."
        )
    folder = page.workspace.run(run)

    def ask(messages: list[dict[str, str]]) -> str:
        pieces = page.responder.ask(folder, messages, adapter=True, sampling=Sampling(temperature=0.7, top_p=0.95))
        return "".join(piece.text for piece in pieces if piece.kind == "text")

    return ask


def _make(page: Page, name: str, maker: Maker, ask: Ask | None, by: str) -> Iterator[Any]:
    """New rows become a data set of their own; changed ones are shown, and applied when the person says so."""
    table = table_of(page, name)
    ids, revision = table.ids(), table.revision
    dropped: Counter[str] = Counter()
    made: Outcome[list[Made]] = Outcome()

    def work(tell: Tell) -> list[Made]:
        def seen(done: int, total: int) -> None:
            tell(done / max(len(ids), 1), f"{done:,} of {len(ids):,} rows")

        return list(maker.make((row for _, row in table.rows(ids)), ask, seen, dropped))

    for html in progress_of(work, made):
        yield html, None, gr.Button(visible=False), gr.skip()
    same_rows(table_of(page, name), revision)  # a row that came or went meanwhile would shift the others
    found = made.result or []
    left_out = "".join(f" {count:,} left out: {escaped(why)}." for why, count in dropped.items())
    if not found:
        yield f'<p class="note">Nothing was made.{left_out}</p>', None, gr.Button(visible=False), gr.skip()
        return
    new = {int(ids[each.origin]): each.row for each in found if each.origin is not None and each.kind == "changed"}
    if len(new) == len(found) and all(row.keys() <= set(table.columns) for row in new.values()):
        first = table.fetch(list(new)[:PREVIEWED])
        shown = [
            (f"{table.called(row)}, {c}", old[c], new[row].get(c))
            for row, old in first
            for c in table.columns
            if old[c] != new[row].get(c)
        ]
        note = f'<p class="note">{len(new):,} rows would change.{left_out}</p>'
        yield note + compared(shown), (name, revision, maker.title, new), gr.Button(visible=True), gr.skip()
        return
    title = f"{title_of(name, page.workspace)}, {maker.title.lower()}"
    kept = collection.add_rows(page.workspace, title, (each.row for each in found), mapping=None, by=by)
    note = f'<p class="ready">{len(found):,} rows were made: the new data set is chosen above.{left_out}</p>'
    yield note, None, gr.Button(visible=False), _go_to(page, kept)


def _apply(page: Page, name: str, proposed: Any, changed: int, request: gr.Request) -> Any:
    if proposed is None or proposed[0] != name:
        raise DatasetError("These changes are another data set's.", remedy="Press 'Make' again and look at the result.")
    _, revision, title, new = proposed

    def change(table: Table) -> changes.Change:
        return changes.rewrite(same_rows(table, revision), list(new), lambda row, _: new[row], title)

    done = draft_of(page, name).do(change, who(request))
    return (
        changed + 1,
        f'<p class="ready">{done.rows:,} rows were changed. Undo is under Rows.</p>',
        gr.Button(visible=False),
    )


# -- splits ------------------------------------------------------------------------------------------

_HOW = {
    "random": "at random",
    "stratified": "with the same shares of each value of a column",
    "grouped": "rows with the same value of a column together",
    "clusters": "near duplicates together",
}


def _build_splits(bench: Bench) -> None:
    gr.HTML(
        '<p class="muted">A run holds rows out by itself (Train, “Held-out rows”). Here the parts become data sets of '
        "their own. Equal rows always stay together, or a score would measure memory.</p>"
    )
    with gr.Row(elem_classes="tools"):
        how = gr.Dropdown([(_HOW[key], key) for key in get_args(How)], value="random", label="How", elem_id="split-how")
        column = gr.Dropdown([], label="Column", interactive=True, elem_id="split-column")
        validation = gr.Slider(0, 0.5, 0.1, step=0.01, label="Validation share")
        test = gr.Slider(0, 0.5, 0.1, step=0.01, label="Test share")
        seed = gr.Number(0, precision=0, label="Seed")
    with gr.Row(elem_classes="tools"):
        look_ = gr.Button("Preview", size="sm", elem_id="split-preview")
        save = gr.Button("Make the data sets", size="sm", variant="primary", elem_id="split-go")
    told = gr.HTML("", apply_default_css=False, elem_id="split-told")
    asked = [bench.chooser, how, column, validation, test, seed]
    bench.chosen.change(bench.on(_columns), bench.chooser, column, **QUIET)
    look_.click(bench.on(_split_preview), asked, told, **PRIVATE)
    save.click(bench.on(_split), asked, told, **PRIVATE)


def _columns(page: Page, name: str) -> Any:
    columns = list(table_of(page, name).columns)
    return gr.Dropdown(named(columns), value=columns[0] if columns else None)


def _parts(
    page: Page, name: str, how: How, column: str, validation: float, test: float, seed: float
) -> dict[str, list[Row]]:
    mapping = settle(look(name, page.workspace)).mapping
    rows = [row for _, row in table_of(page, name).rows()]
    needs = column if how in ("stratified", "grouped") else None
    sides = split_indices(rows, how=how, shares=(validation, test), seed=int(seed or 0), column=needs, texts=mapping)
    return {side: [rows[i] for i in found] for side, found in zip(("train", "validation", "test"), sides, strict=True)}


def _split_preview(page: Page, name: str, how: How, column: str, *rest: Any) -> str:
    parts = _parts(page, name, how, column, *rest)
    total = sum(map(len, parts.values()))
    lines = "".join(
        f"<tr><td>{side}</td><td>{len(rows):,}</td><td>{len(rows) / max(total, 1):.1%}</td>"
        f"<td>{_balance(rows, column) if how in ('stratified', 'grouped') else ''}</td></tr>"
        for side, rows in parts.items()
    )
    head = "<tr><th>part</th><th>rows</th><th>share</th><th></th></tr>"
    return f'<table class="history"><thead>{head}</thead><tbody>{lines}</tbody></table>'


def _balance(rows: list[Row], column: str) -> str:
    """The commonest values of a column with their shares."""
    counts = Counter(changes.cell_text(row.get(column)) for row in rows)
    return escaped(", ".join(f"{value[:30]} {count / len(rows):.0%}" for value, count in counts.most_common(6)))


def _split(
    page: Page,
    name: str,
    how: How,
    column: str,
    validation: float,
    test: float,
    seed: float,
    request: gr.Request,
) -> str:
    found = look(name, page.workspace)
    mapping, made = settle(found).mapping, []
    for side, rows in _parts(page, name, how, column, validation, test, seed).items():
        if rows:
            title = f"{found.title} {side}"
            collection.add_rows(page.workspace, title, rows, mapping=mapping, by=who(request))
            made.append(f"{title} ({len(rows):,} rows)")
    return f'<p class="ready">Made {escaped(", ".join(made))}. They are in the list above.</p>'
