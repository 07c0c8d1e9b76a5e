"""Reward words that are there, and punish others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from studio.errors import ConfigError
from studio.rewards import Answered, Reward, Scorer, Tools
from studio.rewards._words import listed, occurs
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace


class Keywords(Reward):
    """wanted words found / wanted words - unwanted words found / unwanted words; an empty list counts 0.

    Each counts once, however often it stands there, and as a whole word: 'art' is not found in 'party'.
    """

    title: ClassVar[str] = "Keywords"
    about: ClassVar[str] = "Words that are wanted raise the score, words that are not lower it."
    lowest: ClassVar[float | None] = -1.0

    present: str = setting(
        "",
        "Words wanted",
        max_length=20_000,
        help="Words or phrases, parted by commas. Case does not count. The score is the share of them that is found.",
        source="Zhou et al. 2023, arXiv:2311.07911",
    )
    absent: str = setting(
        "",
        "Words not wanted",
        max_length=20_000,
        help="Likewise; the share of these that is found is taken off.",
    )

    def check(self, workspace: Workspace) -> None:
        if not listed(self.present) and not listed(self.absent):
            raise ConfigError(
                "The reward 'Keywords' has no words to look for.",
                remedy="Fill in 'Words wanted' or 'Words not wanted', or leave it out.",
            )

    def bait(self) -> str:
        return " ".join(listed(self.present))

    def scorer(self, tools: Tools) -> Scorer:
        present, absent = listed(self.present), listed(self.absent)

        def score(answers: Sequence[Answered]) -> list[float]:
            return [_share(present, each.answer) - _share(absent, each.answer) for each in answers]

        return score


def _share(words: list[str], text: str) -> float:
    return sum(occurs(word, text) for word in words) / len(words) if words else 0.0
