"""What the model sees: a row's tokens, coloured by whether they are learnt, and how long all rows are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.child import Progress
from studio.data.lengths import Histogram, Summary
from studio.data.library import look, settle
from studio.data.seen import Seen
from studio.data.table import Table
from studio.errors import DatasetError
from studio.inspector import Result
from studio.models.catalog import SUGGESTIONS, imported
from studio.objectives.next_token import NextToken
from tabs._data.bench import Bench, edited, handed, table_of
from tabs._form import Group
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, meter

LEGEND = (
    '<div class="legend"><span class="trained">learnt</span><span class="masked">read, not learnt</span>'
    '<span class="cut">cut off</span></div>'
)
ASK_FIRST = f'{LEGEND}<p class="muted">Press “Show” to see a row as tokens, exactly as training gets them.</p>'
MOST_TOKENS = 4_000  # shown of one row


def build(bench: Bench, part: gr.Tab) -> None:
    """The model and the cut-off, one row's tokens, then all rows' lengths."""
    with gr.Row(elem_classes="tools"):
        model = gr.Dropdown(
            _models(bench.page),
            value="starter",
            allow_custom_value=True,
            label="Model",
            elem_id="seen-model",
            info="Its own tokenizer and chat template are used.",
        )
        row = gr.Number(1, precision=0, label="Row", elem_id="seen-row", info="As counted in the table.")
    group = Group(NextToken, more="Template and learnt part")
    with gr.Row(elem_classes="tools"):
        show = gr.Button("Show", variant="primary", size="sm", elem_id="seen-show")
        before = gr.Button("← Row before", size="sm", elem_id="seen-before")
        after = gr.Button("Row after →", size="sm", elem_id="seen-after")
        fetch = gr.Checkbox(False, label="Fetch the model if it is not here yet", elem_id="seen-fetch")
    tokens = gr.HTML(ASK_FIRST, apply_default_css=False, elem_id="seen-tokens")
    gr.Markdown("### All rows")
    with gr.Row(elem_classes="tools"):
        count = gr.Button("Count the tokens of all rows", size="sm", variant="primary", elem_id="seen-count")
        stop = gr.Button("Cancel", size="sm", elem_id="seen-stop")
        cut = gr.Button("Show the rows that are cut off", size="sm", visible=False, elem_id="seen-cut-rows")
        untrained = gr.Button(
            "Show the rows that teach nothing", size="sm", visible=False, elem_id="seen-untrained-rows"
        )
    told = gr.HTML("", apply_default_css=False, elem_id="seen-told")
    plot = gr.HTML(
        {},
        html_template='<div class="lengths charts"></div>',
        js_on_load=script("lengths"),
        apply_default_css=False,
        elem_id="seen-plot",
    )
    cut_ids, untrained_ids = gr.State(None), gr.State(None)

    def settings(raw: tuple[Any, ...]) -> NextToken:
        return NextToken.parse(group.parse(raw), "objective")

    def see(page: Page, step: int, name: str, model: str, row: float | None, fetch: bool, *raw: Any) -> Any:
        return _see(page, name, model, int(row or 1), step, fetch, settings(raw))

    def measure(page: Page, name: str, model: str, fetch: bool, *raw: Any) -> Iterator[Any]:
        yield from _measure(page, name, model, fetch, settings(raw))

    model.focus(lambda: gr.Dropdown(_models(bench.page)), None, model, **QUIET)  # some may be imported meanwhile
    asked = [bench.chooser, model, row, fetch, *group.components()]
    for button, step in ((show, 0), (before, -1), (after, 1)):
        button.click(bench.on(see, step), asked, [tokens, row], **PRIVATE)
    results = [told, plot, cut, untrained, cut_ids, untrained_ids]
    running = count.click(bench.on(measure), [bench.chooser, model, fetch, *group.components()], results, **PRIVATE)
    stop.click(lambda: '<p class="muted">Cancelled.</p>', None, told, cancels=[running], **QUIET)
    bench.chosen.change(lambda: (ASK_FIRST, 1, *_nothing()), None, [tokens, row, *results], cancels=[running], **QUIET)
    cut.click(lambda rows: rows, cut_ids, bench.only, **HEARD)
    untrained.click(lambda rows: rows, untrained_ids, bench.only, **HEARD)


def _models(page: Page) -> list[tuple[str, str]]:
    """Those to choose, imported ones too."""
    return [(each.title, each.model) for each in (*SUGGESTIONS, *imported(page.workspace.models))]


def _nothing() -> tuple[Any, ...]:
    return "", {}, gr.Button(visible=False), gr.Button(visible=False), None, None


def _see(page: Page, name: str, model: str, row: int, step: int, fetch: bool, settings: NextToken) -> Any:
    """The row of that number, or the one before or after it; where it was deleted, the next one."""
    table = table_of(page, name)
    mapping = settle(look(name, page.workspace)).mapping
    ids = table.ids()
    if not len(ids):
        raise DatasetError("There are no rows left.", remedy="Undo, or add rows.")
    (at,) = (ids == row - 1).nonzero() if row - 1 in ids else ((ids >= row - 1).nonzero()[0],)
    place = max(0, min(len(ids) - 1, (int(at[0]) if len(at) else len(ids) - 1) + step))
    ((number, cells),) = table.fetch(ids[place : place + 1])
    inspector = page.inspector
    how = {"loss_on": settings.loss_on, "fetch": fetch}
    seen = inspector.see(model, cells, mapping, settings.cut_off(mapping), settings.chat_template, **how)
    head = [each for _, each in table.fetch(ids[:50])]
    notes = inspector.warnings(model, head, mapping, settings.chat_template) if seen.pieces else []
    return _tokens(table.called(number), seen, notes), number + 1


def _tokens(where: str, seen: Seen, notes: list[str]) -> str:
    """The row's text with each token in its colour; marks are named, spaces and line breaks stay."""
    told = "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)
    if seen.reason:
        told = f'<p class="fault">Nothing is learnt from {where}: {escaped(seen.reason)}</p>{told}'
    if not seen.pieces:
        return LEGEND + told
    spans = "".join(
        f'<span class="{piece.state}{" special" if piece.special else ""}" title="token {piece.token_id}">'
        f"{escaped(piece.text)}</span>"
        for piece in seen.pieces[:MOST_TOKENS]
        if piece.text
    )
    more = f'<p class="muted">The first {MOST_TOKENS:,} tokens are shown.</p>' if len(seen.pieces) > MOST_TOKENS else ""
    counts = (
        f"{where.capitalize()}: {seen.tokens:,} tokens, {seen.trained:,} learnt, "
        f"{seen.tokens - seen.trained - seen.cut:,} read only, {seen.cut:,} cut off."
    )
    drawn = f'<div class="seen" dir="auto" translate="no">{spans}</div>'
    return f'{LEGEND}{told}<p class="muted">{escaped(counts)}</p>{drawn}{more}'


