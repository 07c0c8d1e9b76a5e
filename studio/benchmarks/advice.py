"""What to make of a benchmark, by rules, in words. A fast variant that is wrong is no win."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.benchmarks.figures import Figures, front

if TYPE_CHECKING:
    from studio.bench import Measured

AS_GOOD = 0.01  # of the best's bits per byte: about 2 % of perplexity, less than a seed changes in training
WORTH = 0.1  # of memory or speed: what less saves nobody looks for
FEW = 20  # requests, with which a 99th percentile is but the slowest


@dataclass(frozen=True)
class Advice:
    """For one load: what to take, and what speaks for it."""

    load: str  # in words; '' where there is but one
    text: str
    because: list[str]
    best: str = ""  # key of the variant to take; '' where there is none


def advise(measured: Sequence[Measured]) -> list[Advice]:
    """For each load by itself: what was asked more cannot be as quick."""
    done = [each for each in measured if each.figures]
    if not done:
        why = next((each.why for each in measured if each.why), "")
        text = f"Nothing could be measured: {why}" if why else "Nothing is measured yet."
        return [Advice("", text, [])]
    loads = list(dict.fromkeys(each.variant.load for each in done))
    return [_advice(_words(load) * (len(loads) > 1), [e for e in done if e.variant.load == load]) for load in loads]


def _words(load: tuple[int, int]) -> str:
    prompt, answer = load
    return f"{prompt:,} + {answer:,} tokens" if prompt else f"answers of up to {answer:,} tokens"


def _advice(load: str, done: list[Measured]) -> Advice:
    good, lost, unknown = _good(done)
    few = min(each.variant.batch_size for each in good)
    alone = min((each for each in good if each.variant.batch_size == few), key=lambda each: _of(each).latency.p50)
    many = max(good, key=lambda each: _of(each).output_rate)
    because = [
        _alone(alone, good),
        *_many(many, alone, good),
        *_leaner(good, many),
        *_lost(lost, many),
        *_unknown(unknown),
        *_caution(done),
    ]
    return Advice(load, f"Take {_short(alone)}{_beside(alone, many)}.", because, alone.variant.key)


def _beside(alone: Measured, many: Measured) -> str:
    if alone is many or alone.variant.setup == many.variant.setup:
        size = many.variant.batch_size
        return f", with up to {size} requests at once" if size > alone.variant.batch_size else ""
    return f" where one person waits, and {many.name} where many do"


def comparable(done: Sequence[Measured]) -> list[Measured]:
    """Those whose quality is that of the same texts, the most that any of them was scored on."""
    most = max((each.quality.bytes for each in done if each.quality and _bits(each) is not None), default=0)
    return [each for each in done if each.quality and each.quality.bytes == most > 0]


def _good(done: Sequence[Measured]) -> tuple[list[Measured], list[Measured], list[Measured]]:
    """Those as good as the best, those that are not, and those that cannot be compared, unless that is all of them."""
    same = comparable(done)
    if not same:
        return list(done), [], []
    bound = min(bits for each in same if (bits := _bits(each)) is not None) * (1 + AS_GOOD)
    good = [each for each in same if (bits := _bits(each)) is not None and bits <= bound]
    return good, [each for each in same if each not in good], [each for each in done if each not in same]


def _of(each: Measured) -> Figures:
    assert each.figures
    return each.figures


def _bits(each: Measured) -> float | None:
    return each.quality.bits_per_byte if each.quality else None


def _short(each: Measured) -> str:
    """Without the size of its batch."""
    return each.name.rpartition(", ")[0]


def moment(seconds: float) -> str:
    """A short time as people say it."""
    return f"{1000 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def _alone(best: Measured, good: Sequence[Measured]) -> str:
    found = _of(best)
    said = f"An answer takes {moment(found.latency.p50)}, its first token {moment(found.first.p50)}"
    if found.each:
        said += f", each further one {moment(found.each.p50)}"
    size = best.variant.batch_size
    said += f" ({best.variant.how}{'' if size == 1 else f', {size} at once'})."
    others = [each for each in good if each.variant.batch_size == size and each is not best]
    if others and (close := [each for each in others if _overlap(each, best)]):
        names = ", ".join(_short(each) for each in close[:2])
        said += f" {names} {'is' if len(close) == 1 else 'are'} as quick, as far as {len(found.rates)} rounds tell."
    return said


def _overlap(one: Measured, other: Measured) -> bool:
    """Whether their rounds' rates do: which of them is quicker is not sure."""
    a, b = _of(one).rates, _of(other).rates
    return min(a) <= max(b) and min(b) <= max(a)


