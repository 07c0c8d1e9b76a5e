"""Which terms of the data would become tokens, shown before a run makes them so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.child import Progress
from studio.config import VocabularySettings
from studio.data.library import open_source
from studio.data.vocabulary import Proposal
from tabs._form import Group
from tabs._shared import PRIVATE, Page, escaped, meter, said

_SHOWN = 50  # terms, where none are asked for yet


def offer(page: Page, model: gr.Dropdown, source: gr.Dropdown, group: Group) -> None:
    """A button and the table that it fills; `group` edits VocabularySettings."""
    with gr.Accordion("Which terms would become tokens?", open=False):
        show = gr.Button("Show the terms", size="sm", elem_id="train-terms-show")
        table = gr.HTML("", apply_default_css=False, elem_id="train-terms")

    def terms(model: str, source: str, *raw: Any) -> Iterator[str]:
        yield from found_terms(page, model, source, VocabularySettings.parse(group.parse(raw), "vocabulary"))

    show.click(said(terms), [model, source, *group.components()], table, **PRIVATE)


def found_terms(page: Page, model: str, source: str, settings: VocabularySettings) -> Iterator[str]:
    """How far the search is, then its table, as HTML. Raises StudioError."""
    began, opened = time.monotonic(), open_source(source or "", page.workspace)
    most = settings.new_tokens or _SHOWN
    asked = page.inspector.terms(model, opened.train.path, opened.mapping, most, settings.min_count)
    with closing(asked) as replies:  # pyright: ignore[reportArgumentType]
        for reply in replies:
            if isinstance(reply, Progress):
                share = reply.done / reply.total if reply.total else 0.0
                yield meter(share, reply.doing, time.monotonic() - began)
            else:
                yield _table(reply, settings.min_count)


def _table(found: Proposal, min_count: int) -> str:
    if not found.terms:
        return f'<p class="muted">No term that takes several tokens occurs {min_count:,} times.</p>'
    saved = found.tokens_before - found.tokens_after
    rows = "".join(
        f"<tr><td>{escaped(each.term.strip())}</td><td>{each.count:,}</td><td>{each.pieces}</td>"
        f"<td>{each.count * (each.pieces - 1):,}</td></tr>"
        for each in found.terms
    )
    number = f"{len(found.terms):,} {'terms' if len(found.terms) > 1 else 'term'}"
    share = saved / max(found.tokens_before, 1)
    return (
        f'<p class="ready">{number} would save {saved:,} of {found.tokens_before:,} tokens ({share:.1%}).</p>'
        '<div class="terms"><table><thead><tr><th>Term</th><th>Occurrences</th><th>Tokens now</th>'
        f"<th>Tokens saved</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
