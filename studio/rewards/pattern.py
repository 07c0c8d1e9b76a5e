"""Reward answers in which a regular expression is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from studio.errors import ConfigError, RewardError
from studio.rewards import Reward, Scorer, Tools
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace

_SECONDS = 2.0  # for one answer; a sound pattern needs thousandths of one


class Pattern(Reward):
    """The pattern may be found anywhere, unless it is to fit the whole answer.

    Patterns that try the same text in ever more ways, such as (a+)+$, are stopped and refused.
    """

    title: ClassVar[str] = "Pattern"
    about: ClassVar[str] = "1 for answers in which a regular expression is found, 0 for others."

    pattern: str = setting(
        "",
        "Regular expression",
        max_length=2_000,
        help=r"As Python writes them: '\d{4}-\d\d' finds a date. ^ and $ are the beginning and the end of a line.",
        source="pypi.org/project/regex",
    )
    whole: bool = setting(
        False, "Whole answer", help="The pattern must fit all of the answer, white space around it aside."
    )
    ignore_case: bool = setting(False, "Any case", help="Capital and small letters are taken for the same.")

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str) -> str:
        _compiled(pattern, ignore_case=False)
        return pattern

    def check(self, workspace: Workspace) -> None:
        if not self.pattern:
            raise ConfigError(
                "The reward 'Pattern' has nothing to look for.",
                remedy="Fill in 'Regular expression', or leave it out.",
            )

    def scorer(self, tools: Tools) -> Scorer:
        compiled = _compiled(self.pattern, ignore_case=self.ignore_case)
        find = compiled.fullmatch if self.whole else compiled.search

        def one(text: str) -> float:
            try:
                return float(find(text.strip() if self.whole else text, timeout=_SECONDS) is not None)
            except TimeoutError:
                raise RewardError(
                    f"The pattern of the reward 'Pattern' took over {_SECONDS:g} seconds on an answer of "
                    f"{len(text):,} characters.",
                    remedy="Write it without repetitions inside repetitions, such as (a+)+.",
                ) from None

        return lambda answers: [one(each.answer) for each in answers]


def _compiled(pattern: str, *, ignore_case: bool) -> Any:
    """Raises ConfigError for what is no pattern."""
    import regex

    try:
        return regex.compile(pattern, regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0))
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise ConfigError(
            f"'{pattern[:80]}' is no regular expression ({str(error)[:120]}).",
            remedy="Mend it; to look for a sign such as ( or * itself, write \\ in front of it.",
        ) from None
