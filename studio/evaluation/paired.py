"""Whether one model is better than another on the same rows, for any measure that is a function of sums over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray
    # What rows add up to, of shape (draws, statistics), to what it is worth, of shape (draws,).
    Score = Callable[[Array], Array]

LEVEL = 0.95  # of the intervals, and with it what counts as significant
DRAWS = 2000
_SEED = 20261122


@dataclass(frozen=True)
class Change:
    """How much more one scores than another, on the same rows."""

    gain: float
    low: float  # of the interval that holds the true gain 19 times of 20
    high: float
    p: float  # how often chance alone would bring about as large a difference


def whole(stats: Array, score: Score) -> float:
    """What all rows are worth together; `stats` has shape (rows, statistics)."""
    return float(score(stats.sum(axis=0, keepdims=True))[0])


def interval(stats: Array, score: Score) -> tuple[float, float]:
    """Of `whole`: percentiles of what rows drawn anew, with replacement, are worth (Efron 1979)."""
    return _ends(score(_resampled(stats)))


def change(before: Array, after: Array, score: Score) -> Change:
    """From one model to another, whose rows stand in the same order: both `stats` have shape (rows, statistics).

    The interval is the paired bootstrap's: the same rows are drawn for both (Koehn 2004, Statistical Significance
    Tests for Machine Translation Evaluation). p is the two-sided one of approximate randomisation (Noreen 1989; Riezler
    & Maxwell 2005): were both alike, each row's two answers might as well be swapped. Of a mean over rows that is the
    sign-flip test, and of rights and wrongs McNemar's. (b + 1) / (m + 1), as m draws cannot show that p is 0 (Phipson &
    Smyth 2010, arXiv:1603.05766).
    """
    import numpy as np

    gain = whole(after, score) - whole(before, score)
    low, high = _ends(score(_resampled(after)) - score(_resampled(before)))
    dice = np.random.default_rng(_SEED)
    swaps = dice.integers(0, 2, size=(DRAWS, len(before)), dtype=np.int8).astype(np.float32)
    moved = (swaps @ (after - before).astype(np.float32)).astype(float)
    by_chance = score(after.sum(axis=0) - moved) - score(before.sum(axis=0) + moved)
    as_large = np.abs(by_chance) >= abs(gain) - 1e-6 * max(1.0, abs(gain))  # rounding makes no difference rarer
    return Change(gain, low, high, float((as_large.sum() + 1) / (DRAWS + 1)))


def holm(found: Sequence[float]) -> list[float]:
    """Each p as it stands beside the others: so many comparisons bring about small ones by chance.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    order = sorted(range(len(found)), key=lambda place: found[place])
    adjusted, least = [0.0] * len(found), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(found) - rank) * found[place]))
        adjusted[place] = least
    return adjusted


def _resampled(stats: Array) -> Array:
    """The sums of DRAWS samples of as many rows, of shape (draws, statistics)."""
    return (_counts(len(stats)) @ stats.astype("float32")).astype(float)


@lru_cache(maxsize=2)
def _counts(rows: int) -> Array:
    """How often each sample holds each row, of shape (draws, rows): the same for all that is measured."""
    import numpy as np

    dice = np.random.default_rng(_SEED)
    return np.stack([np.bincount(dice.integers(0, rows, rows), minlength=rows) for _ in range(DRAWS)]).astype("float32")


def _ends(values: Array) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
