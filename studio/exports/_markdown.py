"""Text of people, data and models inside Markdown, as text and nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

# Marks that count anywhere: ':' and '@' make links of addresses, as does 'www.', '$' formulas; others begin a line.
_MARKS = re.compile(r"([\\`*_{}\[\]()|~:@$^]|(?<=www)\.|^[#+=-]|(?<=^\d)\.|(?<=^\d\d)\.)", re.IGNORECASE)
_TICKS = re.compile(r"`+")


def inline(text: object) -> str:
    """On one line, in a paragraph, a list or a table: neither Markdown nor HTML in it counts."""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return _MARKS.sub(r"\\\1", html.escape(" ".join(shown.split()), quote=False))


def fenced(text: str, language: str = "") -> str:
    """A block of code that nothing within it ends; what no screen shows stands there by its number."""
    shown = (letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}" for letter in text)
    text = "".join(shown)
    fence = "`" * max(3, 1 + max((len(found) for found in _TICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
