"""Reward answers that a program can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from studio.rewards import Answered, Reward, Scorer, Tools
from studio.rewards._words import listed
from studio.settings import setting


class JsonValid(Reward):
    """0 where the answer is not one JSON object or list; else (1 + required fields found) / (1 + required fields).

    Strict: a code fence or a sentence around the value makes it invalid.
    """

    title: ClassVar[str] = "Valid JSON"
    about: ClassVar[str] = "1 for answers that are one JSON object or list and nothing else, with the fields asked for."

    fields: str = setting(
        "",
        "Required fields",
        max_length=5_000,
        help="Names of the object's top-level fields, parted by commas. An object that lacks some scores less. "
        "Empty: any valid JSON scores 1.",
    )

    def scorer(self, tools: Tools) -> Scorer:
        from studio.evaluation.metrics import json_of

        required = listed(self.fields)

        def one(text: str) -> float:
            value = json_of(text)
            if value is None:
                return 0.0
            found = sum(field in value for field in required) if isinstance(value, dict) else 0
            return (1 + found) / (1 + len(required))

        def score(answers: Sequence[Answered]) -> list[float]:
            return [one(each.answer) for each in answers]

        return score
