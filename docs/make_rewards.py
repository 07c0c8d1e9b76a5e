"""Writes docs/rewards.md from the catalog of rewards, which state what they are for themselves.

python docs/make_rewards.py
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from studio.methods import ARXIV
from studio.rewards import Reward, rewards
from studio.settings import facts

TARGET = Path(__file__).parent / "rewards.md"


def text() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Rewards: what scores an answer"
    yield ""
    yield "Made by `python docs/make_rewards.py` from the classes that declare them; a test keeps it true."
    yield ""
    yield "PPO, GRPO and RLOO make answers likelier that score higher. Any number of rewards count together: each score"
    yield "times its weight, summed. A negative weight makes a penalty. In a config:"
    yield ""
    yield "```yaml"
    yield "rewards:"
    yield "  length: {words: 30}"
    yield "  keywords: {present: 'please, thank you', weight: 2}"
    yield "```"
    yield ""
    yield "What is rewarded is what a model learns, also where that is not what was meant: see in the Rewards tab what"
    yield "they would teach before you train on them."
    yield from ("", "| reward | scores | what it needs | settings |", "|---|---|---|---|")
    for key, cls in rewards().items():
        own = ", ".join(f"`{fact.name}`" for fact in facts(cls) if fact.name != "weight") or "none"
        link = f"[{own}](settings.md#rewards-{key})"
        yield f"| [`{key}`](#{cls.title.lower().replace(' ', '-')}) | {_bounds(cls)} | {_needs(cls)} | {link} |"
    for cls in rewards().values():
        yield from ("", f"## {cls.title}", "", cls.about, "", _linked(cleandoc(cls.__doc__ or "")))


def _bounds(cls: type[Reward]) -> str:
    ends = [f"from {cls.lowest:g}"] if cls.lowest is not None else []
    ends += [f"to {cls.highest:g}"] if cls.highest is not None else []
    return " ".join(ends) or "any number"


def _needs(cls: type[Reward]) -> str:
    needs = ["right answers in the data"] if cls.compares else []
    needs += ["the model that answers"] if cls.asks_model else []
    needs += ["a run trained here"] if cls.runs_of else []
    return " and ".join(needs) or "nothing"


def _linked(told: str) -> str:
    return ARXIV.sub(r"[\g<0>](https://arxiv.org/abs/\1)", told)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
