"""Answers that somebody judged → tokens: two to one prompt, or each alone, for what learns from preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jinja2 import TemplateError

from studio.data.rendering import Rendered, render
from studio.data.templates import Mapping, to_labelled_answer, to_pair
from studio.data.tokenised import Tokenised, tokenised
from studio.data.tokens import IGNORED, Counts, Encoded, batches, check_tokenizer, encode_rendered, nothing_left
from studio.data.turns import Message

_WHOLE = 1 << 30  # tokens: as good as no limit

Row = dict[str, Any]
Told = Callable[[int, int], None] | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer behind its prompt, and behind these the same prompt with an answer to another one."""

    input_ids: list[int]
    labels: list[int]  # the answers' own tokens, -100 elsewhere
    documents: list[int]  # tokens of each of the two
    good: bool
    truncated: bool  # the answer's end was cut off


def encode_pairs(
    rows: list[Row], mapping: Mapping, tokenizer: Any, max_length: int, progress: Told = None
) -> tuple[Tokenised[Encoded], int]:
    """A row of two documents for each pair, prompt and chosen answer before prompt and rejected one; rows left out.

    Only the answers have labels, up to and with their end of turn. Each document is cut at `max_length` tokens; left
    out are pairs that cannot be read, whose prompt alone fills these, or whose answers differ only behind them. Raises
    DatasetError where none is left, ModelError where the tokenizer cannot do this.
    """

    def read(row: Row) -> _Read | None:
        found = to_pair(row, mapping)
        return found and _Read(found[0], found[1:])

    found = _encoded(rows, mapping, read, tokenizer, max_length, progress)
    pairs = [
        Encoded(
            chosen.input_ids + rejected.input_ids,
            chosen.labels + rejected.labels,
            chosen.truncated or rejected.truncated,
            [len(chosen.input_ids), len(rejected.input_ids)],
        )
        for (chosen, rejected), _ in found
    ]
    return tokenised(Encoded, pairs), len(rows) - len(pairs)


def encode_judged(
    rows: list[Row], mapping: Mapping, tokenizer: Any, max_length: int, progress: Told = None
) -> tuple[Tokenised[Judged], int]:
    """Each judged answer, and behind it another row's answer to the same prompt; how many rows were left out.

    Of a pair the chosen answer is a good one, the rejected one bad. Cut, left out and refused as in `encode_pairs`. The
    other row lies half the data away: neighbours may well answer the same prompt.
    """

    def read(row: Row) -> _Read | None:
        if mapping.format == "preference":
            both = to_pair(row, mapping)
            return both and _Read(both[0], both[1:], (True, False))
        one = to_labelled_answer(row, mapping)
        return one and _Read(one[0], one[1:2], one[2:])

    told = _encoded(rows, mapping, read, tokenizer, max_length, progress)
    found = [each for answers, verdicts in told for each in zip(answers, verdicts, strict=True)]
    judged: list[Judged] = []
    for place, (own, good) in enumerate(found):
        other, _ = found[(place + max(1, len(found) // 2)) % len(found)]
        begin, answer = _answer_at(own), other.input_ids[_answer_at(other) :]
        ids = (own.input_ids[:begin] + answer)[:max_length]
        labels = ([IGNORED] * begin + answer)[:max_length]
        lengths = [len(own.input_ids), len(ids)]
        judged.append(Judged(own.input_ids + ids, own.labels + labels, lengths, good, own.truncated))
    return tokenised(Judged, judged), len(rows) - len(told)


def encode_answers(conversations: Sequence[list[Message]], tokenizer: Any, max_length: int) -> list[list[int] | None]:
    """The tokens of each conversation up to and with the end of its last answer, as in `encode_pairs`.

    Of one that is longer than `max_length` the prompt's beginning is left out first, for its answer is what is asked
    about; then the answer's end. None: nothing stands for the answer, which is empty. Raises jinja2's TemplateError
    where the template refuses one.
    """
    rendered = [render(each, tokenizer, "last_answer") for each in conversations]
    found = [each and _ended(each) for each in encode_rendered(rendered, tokenizer, _WHOLE)]
    return [each and each.input_ids[_too_many(each, max_length) :][:max_length] for each in found]


def _too_many(row: Encoded, max_length: int) -> int:
    """How many of the prompt's tokens have no place."""
    return min(max(0, len(row.input_ids) - max_length), _answer_at(row))


@dataclass(frozen=True)
class _Read:
    """What stands in a row."""

    prompt: list[Message]
    answers: tuple[str, ...]
    good: tuple[bool, ...] = ()  # whether each is, where that was said

    def rendered(self, tokenizer: Any) -> list[Rendered]:
        return [
            render([*self.prompt, {"role": "assistant", "content": answer}], tokenizer, "last_answer")
            for answer in self.answers
        ]


def _encoded(
    rows: list[Row],
    mapping: Mapping,
    read: Callable[[Row], _Read | None],
    tokenizer: Any,
    max_length: int,
    progress: Told,
) -> list[tuple[list[Encoded], tuple[bool, ...]]]:
    """(Each answer behind the prompt, which of them are good) of rows that can be learnt from. Raises DatasetError."""
    check_tokenizer(tokenizer)
    counts = Counts()
    found: list[tuple[list[Encoded], tuple[bool, ...]]] = []
    for batch in batches(rows):
        written: list[tuple[list[Rendered], tuple[bool, ...]]] = []
        for row in batch:
            if (one := read(row)) is None:
                counts.unreadable(row, mapping)
                continue
            try:
                written.append((one.rendered(tokenizer), one.good))
            except TemplateError as error:
                counts.refuse(error)
        encoded = iter(encode_rendered([each for answers, _ in written for each in answers], tokenizer, max_length))
        for answers, good in written:
            whole = [_ended(each) for each in islice(encoded, len(answers)) if each is not None]
            if len(whole) == len(answers) == len({tuple(each.input_ids) for each in whole}):
                found.append((whole, good))
            else:
                counts.too_long += 1
        counts.seen += len(batch)
        if progress:
            progress(counts.seen, len(rows))
    if not found:
        raise nothing_left(counts, max_length)
    return found


def _ended(row: Encoded) -> Encoded:
    """Without the line break that templates put behind the end of a turn: nobody learns or judges it."""
    end = 1 + max(place for place, label in enumerate(row.labels) if label != IGNORED)
    return Encoded(row.input_ids[:end], row.labels[:end], row.truncated)


def _answer_at(row: Encoded) -> int:
    return next(place for place, label in enumerate(row.labels) if label != IGNORED)
