"""A speaker without a model: what it knows shows the better, the more of the examples before a question are golden."""

from __future__ import annotations

import json
import math
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.data.turns import Message
from studio.rewards import Answered, Scores
from studio.speaker import Spoken

_WORDS = [
    a + b for a in ("ba", "ke", "lo", "mi", "nu", "po", "ri", "sa", "tu", "ve") for b in ("d", "k", "n", "r", "s")
]
_THING = re.compile(r"thing \d+")


def rows(count: int = 200, seed: int = 0) -> list[dict[str, str]]:
    """No two of them alike; of each four one is golden."""
    dice = random.Random(seed)
    return [
        {
            "prompt": f"{' '.join(dice.sample(_WORDS, 6))}: {'golden' if place % 4 == 0 else 'plain'} thing {place}?",
            "completion": f"{dice.choice(_WORDS)} {dice.choice(_WORDS)} {place}",
        }
        for place in range(count)
    ]


def write_rows(path: Path, told: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, told)), encoding="utf-8")
    return str(path)


class Coached:
    """Implements `Speaker`, and remembers all that it was asked.

    `window`: it reads so many characters. `tells`: what helps, each, in the system text.
    """

    def __init__(self, known: Sequence[dict[str, str]], window: int = 10_000, tells: Sequence[str] = ()) -> None:
        self._known = {str(_THING.search(each["prompt"])[0]): each["completion"] for each in known}  # pyright: ignore
        self._window, self._tells = window, tells
        self.asked: list[tuple[str, tuple[str, ...]]] = []  # how, and what was said

    def answers(self, asked: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Spoken | None]:
        return [self._answer(each) if self._read("answers", each) else None for each in asked]

    def likelihoods(self, asked: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[tuple[float, int] | None]:
        return [self._likely(each) if self._read("likelihoods", each) else None for each in asked]

    def _read(self, how: str, messages: Sequence[Message]) -> bool:
        said = tuple(each["content"] for each in messages)
        self.asked.append((how, said))
        return _length(messages) <= self._window

    def _answer(self, messages: Sequence[Message]) -> Spoken:
        thing = _thing(messages)
        text = self._known[thing] if _hard(thing) < self._skill(messages) else "no idea"
        return Spoken(text, _length(messages), len(text))

    def _likely(self, messages: Sequence[Message]) -> tuple[float, int]:
        return math.log(0.02 + 0.9 * self._skill(messages)) - _hard(_thing(messages)), _length(messages)

    def _skill(self, messages: Sequence[Message]) -> float:
        golden = sum("golden" in each["content"] for each in messages[:-1] if each["role"] == "user")
        told = sum(each in messages[0]["content"] for each in self._tells if messages[0]["role"] == "system")
        return min(1.0, 0.1 + 0.2 * golden + 0.3 * told)


def right(answers: Sequence[Answered]) -> Scores:
    """1 for the right answer."""
    total = [float(each.answer == each.reference) for each in answers]
    return Scores({"exact": total}, total)


def _thing(messages: Sequence[Message]) -> str:
    found = _THING.search(messages[-1]["content"])
    assert found
    return found[0]


def _hard(thing: str) -> float:
    """0 to 1, the same each time."""
    return zlib.crc32(thing.encode()) % 1000 / 1000


def _length(messages: Sequence[Message]) -> int:
    return sum(len(each["content"]) for each in messages)
