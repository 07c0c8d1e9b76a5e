"""What the samples' makers share: sentences from lists of phrases, and files of the same bytes every time."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def lines(text: str) -> list[str]:
    """The lines of a block, without blank ones."""
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


class Grammar:
    """Sentences in which `{name}` stands for a phrase of the list `name`, which may hold slots in turn.

    A list is dealt like a deck of cards: no phrase comes again before all others have come.
    """

    def __init__(self, seed: int, lists: dict[str, list[str]]) -> None:
        self.rng = random.Random(seed)
        self.lists = lists
        self._decks: dict[str, list[str]] = {}

    def draw(self, name: str) -> str:
        """The next phrase of a list, its slots not yet filled."""
        return self.deal(name, self.lists[name])

    def deal(self, name: str, phrases: list[str]) -> str:
        """The next of `phrases`, whose deck is remembered by `name`."""
        deck = self._decks.get(name)
        if not deck:
            deck = self._decks[name] = self.rng.sample(phrases, len(phrases))
        return deck.pop()

    def say(self, phrase: str, **slots: str) -> str:
        """The phrase with all its slots filled; those given count before the lists."""

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            return slots[name] if name in slots else self.say(self.draw(name), **slots)

        return re.sub(r"\{(\w+)\}", fill, phrase)

    def number(self, low: int, high: int) -> str:
        """A whole number between both, as digits."""
        return str(self.rng.randint(low, high))


def tidy(text: str) -> str:
    """One space between words, `an` before vowels, a capital at the beginning of each sentence."""
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r"\b([Aa]) (?=[aeioAEIO]|un(?!i))", r"\1n ", text)
    return re.sub(r"(^|[.!?]\s+|\n)([a-zà-ÿ])", lambda match: match[1] + match[2].upper(), text)


def distinct(make: Callable[[], Row], count: int, key: Callable[[Row], Any]) -> list[Row]:
    """So many rows of `make`, no two with the same key."""
    found: dict[Any, Row] = {}
    for _ in range(count * 50):
        if len(found) == count:
            break
        row = make()
        found.setdefault(key(row), row)
    if len(found) < count:
        raise ValueError(f"only {len(found)} of {count} distinct rows")
    return list(found.values())


def write(path: Path, rows: Iterable[Row]) -> None:
    """Rows as JSON Lines."""
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
