"""HOW better prompts are looked for. One file per strategy; the file name is its key."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Protocol

from studio.catalog import Entry, discover
from studio.data.turns import Message
from studio.prompt import Example, Prompt


class Spent(Exception):
    """The budget is used up, or somebody stopped it: the search ends with what it has."""


class Bench(Protocol):
    """All that a strategy knows of the world, and all that it can do. What it scores here is remembered."""

    start: Prompt
    pool: Sequence[Example]  # rows to make demonstrations of, none of them scored
    examples: Sequence[Example]  # rows to score prompts on
    dice: random.Random  # the study's own: the same study tries the same prompts

    @property
    def highest(self) -> float:
        """No score is above it; infinite where they have no bound."""
        ...

    def score(self, prompt: Prompt, places: Sequence[int] | None = None, how: str = "") -> list[float]:
        """What it gets on the examples at `places`, or on all; more is better. Scored already, it costs nothing.

        `how` says in a few words how the prompt came about. Raises Spent.
        """
        ...

    def answers(self, prompt: Prompt, places: Sequence[int]) -> list[str]:
        """What the model answered there. Raises Spent."""
        ...

    def write(self, asked: Sequence[Message]) -> str:
        """What the writing model, which may be a larger one, says to a conversation: the same whenever it is asked.

        Raises Spent and StudioError.
        """
        ...


class Strategy(Entry):
    """Base of all strategies."""

    def search(self, bench: Bench) -> None:
        """Score prompts until there is no more to try, or `Spent`. The engine chooses among what was scored."""
        raise NotImplementedError


def strategies() -> dict[str, type[Strategy]]:
    """Key → settings class of every strategy there is."""
    return discover(sys.modules[__name__], Strategy)  # pyright: ignore[reportReturnType]
