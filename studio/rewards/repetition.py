"""Reward answers that do not say the same again and again."""

from __future__ import annotations

from typing import ClassVar

from studio.rewards import Reward, Scorer, Tools
from studio.settings import setting


class Repetition(Reward):
    """Different n-grams of words / all n-grams of words; of a text shorter than n words, the text is the only one.

    Case does not count. An answer without words scores 0, or silence would be the safest answer.
    """

    title: ClassVar[str] = "No repetition"
    about: ClassVar[str] = "1 for answers in which no run of words comes twice; less, the more of them do."

    n: int = setting(
        3,
        "Words in a run",
        ge=1,
        le=20,
        unit="words",
        help="1 punishes every word said twice; 3 or 4 is usual.",
        source="Paulus et al. 2017, arXiv:1705.04304",
    )

    def scorer(self, tools: Tools) -> Scorer:
        def one(text: str) -> float:
            words = text.casefold().split()
            runs = [tuple(words[at : at + self.n]) for at in range(max(1, len(words) - self.n + 1))]
            return len(set(runs)) / len(runs) if words else 0.0

        return lambda answers: [one(each.answer) for each in answers]