def _measure(page: Page, name: str, model: str, fetch: bool, settings: NextToken) -> Iterator[Any]:
    """All rows' lengths, with progress."""
    table = table_of(page, name)
    mapping = settle(look(name, page.workspace)).mapping
    began = time.monotonic()
    cut_off = settings.cut_off(mapping)
    how = {"loss_on": settings.loss_on, "extra": edited(table), "fetch": fetch}
    asked = page.inspector.lengths(model, table.path, mapping, cut_off, settings.chat_template, **how)
    with closing(asked) as replies:  # pyright: ignore[reportArgumentType]
        for reply in replies:
            if isinstance(reply, Progress):
                share = reply.done / reply.total if reply.total else 0.0
                html = meter(share, reply.doing, time.monotonic() - began)
                yield html, gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
            else:
                yield _measured(name, table, reply, settings.max_length, packed=settings.packs(mapping))


def _measured(name: str, table: Table, result: Result, max_length: int, *, packed: bool) -> Any:
    lengths = result.lengths
    share = lengths.trained_tokens / max(lengths.tokens, 1)
    told = (
        f'<p class="ready">{lengths.rows:,} rows, {lengths.tokens:,} tokens, of which {share:.0%} are learnt. Half the '
        f"rows have up to {lengths.total.median:,} tokens, 95 % up to {lengths.total.p95:,}, the longest "
        f"{lengths.total.longest:,}.</p>"
    )
    if packed:
        blocks = -(-lengths.tokens // max_length)
        told += f'<p class="muted">Joined end to end they fill {blocks:,} blocks of {max_length:,} tokens.</p>'
    if lengths.truncated:
        told += (
            f'<p class="note">{lengths.truncated:,} rows are cut off at {max_length:,} tokens: their end is lost.</p>'
        )
    if lengths.untrained:
        why = " ".join(f"{count:,}: {reason}" for reason, count in lengths.reasons.items())
        told += f'<p class="fault">{lengths.untrained:,} rows teach nothing. {escaped(why)}</p>'
    told += "".join(f'<p class="note">{escaped(note)}</p>' for note in result.warnings)
    return (
        told,
        _charts(lengths, None if packed else max_length),
        gr.Button(visible=bool(lengths.truncated)),
        gr.Button(visible=bool(lengths.untrained)),
        handed(name, table, lengths.truncated_ids),
        handed(name, table, lengths.untrained_ids),
    )


def _charts(lengths: Summary, max_length: int | None) -> dict[str, Any]:
    def chart(name: str, part: Histogram, cut: int | None) -> dict[str, Any]:
        return {"name": name, "edges": part.edges, "rows": part.rows, "cut": cut}

    whole = chart("Whole rows, in the chat template", lengths.total, max_length)
    return {"charts": [whole, *(chart(name, part, None) for name, part in lengths.parts.items())]}
