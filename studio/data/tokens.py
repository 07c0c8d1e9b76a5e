"""Conversations → token ids, and which of them the loss counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from studio.data.rendering import LossOn, Rendered, chat_template_of, render, use_template
from studio.data.templates import CHOOSE_COLUMNS, Mapping, explain_row, to_messages, to_text
from studio.data.tokenised import Tokenised, cut, tokenised
from studio.errors import DatasetError, ModelError

__all__ = [
    "IGNORED", "Counts", "Encoded", "Report", "batches", "check_tokenizer", "encode_chat", "encode_rendered",
    "encode_rows", "encode_text", "labels_of", "nothing_left", "pack", "report_on", "use_template",
]  # fmt: skip

IGNORED = -100  # the label torch's cross-entropy leaves out
_BATCH = 256  # rows tokenised at once; progress is told after each batch


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row or packed block as a model takes it. Ids and labels have one entry a token, max_length at most."""

    input_ids: list[int]
    labels: list[int]  # the token's own id where it is learnt (not shifted), -100 elsewhere
    truncated: bool  # its end was cut off
    documents: list[int] = field(default_factory=list)  # tokens of each text in a packed block, in order


@dataclass(frozen=True)
class Report:
    """What became of the rows."""

    truncated: int  # rows kept, but with their end cut off
    skipped: int  # rows with nothing to learn, or whose answer begins beyond the cut-off
    tokens: int
    trained_tokens: int  # those the loss counts


def encode_chat(messages: list[dict[str, str]], tokenizer: Any, max_length: int) -> Encoded | None:
    """The conversation in the model's own chat template; the loss counts the assistant's turns.

    Each counts up to and with its end-of-turn token, or the model would not learn to stop; the line
    break that a template puts behind that token does not. None: no learnt token is left within
    `max_length`. Raises ModelError without a chat template or a fast tokenizer, and jinja2's
    TemplateError where the template refuses the conversation.
    """
    check_tokenizer(tokenizer)
    return encode_rendered([render(messages, tokenizer)], tokenizer, max_length)[0]


def encode_text(text: str, tokenizer: Any, max_length: int) -> Encoded | None:
    """Plain text, all of it learnt, the end-of-text token too unless it was cut off. None: no text."""
    if not text.strip():
        return None
    ids = list(tokenizer(text, verbose=False)["input_ids"])
    end = tokenizer.eos_token_id
    if end is not None and ids[-1:] != [end]:
        ids.append(end)
    kept = ids[:max_length]
    return Encoded(kept, list(kept), len(ids) > max_length)


def encode_rows(
    rows: list[dict[str, Any]],
    mapping: Mapping,
    tokenizer: Any,
    max_length: int,
    progress: Callable[[int, int], None] | None = None,
    loss_on: LossOn = "answers",
) -> tuple[Tokenised[Encoded], Report]:
    """All rows that hold something to learn, in order, and what became of the others.

    `progress(done, total)` counts rows. Raises DatasetError where no row is left, ModelError where
    the tokenizer cannot do this.
    """
    if mapping.format != "text":
        check_tokenizer(tokenizer)
    counts = Counts()

    def learnt() -> Iterator[Encoded]:
        for batch in batches(rows):
            if mapping.format == "text":
                found = [encode_text(to_text(row, mapping), tokenizer, max_length) for row in batch]
                counts.empty += found.count(None)
            else:
                rendered = [one for row in batch if (one := _rendered(row, mapping, tokenizer, loss_on, counts))]
                found = encode_rendered(rendered, tokenizer, max_length)
                counts.too_long += found.count(None)
            yield from (one for one in found if one is not None)
            counts.seen += len(batch)
            if progress:
                progress(counts.seen, len(rows))

    encoded = tokenised(Encoded, learnt())
    if not encoded:
        raise nothing_left(counts, max_length)
    return encoded, report_on(encoded, len(rows) - len(encoded))


def pack(encoded: Sequence[Encoded], max_length: int) -> Tokenised[Encoded]:
    """All tokens end to end, in blocks of `max_length`; only the last is shorter, and nothing is cut away.

    Brown et al. 2020, arXiv:2005.14165, appendix B, but that a block remembers where its documents begin, so that
    they need not see one another. The first token of each, or of what goes on in the next block, is never predicted.
    """
    import numpy

    rows = tokenised(Encoded, encoded)
    ids, labels = rows.flat("input_ids"), rows.flat("labels")
    bounds = numpy.append(numpy.arange(0, len(ids), max_length), len(ids))  # of blocks
    begins = numpy.union1d(bounds, rows.lengths.cumsum())  # of documents, and the end
    predicted = labels != IGNORED
    predicted[begins[:-1]] = False
    kept = numpy.add.reduceat(predicted, bounds[:-1]) > 0
    columns = {"input_ids": ids, "labels": labels, "truncated": numpy.zeros(len(kept), bool)}
    lists = {"input_ids": bounds, "labels": bounds, "documents": numpy.searchsorted(begins, bounds)}
    blocks = cut(Encoded, {**columns, "documents": numpy.diff(begins)}, lists)
    return blocks.take(numpy.flatnonzero(kept).tolist())


