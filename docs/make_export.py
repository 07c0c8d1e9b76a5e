"""Fills the table of forms in docs/export.md from their catalog; the rest of that page is written by hand.

python docs/make_export.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from studio.exports import exports
from studio.settings import facts

TARGET = Path(__file__).parent / "export.md"
_TABLE = re.compile(r"(<!-- forms -->\n).*(<!-- end -->)", re.DOTALL)


def text() -> str:
    """The whole page."""
    table = "".join(f"{line}\n" for line in _lines())
    return _TABLE.sub(lambda found: f"{found[1]}{table}{found[2]}", TARGET.read_text(encoding="utf-8"))


def _lines() -> Iterator[str]:
    yield "| form | what it is | file | settings |"
    yield "|---|---|---|---|"
    for key, cls in exports().items():
        own = "; ".join(f"`{fact.name}`: {', '.join(f'`{each}`' for each in fact.choices)}" for fact in facts(cls))
        yield f"| **{cls.title}**, `{key}` | {cls.about} | `{cls.ending}` | {own or 'none'} |"
    for cls in exports().values():
        yield from ("", f"**{cls.title}.** {' '.join(cleandoc(cls.__doc__ or '').split())}")
    yield ""


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
