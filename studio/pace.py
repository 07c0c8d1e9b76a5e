"""What a few measured steps say of a whole run: how long it takes, and which batch suits the machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

RISE = 1.05  # a larger batch must bring this many times the tokens a second to be worth its memory
MOST = 1024  # rows of a batch that are tried at most
FLOOR = 0.03  # a machine is never steadier than this share: other programs, heat
_STUDENT = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86)  # t for 90 %, by degrees of freedom from 1


@dataclass(frozen=True)
class Step:
    """An update as it was measured."""

    tokens: int
    seconds: float


@dataclass(frozen=True)
class Span:
    """Seconds."""

    low: float
    likely: float
    high: float

    def plus(self, seconds: float) -> Span:
        """The same with something after it that is known no better."""
        grown = 1 + seconds / self.likely
        return Span(self.low * grown, self.likely * grown, self.high * grown)


def duration(measured: Sequence[Step], steps: float, tokens: float) -> Span:
    """How long `steps` steps over `tokens` tokens in all take: within the bounds nine times of ten.

    Least squares, s = a + b t for a step of t tokens; where the measured ones hardly differ in size, or a line would
    not rise, s = b t. The variance of the sum is steps² σ² (1/n + (t - mean)² / S) + steps σ², as for any regression.
    """
    n = len(measured)
    mean, mean_seconds = sum(s.tokens for s in measured) / n, sum(s.seconds for s in measured) / n
    spread = sum((s.tokens - mean) ** 2 for s in measured)
    slope = sum((s.tokens - mean) * s.seconds for s in measured) / spread if spread > n * (0.02 * mean) ** 2 else 0.0
    start = mean_seconds - slope * mean
    if slope <= 0 or start < 0:
        slope, start, spread = mean_seconds / mean, 0.0, 0.0
    likely = steps * start + slope * tokens
    free = n - (2 if spread else 1)
    if free < 1:
        return Span(0.8 * likely, likely, 1.2 * likely)
    variance = sum((s.seconds - start - slope * s.tokens) ** 2 for s in measured) / free
    away = (tokens / steps - mean) ** 2 / spread if spread else 0.0
    error = _STUDENT[min(free, len(_STUDENT)) - 1] * sqrt(variance * (steps**2 * (1 / n + away) + steps))
    error = max(error, FLOOR * likely)
    fastest = min(s.seconds / (start + slope * s.tokens) for s in measured)  # a run of many is no faster throughout
    return Span(max(likely - error, min(fastest, 1 - FLOOR) * likely), likely, likely + error)


@dataclass(frozen=True)
class Trial:
    """A batch that was tried: its longest rows, and what a step over them took."""

    rows: int
    tokens: int
    memory: int  # bytes at most; of one that was not tried, what those before it foretell
    seconds: float = 0.0  # a step; 0 where it does not fit

    @property
    def fits(self) -> bool:
        return self.seconds > 0

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds if self.fits else 0.0


@dataclass(frozen=True)
class Found:
    """Batches in the order in which they were tried, the one to take, and why no larger one."""

    trials: list[Trial]
    best: Trial | None  # None: not even the smallest fits
    why: Literal["memory", "speed", "rows"]


def largest(
    sizes: Sequence[int],
    tokens: Callable[[int], int],
    measure: Callable[[int], Generator[Any, None, Trial]],
    limit: int,
) -> Generator[Any, None, Found]:
    """The batch to take of `sizes`, which rise. Yields each Trial, and what `measure` yields before it has one.

    Doubled for as long as that makes it faster; between what fits and what does not, halved. `tokens(rows)` says how
    many a batch has. What is foretold to hold more than `limit` bytes is not tried.
    """
    trials: list[Trial] = []

    def tried(place: int) -> Generator[Any, None, Trial]:
        rows = sizes[place]
        foretold = foretell(trials, tokens(rows))
        trial = Trial(rows, tokens(rows), foretold) if foretold > limit else (yield from measure(rows))
        trials.append(trial)
        yield trial
        return trial

    place, fitting, beyond, fastest = 0, -1, len(sizes), 0.0
    why: Literal["memory", "speed", "rows"] = "rows"
    while place < len(sizes):
        trial = yield from tried(place)
        if not trial.fits:
            beyond, why = place, "memory"
            break
        fitting = place
        if trial.speed < RISE * fastest:
            why = "speed"
            break
        fastest = trial.speed
        place = next((at for at, size in enumerate(sizes) if size >= 2 * sizes[place]), max(place + 1, len(sizes) - 1))
    while why == "memory" and fitting >= 0 and beyond - fitting > 1 and not _close(sizes[fitting], sizes[beyond]):
        middle = (fitting + beyond) // 2
        trial = yield from tried(middle)
        fitting, beyond = (middle, beyond) if trial.fits else (fitting, middle)
    fastest = max((trial.speed for trial in trials), default=0.0)
    worth = [trial for trial in trials if trial.fits and trial.speed * RISE >= fastest]
    return Found(trials, min(worth, key=lambda trial: trial.rows, default=None), why)


def _close(fits: int, beyond: int) -> bool:
    """An eighth more rows would be worth no further step."""
    return beyond - fits <= max(1, fits // 8)


def foretell(trials: Sequence[Trial], tokens: int) -> int:
    """Bytes that a batch of so many tokens will hold, m = a + b t through the two largest that fit; 0: not known."""
    known = sorted({trial.tokens: trial for trial in trials if trial.fits}.values(), key=lambda trial: trial.tokens)
    if len(known) < 2:
        return 0
    small, large = known[-2:]
    slope = max(large.memory - small.memory, 0) / (large.tokens - small.tokens)
    return round(large.memory + slope * (tokens - large.tokens))


def sizes_for(effective: int, rows: int, *, larger: bool = False) -> list[int]:
    """Batch sizes to choose from: those that accumulate to exactly `effective` rows an update, or all there are."""
    bound = min(rows, MOST)
    if larger:
        return list(range(1, bound + 1))
    return [size for size in range(1, min(effective, bound) + 1) if effective % size == 0]


def end_of_sizes(effective: int, rows: int, *, larger: bool = False) -> Literal["update", "data", "most"]:
    """Why `sizes_for` names no larger ones: an update must not change, the data end, or nobody takes more."""
    if not larger and effective <= min(rows, MOST):
        return "update"
    return "data" if rows <= MOST else "most"


def settled(effective: int, rows: int) -> tuple[int, int]:
    """(batch size, accumulation) with at most `rows` rows at a time; an update sees `effective` rows, or `rows`."""
    if rows >= effective:
        return rows, 1
    size = max(size for size in range(1, rows + 1) if effective % size == 0)
    return size, effective // size
