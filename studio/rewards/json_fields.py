"""Reward JSON whose values are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from studio.rewards import Answered, Reward, Scorer, Tools


class JsonFields(Reward):
    """fields with the right value / fields of the right answer, of the top level.

    0 where one of the two is no JSON object with fields. Fields of the answer's own are not punished.
    """

    title: ClassVar[str] = "JSON fields"
    about: ClassVar[str] = "The share of the right answer's JSON fields that the answer has with the same value."
    compares: ClassVar[bool] = True

    def scorer(self, tools: Tools) -> Scorer:
        from studio.evaluation.metrics import field_accuracy, json_of

        def one(each: Answered) -> float:
            wanted = json_of(each.reference)
            if not isinstance(wanted, dict) or not wanted:
                return 0.0
            return field_accuracy([each.reference], [each.answer])

        def score(answers: Sequence[Answered]) -> list[float]:
            return [one(each) for each in answers]

        return score
