"""WHAT scores an answer. One file per reward; the file name is its key."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from studio.catalog import Entry, discover
from studio.data.turns import Message
from studio.errors import RewardError, StudioError, ran_out_of_memory
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that is to be scored."""

    prompt: str  # the last thing that was asked, as its author wrote it
    answer: str  # without special tokens
    reference: str = ""  # the right answer; '' where the data has none
    before: Sequence[Message] = ()  # what was said before the prompt, the oldest first

    def asked(self) -> list[Message]:
        """The conversation that is to be answered."""
        return [*self.before, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True)
class Tools:
    """What a reward may use beside the texts: it must leave the model as it found it."""

    workspace: Workspace
    model: Any = None  # the one that answers, in training or in a preview; None where only texts are at hand
    tokenizer: Any = None


Scorer = Callable[[Sequence[Answered]], Sequence[float]]


class Reward(Entry):
    """Base of all rewards: numbers that are higher for better answers."""

    lowest: ClassVar[float | None] = 0.0  # what it gives at least; None: unbounded
    highest: ClassVar[float | None] = 1.0
    compares: ClassVar[bool] = False  # needs the right answer of the row
    asks_model: ClassVar[bool] = False  # needs the model that answers, see Tools
    runs_of: ClassVar[tuple[str, ...]] = ()  # objectives of the runs that its setting 'run' may name

    weight: float = setting(
        1.0,
        "Weight",
        ge=-100,
        le=100,
        help="What it counts in the sum of all rewards; below 0 it is a penalty.",
        source="Wu et al. 2023, arXiv:2306.01693",
    )

    def check(self, workspace: Workspace) -> None:
        """Raise ConfigError where what it needs is not there, such as words to look for. Imports no torch."""

    def bait(self) -> str:
        """What a text without sense would hold to be liked, such as the words looked for; '' where nothing would do."""
        return ""

    def scorer(self, tools: Tools) -> Scorer:
        """What scores answers, a number each, in their order. Loads whatever it needs."""
        raise NotImplementedError


@dataclass(frozen=True)
class Scores:
    """What answers got, each a number an answer."""

    parts: dict[str, list[float]]  # key of the reward → what it gave, before its weight
    total: list[float]  # the weighted sum


class Combined:
    """The weighted sum of several rewards, each of them looked at before it counts."""

    def __init__(self, chosen: Mapping[str, Reward], tools: Tools) -> None:
        self.chosen = dict(chosen)
        self._scorers = {key: reward.scorer(tools) for key, reward in self.chosen.items()}

    def __call__(self, answers: Sequence[Answered]) -> Scores:
        """Raises RewardError where a reward fails, or gives something else than a finite number an answer."""
        parts = {key: self._ask(key, answers) for key in self.chosen}
        total = [
            sum(self.chosen[key].weight * given[place] for key, given in parts.items()) for place in range(len(answers))
        ]
        return Scores(parts, total)

    def _ask(self, key: str, answers: Sequence[Answered]) -> list[float]:
        title = self.chosen[key].title
        try:
            given = [float(score) for score in self._scorers[key](answers)]
        except StudioError:
            raise
        except Exception as error:
            if ran_out_of_memory(error):  # which smaller batches may mend
                raise
            raise RewardError(
                f"The reward '{title}' failed ({type(error).__name__}: {str(error)[:200]}).",
                remedy="Change its settings, or leave it out.",
            ) from error
        if len(given) != len(answers):
            raise RewardError(
                f"The reward '{title}' gave {len(given)} scores for {len(answers)} answers.",
                remedy="Leave it out; a reward gives one number an answer.",
            )
        for score, answer in zip(given, answers, strict=True):
            if not math.isfinite(score):
                raise RewardError(
                    f"The reward '{title}' gave {score} for the answer '{answer.answer[:60]}'.",
                    remedy="Change its settings, or leave it out; a reward is a finite number.",
                )
        return given


def rewards() -> dict[str, type[Reward]]:
    """Key → settings class of every reward there is."""
    return discover(sys.modules[__name__], Reward)  # pyright: ignore[reportReturnType]
