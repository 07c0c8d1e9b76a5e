"""What follows from the times at which tokens came: latencies, rates and their spread; and what no other variant beats.

Tools define these differently, so each figure names its formula. Times are in seconds.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise

from studio.data.export import neutral


@dataclass(frozen=True)
class Batch:
    """Requests that were answered together."""

    times: tuple[float, ...]  # from the moment they were asked until each step's tokens had come
    wrote: tuple[int, ...]  # tokens of each answer, its end among them: those that came, not those asked for
    read: tuple[int, ...]  # tokens of each prompt

    @property
    def seconds(self) -> float:
        """Until all were answered."""
        return self.times[-1]

    @property
    def latencies(self) -> list[float]:
        """Of each request: until its own last token."""
        return [self.times[count - 1] for count in self.wrote]


@dataclass(frozen=True)
class Spread:
    """Of several values. The standard deviation is that of a sample; 0 of one value."""

    mean: float
    sd: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Percentiles lie between neighbours where they must (numpy's default). None of no values."""
        import numpy as np

        if not values:
            return None
        p50, p95, p99 = (float(each) for each in np.percentile(values, [50, 95, 99]))
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), sd, p50, p95, p99)


@dataclass(frozen=True)
class Figures:
    """Of one variant, all its rounds together."""

    requests: int
    first: Spread  # time to first token: from asking until the first token, the prompt being read
    between: Spread | None  # inter-token latency: from one token to the next; None where answers have one token
    each: Spread | None  # time per output token: (latency - time to first token) / (tokens - 1), a request each
    latency: Spread  # end to end: from asking until the answer's last token
    output_rate: float  # tokens written / seconds, of all batches
    total_rate: float  # tokens read and written / seconds
    request_rate: float  # requests / seconds, as many at once as the batch holds
    rates: tuple[float, ...]  # the output rate of each round: how far they lie apart is how sure it is
    mean_answer: float  # tokens of an answer
    mean_prompt: float  # tokens of a prompt


def figures(rounds: Sequence[Sequence[Batch]]) -> Figures:
    """Of the batches of each round. Raises ValueError where nothing was asked."""
    batches = [batch for each in rounds for batch in each]
    first = Spread.of([batch.times[0] for batch in batches for _ in batch.wrote])
    latency = Spread.of([each for batch in batches for each in batch.latencies])
    if first is None or latency is None:
        raise ValueError("nothing was asked")
    seconds, requests = sum(batch.seconds for batch in batches), sum(len(batch.wrote) for batch in batches)
    written, read = sum(sum(batch.wrote) for batch in batches), sum(sum(batch.read) for batch in batches)
    return Figures(
        requests=requests,
        first=first,
        between=Spread.of([b - a for batch in batches for a, b in pairwise(batch.times)]),
        each=Spread.of(
            [
                (batch.times[count - 1] - batch.times[0]) / (count - 1)
                for batch in batches
                for count in batch.wrote
                if count > 1
            ]
        ),
        latency=latency,
        output_rate=written / seconds,
        total_rate=(written + read) / seconds,
        request_rate=requests / seconds,
        rates=tuple(_rate(each) for each in rounds if each),
        mean_answer=written / requests,
        mean_prompt=read / requests,
    )


def _rate(batches: Sequence[Batch]) -> float:
    return sum(sum(batch.wrote) for batch in batches) / sum(batch.seconds for batch in batches)


@dataclass(frozen=True)
class Quality:
    """How likely the right answers are to a model, weighted by tokens."""

    nats: float  # -log of the probability of all of them; not finite where the number format overflowed
    tokens: int
    bytes: int  # of their texts as UTF-8
    rows: int = 0  # so many texts
    asked: int = 0  # so many there were: those that the model cannot read were left out

    @property
    def perplexity(self) -> float | None:
        """exp(nats / tokens): of models with the same tokens only. None where that is no number."""
        mean = self.nats / self.tokens if self.tokens else math.inf
        return math.exp(mean) if mean < 700 else None

    @property
    def bits_per_byte(self) -> float | None:
        """nats / (bytes ln 2): comparable whatever the tokens. None where that is no number."""
        bits = self.nats / (self.bytes * math.log(2)) if self.bytes else math.inf
        return bits if math.isfinite(bits) else None


def front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Which points no other one beats: none is as small in everything and smaller in something (Pareto)."""
    return [
        not any(other != point and all(b <= a for a, b in zip(point, other, strict=True)) for other in points)
        for point in points
    ]


def as_csv(rows: Sequence[dict[str, object]]) -> str:
    """A table with a heading, of rows with the same keys; texts that a spreadsheet would run are made safe."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(neutral(each) for each in (rows[0] if rows else {}))
    for row in rows:
        writer.writerow(neutral(cell) if isinstance(cell, str) else cell for cell in row.values())
    return written.getvalue()


def flat(found: Figures) -> dict[str, float | None]:
    """A column for each figure; the parts of a spread are named after it, as in `latency_p95`."""
    row: dict[str, float | None] = {}
    for each in fields(Figures):
        value = getattr(found, each.name)
        if each.name in _SPREADS:
            parts = asdict(value) if value else dict.fromkeys(Spread.__dataclass_fields__)
            row |= {f"{_SPREADS[each.name]}_{part}": number for part, number in parts.items()}
        elif each.name != "rates":
            row[each.name] = value
    return row


_SPREADS = {
    "first": "time_to_first_token",
    "between": "inter_token_latency",
    "each": "time_per_output_token",
    "latency": "latency",
}
