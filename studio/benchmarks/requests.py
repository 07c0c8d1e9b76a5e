"""What a model is asked, the same for all variants, and what its quality is measured on."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice

from studio.benchmarks.engines import Engine
from studio.benchmarks.figures import Quality
from studio.benchmarks.passage import PARAGRAPHS, TEXT
from studio.benchmarks.variants import BenchSettings, Variant, run_of, search_of
from studio.data.library import open_source
from studio.data.turns import Message
from studio.errors import ModelError, RunError
from studio.parts import parts
from studio.prompt import examples_of, plain
from studio.study import look_up
from studio.workspace import Workspace

_STEP = 37  # tokens between the beginnings of two prompts: a prime, so that few of them begin alike


@dataclass(frozen=True)
class Row:
    """A conversation that asks, and its right answer."""

    asks: list[Message]
    answer: str


def rows_of(workspace: Workspace, settings: BenchSettings) -> list[Row]:
    """Those that are asked, in an order that the seed decides; none where the text of ours is.

    Raises StudioError, also where some were chosen and there are none.
    """
    if not settings.prompts:
        return []
    if run := run_of(settings.prompts):
        with workspace.run(run).held_out.open(encoding="utf-8") as file:
            talks = [json.loads(line) for line in file]
        rows = [Row(turns[:-1], turns[-1]["content"]) for turns in talks if len(turns) > 1]
    elif search := search_of(settings.prompts):
        study = look_up(workspace, search)
        prompt = study.best.prompt if study.best else study.start
        sealed = parts(workspace, study.settings).sealed
        rows = [Row(prompt.messages(each.fields), each.answer) for each in sealed]
    else:
        opened = open_source(settings.prompts, workspace)
        loaded = opened.train.load().rows
        prompt = plain(loaded, opened.mapping)
        rows = [Row(prompt.messages(each.fields), each.answer) for each in examples_of(loaded, opened.mapping)]
    if not rows:
        raise RunError("No row of the chosen prompts has a question and an answer.", remedy="Choose other prompts.")
    random.Random(settings.seed).shuffle(rows)  # noqa: S311 - nothing secret
    return rows[: settings.rows]


def prompts(engine: Engine, rows: Sequence[Row], variant: Variant) -> Iterator[list[int]]:
    """Tokens of one prompt after the other, without an end: of the rows, or cut from our text to length.

    Raises ModelError where the model can read none of them with an answer behind it.
    """
    most = engine.reads - variant.answer_tokens
    if rows:
        known = [ids for row in rows if len(ids := engine.chat(row.asks)) <= most]
        if not known:
            raise ModelError(
                f"None of the prompts fits into the {engine.reads:,} tokens that the model reads.",
                remedy="Choose shorter ones, or shorter answers.",
            )
        yield from cycle(known)
    if variant.prompt_tokens > most:
        raise ModelError(
            f"{variant.prompt_tokens:,} tokens and an answer are more than the {engine.reads:,} that it reads.",
            remedy="Choose shorter prompts or answers.",
        )
    text = engine.text(TEXT)
    yield from (_cut(text, at * _STEP, variant.prompt_tokens) for at in count())  # none is kept: that would be memory


def _cut(text: list[int], begin: int, length: int) -> list[int]:
    """As if the text went on from its end at its beginning."""
    return [text[(begin + at) % len(text)] for at in range(length)]


def batch_of(source: Iterator[list[int]], size: int) -> list[list[int]]:
    """The next prompts."""
    return list(islice(source, size))


def quality(engine: Engine, rows: Sequence[Row]) -> Quality:
    """How likely the rows' right answers are, with the token that ends each; without rows, our text a paragraph each.

    What the model cannot read is left out.
    """
    nats, tokens, size, scored = 0.0, 0, 0, 0
    for found, text in _scored(engine, rows):
        if found:
            nats, tokens, size, scored = nats + found[0], tokens + found[1], size + len(text.encode()), scored + 1
    return Quality(nats, tokens, size, scored, len(rows) or len(PARAGRAPHS))


def _scored(engine: Engine, rows: Sequence[Row]) -> Iterator[tuple[tuple[float, int] | None, str]]:
    """((nats, tokens) or None, the text that they are of)."""
    for row in rows:
        yield engine.likely(row.asks, row.answer), row.answer
    if not rows:
        for text in PARAGRAPHS:
            ids = engine.text(text)
            fits = 1 < len(ids) <= engine.reads
            yield (engine.nats(ids[:1], ids[1:]), len(ids) - 1) if fits else None, text
