"""Reward answers that are the right answer."""

from __future__ import annotations

from typing import ClassVar

from studio.rewards import Reward, Scorer, Tools


class Exact(Reward):
    """1 where the answer equals the right one, white space around both aside; else 0.

    JSON objects and lists are compared by value: neither their spaces nor the order of their fields count.
    """

    title: ClassVar[str] = "Exact match"
    about: ClassVar[str] = "1 for answers that are the right answer of the row, letter by letter; 0 for others."
    compares: ClassVar[bool] = True

    def scorer(self, tools: Tools) -> Scorer:
        from studio.evaluation.metrics import exact_match

        return lambda answers: [exact_match([each.reference], [each.answer]) for each in answers]
