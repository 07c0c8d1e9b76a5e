"""Writes docs/settings.md from the Settings classes, which state each field once.

python docs/make_settings.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.reference import Section, sections
from studio.settings import Facts, facts

TARGET = Path(__file__).parent / "settings.md"


def text() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Made by `python docs/make_settings.py` from the classes that declare them; a test keeps it true."
    for section in sections():
        yield from _table(section)


def _table(section: Section) -> Iterator[str]:
    yield from ("", f"## {section.heading}", "")
    if section.about:
        yield from (section.about, "")
    yield "| setting | default | values | what it does |"
    yield "|---|---|---|---|"
    yield from (_row(fact) for fact in facts(section.settings))


def _row(fact: Facts) -> str:
    default = "not set" if fact.default is None else f"`{_written(fact.default)}`"
    source = f" ({fact.source})" if fact.source else ""
    return f"| `{fact.name}` | {default} | {_values(fact)} | {fact.help}{source} |"


def _written(default: Any) -> str:
    """As YAML has it, where that is another way than Python's."""
    return json.dumps(default) if isinstance(default, tuple) else f"{default}"


def _values(fact: Facts) -> str:
    if fact.choices:
        listed = "list of " if fact.kind == "list" else ""
        return listed + ", ".join(f"`{choice}`" for choice in fact.choices)
    ends = [f"from {fact.minimum:,}"] if fact.minimum is not None else []
    ends += [f"to {fact.maximum:,}"] if fact.maximum is not None else []
    words = {"int": "whole number", "float": "number", "bool": "`true`, `false`", "text": "text", "list": "list"}
    return " ".join([words[fact.kind], *ends, *([f"({fact.unit})"] if fact.unit else [])])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
