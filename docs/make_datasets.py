"""Writes the tables of docs/datasets.md from the catalogs of formats, checks, makers and file kinds.

python docs/make_datasets.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.data.checks import checks
from studio.data.files import SUFFIXES
from studio.data.formats import FORMATS
from studio.data.makers import makers
from studio.settings import Settings, facts

TARGET = Path(__file__).parent / "datasets.md"


def text() -> str:
    """The whole page: what is written by hand as it is, each table between its marks made anew."""
    tables = {"files": _files, "formats": _formats, "checks": _checks, "makers": _makers}

    def made(found: re.Match[str]) -> str:
        return "\n".join([f"<!-- {found[1]} -->", *tables[found[1]](), "<!-- end -->"])

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", made, TARGET.read_text(encoding="utf-8"), flags=re.S)


def _files() -> Iterator[str]:
    yield ", ".join(f"`{suffix}`" for suffix in SUFFIXES)


def _formats() -> Iterator[str]:
    yield from ("| format | parts | what it is |", "|---|---|---|")
    for spec in FORMATS.values():
        parts = ", ".join(role.label if role.required else f"({role.label})" for role in spec.roles)
        yield f"| {spec.label} | {parts} | {spec.help} |"


def _checks() -> Iterator[str]:
    yield from ("| check | what is looked for | kind | what mends it | thresholds |", "|---|---|---|---|---|")
    for cls in checks().values():
        usual = "" if cls.default else " (when asked for)"
        remedy = cls.remedy or "your own eyes"
        yield f"| {cls.title}{usual} | {cls.about} | {cls.severity} | {remedy} | {_thresholds(cls)} |"


def _makers() -> Iterator[str]:
    yield from ("| maker | what it makes | needs a model | settings |", "|---|---|---|---|")
    for cls in makers().values():
        needs = "yes: a run of yours" if cls.needs_model else "no"
        yield f"| {cls.title} | {cls.about} | {needs} | {', '.join(fact.label for fact in facts(cls))} |"


def _thresholds(cls: type[Settings]) -> str:
    return ", ".join(f"{fact.label} {'not set' if fact.default is None else fact.default}" for fact in facts(cls))


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
