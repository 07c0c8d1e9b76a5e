"""Fills the table of strategies in docs/prompts.md from their catalog; the rest of that page is written by hand.

python docs/make_prompts.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from studio.methods import ARXIV
from studio.prompts import strategies
from studio.settings import facts

TARGET = Path(__file__).parent / "prompts.md"
_TABLE = re.compile(r"(<!-- strategies -->\n).*(<!-- end -->)", re.DOTALL)


def text() -> str:
    """The whole page."""
    table = "".join(f"{line}\n" for line in _lines())
    return _TABLE.sub(lambda found: f"{found[1]}{table}{found[2]}", TARGET.read_text(encoding="utf-8"))


def _lines() -> Iterator[str]:
    yield "| strategy | what it does | settings |"
    yield "|---|---|---|"
    for key, cls in strategies().items():
        own = ", ".join(f"`{fact.name}`" for fact in facts(cls))
        yield f"| **{cls.title}**, `{key}` | {cls.about} | [{own}](settings.md#strategy-name-{key}) |"
    for cls in strategies().values():
        yield from ("", f"**{cls.title}.** {_linked(cleandoc(cls.__doc__ or ''))}")
    yield ""


def _linked(told: str) -> str:
    return ARXIV.sub(r"[\g<0>](https://arxiv.org/abs/\1)", told)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
