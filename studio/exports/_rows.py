"""The rows of a run as its model saw them: text with the stretches that are learnt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.data.library import divided, open_source
from studio.data.templates import Mapping as Columns
from studio.errors import DatasetError
from studio.exports import Source
from studio.objectives.next_token import NextToken
from studio.store import Store

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.rendering import Rendered


def rows_of(source: Source) -> tuple[Dataset, Dataset | None, Columns]:
    """As the run read and divided them. Raises DatasetError where they are others by now."""
    chosen, data = source.config.dataset, source.state.data
    opened = open_source(chosen.source, source.workspace, chosen.mapping(), chosen.version)
    shares = (chosen.validation_share, chosen.test_share)
    sides = divided(opened, shares, source.config.seed, chosen.split, chosen.split_column)
    if data is None or sides.train.fingerprint != data.fingerprint:
        raise DatasetError(
            f"The rows of {opened.title} are others than when this run learnt from them.",
            remedy="Bring the old ones back, or run it again on the new ones.",
        )
    held_out = sides.validation
    if held_out:
        held_out = replace(held_out, rows=held_out.rows[: source.config.training.eval_rows])
    return sides.train, held_out, opened.mapping


def rendered(dataset: Dataset, columns: Columns, tokenizer: Any, objective: NextToken) -> list[dict[str, Any]]:
    """Rows that hold something to learn, as text with the stretches that are learnt; plain text is learnt whole."""
    from jinja2 import TemplateError

    from studio.data.rendering import render
    from studio.data.templates import to_messages, to_text
    from studio.data.tokens import encode_rendered, encode_text

    cut_off, found = objective.cut_off(columns), []
    for row in dataset.rows:
        if columns.format == "text":
            text = to_text(row, columns)
            found += [{"text": text}] if encode_text(text, tokenizer, cut_off) else []
        elif messages := to_messages(row, columns):
            try:
                shown: Rendered = render(messages, tokenizer, objective.loss_on)
            except TemplateError:
                continue
            if encode_rendered([shown], tokenizer, cut_off)[0]:
                found.append({"text": shown.text, "learnt": [list(span) for span in shown.spans]})
    return found


def compared(source: Source, learnt: list[dict[str, Any]], columns: Columns, tokenizer: Any) -> list[str]:
    """Whether these rows are as many tokens as the run counted."""
    from studio.data.rendering import Rendered
    from studio.data.tokens import encode_rendered, encode_text, pack, report_on

    objective, data = source.config.objective, source.state.data
    assert isinstance(objective, NextToken) and data  # noqa: PT018
    cut_off = objective.cut_off(columns)
    if columns.format == "text":
        rows = [encode_text(row["text"], tokenizer, cut_off) for row in learnt]
    else:
        shown = [Rendered(row["text"], [(begin, end) for begin, end in row["learnt"]]) for row in learnt]
        rows = encode_rendered(shown, tokenizer, cut_off)
    kept = [row for row in rows if row]
    report = report_on(pack(kept, objective.max_length) if objective.packs(columns) else kept, 0)
    if (report.tokens, report.trained_tokens) == (data.tokens, data.trained_tokens):
        return [
            f"{len(learnt):,} rows, {report.tokens:,} tokens, {report.trained_tokens:,} of them learnt: as in the run."
        ]
    return [
        f"The rows are {report.tokens:,} tokens, {report.trained_tokens:,} of them learnt, where the run counted "
        f"{data.tokens:,} and {data.trained_tokens:,}: the tokenizer is another by now."
    ]


def curve(source: Source) -> Iterator[dict[str, Any]]:
    """The run's own losses, to hold the program's against."""
    for point in Store(source.workspace).points(source.state.id):
        kept = {name: point.metrics[name] for name in ("loss", "eval_loss") if name in point.metrics}
        if kept:
            yield {"step": point.step, **kept}


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
