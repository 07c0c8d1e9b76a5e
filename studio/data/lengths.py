"""How long rows are in tokens, how many are cut off, and which of them teach nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studio.data.rendering import LossOn
from studio.data.seen import RowTokens, laid_out
from studio.data.templates import Mapping, as_text, to_messages
from studio.data.tokens import IGNORED

IDS_KEPT = 10_000  # row ids of a kind; beyond that they are counted only
_BARS = 40  # of a histogram, at most
_REASONS = 10  # why rows are not learnt, the most frequent first


@dataclass(frozen=True)
class Histogram:
    """How many rows have how many tokens."""

    edges: list[int]  # bar i counts rows of edges[i] tokens up to below edges[i + 1]; the last takes the long tail
    rows: list[int]
    median: int
    p95: int  # 95 of 100 rows are no longer
    longest: int


@dataclass(frozen=True)
class Summary:
    """The lengths of all rows. As in a run's report, rows that teach nothing count neither as tokens nor as cut."""

    rows: int
    tokens: int  # within the cut-off
    trained_tokens: int
    truncated: int  # rows learnt with their end cut off
    truncated_ids: list[int]  # the first IDS_KEPT of them
    untrained: int  # rows without a learnt token
    untrained_ids: list[int]
    reasons: dict[str, int]  # why → rows, the most frequent reasons
    total: Histogram  # whole rows in their template, before the cut-off
    parts: dict[str, Histogram]  # of each column, or speaker where a column holds turns: their text alone


class Lengths:
    """Adds up rows, a batch at a time; memory grows with the number of different lengths only."""

    def __init__(self, mapping: Mapping, tokenizer: Any, max_length: int, loss_on: LossOn = "answers") -> None:
        self.mapping, self.tokenizer, self.max_length = mapping, tokenizer, max_length
        self.loss_on: LossOn = loss_on
        self._rows = self._tokens = self._trained = 0
        self._truncated, self._untrained = _Ids(), _Ids()
        self._reasons: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()  # tokens → rows
        self._parts: dict[str, Counter[int]] = {}

    def add(self, rows: list[tuple[int, dict[str, Any]]]) -> None:
        """(id, row) each; some hundred at once are quickest. Raises ModelError."""
        found = laid_out([row for _, row in rows], self.mapping, self.tokenizer, self.loss_on)
        for (row_id, _), one in zip(rows, found, strict=True):
            self._count(row_id, one)
        self._count_parts([row for _, row in rows])

    def _count(self, row_id: int, one: RowTokens) -> None:
        self._rows += 1
        if one.ids:
            self._lengths[len(one.ids)] += 1
        if why := one.why_untrained(self.max_length):
            self._untrained.add(row_id)
            self._reasons[why] += 1
            return
        self._tokens += min(len(one.ids), self.max_length)
        self._trained += sum(label != IGNORED for label in one.labels[1 : self.max_length])
        if len(one.ids) > self.max_length:
            self._truncated.add(row_id)

    def _count_parts(self, rows: list[dict[str, Any]]) -> None:
        named = [part for row in rows for part in _parts(row, self.mapping)]
        if named:
            ids = self.tokenizer([text for _, text in named], add_special_tokens=False, verbose=False)["input_ids"]
            for (name, _), tokens in zip(named, ids, strict=True):
                self._parts.setdefault(name, Counter())[len(tokens)] += 1

    def summary(self) -> Summary:
        """All that was added so far."""
        return Summary(
            rows=self._rows,
            tokens=self._tokens,
            trained_tokens=self._trained,
            truncated=self._truncated.count,
            truncated_ids=self._truncated.kept,
            untrained=self._untrained.count,
            untrained_ids=self._untrained.kept,
            reasons=dict(self._reasons.most_common(_REASONS)),
            total=_histogram(self._lengths),
            parts={name: _histogram(lengths) for name, lengths in self._parts.items()},
        )


class _Ids:
    def __init__(self) -> None:
        self.count, self.kept = 0, []

    def add(self, row_id: int) -> None:
        self.count += 1
        if len(self.kept) < IDS_KEPT:
            self.kept.append(row_id)


def _parts(row: dict[str, Any], mapping: Mapping) -> Iterator[tuple[str, str]]:
    """(column, its text) each; a lone column of turns gives (speaker, all that one says)."""
    if mapping.format == "text" or len(mapping.columns) > 1:
        for column in mapping.columns.values():
            yield column, as_text(row.get(column))
        return
    said: dict[str, list[str]] = {}
    for message in to_messages(row, mapping) or []:
        said.setdefault(message["role"], []).append(message["content"])
    yield from ((role, "\n".join(texts)) for role, texts in said.items())


def _histogram(lengths: Counter[int]) -> Histogram:
    if not lengths:
        return Histogram([0, 1], [0], 0, 0, 0)
    p99, longest = _quantile(lengths, 0.99), max(lengths)
    sizes = (step * 10**power for power in range(12) for step in (1, 2, 5))
    width = next(size for size in sizes if size * (_BARS - 1) > p99)
    bars = min(longest // width, p99 // width + 1) + 1
    rows = [0] * bars
    for length, count in lengths.items():
        rows[min(length // width, bars - 1)] += count
    edges = [bar * width for bar in range(bars)] + [max(bars * width, longest + 1)]
    return Histogram(edges, rows, _quantile(lengths, 0.5), _quantile(lengths, 0.95), longest)


def _quantile(lengths: Counter[int], share: float) -> int:
    """The least length that `share` of the rows do not exceed."""
    wanted, passed = share * lengths.total(), 0
    for length in sorted(lengths):
        passed += lengths[length]
        if passed >= wanted:
            return length
    return 0
