"""Reward long answers, up to a number of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from studio.rewards import Answered, Reward, Scorer, Tools
from studio.settings import setting


class Length(Reward):
    """min(words / wanted, 1), words being what white space parts."""

    title: ClassVar[str] = "Length"
    about: ClassVar[str] = "Longer answers score higher, until they have as many words as are wanted."

    words: int = setting(
        50,
        "Words wanted",
        ge=1,
        le=10_000,
        unit="words",
        help="An answer of so many words or more scores 1.",
        source="Singhal et al. 2023, arXiv:2310.03716, on what it does",
    )

    def scorer(self, tools: Tools) -> Scorer:
        def score(answers: Sequence[Answered]) -> list[float]:
            return [min(len(each.answer.split()) / self.words, 1.0) for each in answers]

        return score