def _many(many: Measured, alone: Measured, good: Sequence[Measured]) -> list[str]:
    if many is alone:
        return []
    found, was = _of(many), _of(alone)
    return [
        f"Most tokens a second: {many.name}, {found.output_rate:,.0f} instead of {was.output_rate:,.0f}, while each "
        f"answer takes {moment(found.latency.p50)} instead of {moment(was.latency.p50)}."
    ]


def _leaner(good: Sequence[Measured], many: Measured) -> list[str]:
    lean = min(good, key=lambda each: each.memory or math.inf)
    if not lean.memory or not many.memory or lean.memory > many.memory * (1 - WORTH):
        return []
    return [f"The least memory, as good: {lean.name}, {lean.memory:.2f} GB instead of {many.memory:.2f} GB."]


def _lost(lost: Sequence[Measured], many: Measured) -> list[str]:
    """Of what is less good: what would be quicker, and what would need less memory."""
    said = []
    gains: list[tuple[str, Callable[[Measured], float]]] = [
        ("quicker", lambda each: _of(each).output_rate / _of(many).output_rate),
        ("leaner", lambda each: many.memory / each.memory if each.memory and many.memory else 0.0),
    ]
    for word, gain in gains:
        best = max(lost, key=gain, default=None)
        if best and gain(best) > 1 + WORTH:
            said.append(f"{best.name} is {gain(best):.2g} times {word}, but not as good: {_worse(best, many)}.")
    return said


def _worse(one: Measured, other: Measured) -> str:
    if _bits(one) is None:
        return "its numbers overflow"
    assert one.quality
    assert other.quality
    return (
        f"perplexity {one.quality.perplexity:.4g} instead of {other.quality.perplexity:.4g}, "
        f"{_bits(one):.3f} bits per byte instead of {_bits(other):.3f}"
    )


def _unknown(unknown: Sequence[Measured]) -> list[str]:
    if not unknown:
        return []
    names = "; ".join(each.name for each in unknown[:3]) + (" …" if len(unknown) > 3 else "")
    return [f"Left out, as its quality is not known or is that of fewer texts: {names}."]


def _caution(done: Sequence[Measured]) -> list[str]:
    said = []
    if not any(_bits(each) is not None for each in done):
        said.append("No quality is known, so that only speed and memory were looked at.")
    if (fewest := min(_of(each).requests for each in done)) < FEW:
        said.append(f"{fewest} requests are few: the 95th and 99th percentiles are little more than the slowest one.")
    if min(len(_of(each).rates) for each in done) < 2:
        said.append("One round says nothing of how sure a difference is.")
    return said


def pareto(done: Sequence[Measured]) -> set[str]:
    """Keys of the variants that no other of the same load beats in quality, tokens a second and memory at once."""
    points: dict[tuple[int, int], dict[str, tuple[float, ...]]] = {}
    for each in comparable(done):
        if each.figures and (bits := _bits(each)) is not None:
            point = (bits, -each.figures.output_rate, each.memory or math.inf)
            points.setdefault(each.variant.load, {})[each.variant.key] = point
    return {
        key for some in points.values() for key, first in zip(some, front(list(some.values())), strict=True) if first
    }
