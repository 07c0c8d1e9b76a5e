"""Terms of fine-tuning, and every setting with its help: what the page's glossary searches in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from studio.reference import Section, sections
from studio.settings import Facts, Settings, facts

_CITED = re.compile(r"[A-Z][\w-]+(?:\s+et\s+al\.|\s+&\s+[A-Z][\w-]+)?\s+\d{4},\s+arXiv:\d{4}\.\d{4,5}")
TERMS = Path(__file__).resolve().parents[1] / "assets" / "glossary.yaml"


@dataclass(frozen=True)
class Entry:
    """A term, or a setting."""

    name: str
    text: str
    source: str  # paper, book or documentation behind it; settings may have none
    kind: Literal["term", "setting"]
    where: str = ""  # of a setting: where it stands in a file, and its key


@cache
def terms() -> tuple[Entry, ...]:
    """By the alphabet."""
    told = yaml.safe_load(TERMS.read_text(encoding="utf-8"))
    found = [Entry(each["term"], each["text"], each["source"], "term") for each in told]
    return tuple(sorted(found, key=lambda each: each.name.lower()))


@cache
def settings() -> tuple[Entry, ...]:
    """One for each field that says the same of itself, however many groups have it; in the order of the docs."""
    found: dict[tuple[str, str, str], tuple[Facts, str, list[str]]] = {}
    for section in sections():
        for fact in facts(section.settings):
            begun = fact, _paper(section.settings), []
            _, _, places = found.setdefault((fact.label, fact.help, fact.source), begun)
            places.append(_place(section, fact))
    return tuple(
        Entry(fact.label, _help(fact), fact.source or paper, "setting", _said(places))
        for fact, paper, places in found.values()
    )


def _paper(group: type[Settings]) -> str:
    """What stands behind a group as a whole: as it says, or as its docstring cites it; "" where neither does."""
    cited = _CITED.search(group.__doc__ or "")
    return str(getattr(group, "paper", "")) or (" ".join(cited[0].split()) if cited else "")


def _help(fact: Facts) -> str:
    """With what it may be, where that is one of a few."""
    return f"{fact.help} One of: {', '.join(fact.choices)}." if fact.choices else fact.help


def _place(section: Section, fact: Facts) -> str:
    """As in 'method lora: r'."""
    heading = section.heading.replace("{name: ", "").replace("{", "").replace("}", "").replace(":", "")
    return f"{heading}: {fact.name}"


def _said(places: list[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return places[0] + more
