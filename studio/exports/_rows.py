"""The rows of a run as it read and divided them, and its curve."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.data.library import divided, open_source
from studio.data.templates import Mapping as Columns
from studio.errors import DatasetError
from studio.exports import Source
from studio.store import Store

if TYPE_CHECKING:
    from studio.data.dataset import Dataset


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
    if held_out and source.config.objective.writes:  # what only reads takes all, and its curve is of the first ones
        held_out = replace(held_out, rows=held_out.rows[: source.config.training.eval_rows])
    return sides.train, held_out, opened.mapping


def compared(source: Source, rows: int, counts: tuple[int, int]) -> str:
    """Whether these rows, of so many tokens, are what the run counted; `counts` is as `Program.counts` has it."""
    data = source.state.data
    assert data
    if counts == (data.tokens, data.trained_tokens):
        return f"{rows:,} rows, {_counted(*counts)}: as in the run."
    return (
        f"The rows are {_counted(*counts)}, where the run counted {_counted(data.tokens, data.trained_tokens)}: the "
        "tokenizer is another by now."
    )


def _counted(tokens: int, trained: int) -> str:
    return f"{tokens:,} tokens" + (f", {trained:,} of them learnt" if trained < tokens else "")


def curve(source: Source) -> Iterator[dict[str, Any]]:
    """The run's own losses, to hold the program's against."""
    for point in Store(source.workspace).points(source.state.id):
        kept = {name: point.metrics[name] for name in ("loss", "eval_loss") if name in point.metrics}
        if kept:
            yield {"step": point.step, **kept}


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