@dataclass
class Counts:
    """Why rows were skipped."""

    seen: int = 0
    empty: int = 0  # no prompt or no answer
    why_empty: str = ""  # of the first such row
    too_long: int = 0  # the answer begins beyond the cut-off
    refused: int = 0  # by the chat template
    refusal: str = ""  # its first words on that

    def unreadable(self, row: dict[str, Any], mapping: Mapping) -> None:
        """Count a row that cannot be read so."""
        self.empty += 1
        self.why_empty = self.why_empty or explain_row(row, mapping)

    def refuse(self, error: Exception) -> None:
        """Count a row that the template refuses; it says why itself, e.g. "System role not supported"."""
        self.refused += 1
        self.refusal = self.refusal or str(error)[:200]


def check_tokenizer(tokenizer: Any) -> None:
    """Raise ModelError where no conversation can be rendered, or no token be told apart as learnt."""
    chat_template_of(tokenizer)
    if not tokenizer.is_fast:
        raise ModelError(
            "This model's tokenizer is an old, slow one that cannot tell where a token stands in the text.",
            remedy="Choose a model that comes with a tokenizer.json.",
        )


def batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many rows as are tokenised at once."""
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _rendered(
    row: dict[str, Any], mapping: Mapping, tokenizer: Any, loss_on: LossOn, counts: Counts
) -> Rendered | None:
    from jinja2 import TemplateError

    messages = to_messages(row, mapping)
    if messages is None:
        counts.unreadable(row, mapping)
        return None
    try:
        return render(messages, tokenizer, loss_on)
    except TemplateError as error:
        counts.refuse(error)
        return None


def encode_rendered(rendered: list[Rendered], tokenizer: Any, max_length: int) -> list[Encoded | None]:
    """Each as a model takes it; None where no learnt token is left within `max_length`."""
    if not rendered:
        return []
    texts = [one.text for one in rendered]
    # The template has written all special tokens already.
    batch = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        _masked(ids, offsets, one.spans, max_length)
        for ids, offsets, one in zip(batch["input_ids"], batch["offset_mapping"], rendered, strict=True)
    ]


def _masked(
    ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]], max_length: int
) -> Encoded | None:
    labels = labels_of(ids, offsets, spans)[:max_length]
    if all(label == IGNORED for label in labels[1:]):  # the first token is never predicted
        return None
    return Encoded(list(ids[:max_length]), labels, len(ids) > max_length)


def labels_of(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """Labels where a token has a character of a span. One that straddles the answer's first is learnt:

    tokenizers glue the space in front to a word, and the word must not be lost.
    """
    return [
        token if any(start < end_at and begin_at < end for start, end in spans) else IGNORED
        for token, (begin_at, end_at) in zip(ids, offsets, strict=True)
    ]


def report_on(encoded: Sequence[Any], skipped: int) -> Report:
    """The counts of rows, or blocks, that will be trained on: Encoded ones, or columns that hold the same."""
    rows = tokenised(Encoded, encoded)
    learnt = rows.flat("labels") != IGNORED
    lengths = rows.flat("documents") if len(rows.flat("documents")) else rows.lengths
    learnt[lengths.cumsum() - lengths] = False  # the first token of each is never predicted
    return Report(
        truncated=int(rows.flat("truncated").sum()),
        skipped=skipped,
        tokens=int(rows.lengths.sum()),
        trained_tokens=int(learnt.sum()),
    )


def nothing_left(counts: Counts, max_length: int) -> DatasetError:
    """What to raise where no row is left."""
    rows = f"All {counts.seen:,} rows" if counts.seen != 1 else "The only row"
    verb = "are" if counts.seen != 1 else "is"
    if counts.too_long == counts.seen > 0:
        return DatasetError(
            f"{rows} {verb} longer than the cut-off of {max_length:,} tokens before the answer begins.",
            remedy="Raise 'Cut-off length', or shorten the prompts.",
        )
    if counts.refused:
        return DatasetError(
            f"The model's chat template refuses the conversations: {counts.refusal.rstrip('.')}.",
            remedy="Leave 'System prompt' without a column, or set 'Chat template' to 'chatml'.",
        )
    if counts.too_long:
        return DatasetError(
            f"None of the {counts.seen:,} rows can be learnt from: {counts.too_long:,} are longer than the cut-off "
            f"of {max_length:,} tokens before the answer begins, {counts.empty:,} have no answer.",
            remedy="Raise 'Cut-off length', and look at the rows in the Dataset tab.",
        )
    first = f": in the first, {counts.why_empty}" if counts.why_empty else ""
    return DatasetError(f"None of the {counts.seen:,} rows holds anything to learn{first}.", remedy=CHOOSE_COLUMNS)
