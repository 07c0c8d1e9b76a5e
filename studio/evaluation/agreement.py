"""How far two judges agree beyond what chance would bring about."""

from __future__ import annotations

from collections.abc import Sequence

# Landis & Koch 1977, "The measurement of observer agreement for categorical data", table on p. 165.
_WORDS = ((0.0, "none"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"), (1.0, "near perfect"))


def kappa(first: Sequence[bool], second: Sequence[bool]) -> float | None:
    """Cohen's kappa of two verdicts on the same things: 1 where all agree, 0 where no more do than by chance.

    Cohen 1960, doi:10.1177/001316446002000104, (p_o - p_e) / (1 - p_e). None where chance alone would make them
    agree, each saying the same of everything, and of nothing at all.
    """
    of = len(first)
    if not of:
        return None
    same = sum(one == other for one, other in zip(first, second, strict=True)) / of
    yes, also = sum(first) / of, sum(second) / of
    chance = yes * also + (1 - yes) * (1 - also)
    return None if chance == 1 else (same - chance) / (1 - chance)


def in_words(value: float) -> str:
    """What people call such a kappa."""
    return next(word for most, word in _WORDS if value <= most or most == 1.0)
