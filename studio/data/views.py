"""Which rows of a table are looked at and in which order, and how a condition is put in SQL."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from studio.data.parquet import whole_letters
from studio.errors import DatasetError

OPERATORS: dict[str, str] = {  # as a condition names it → as people read it
    "contains": "contains",
    "lacks": "does not contain",
    "is": "is",
    "is_not": "is not",
    "empty": "is empty",
    "filled": "is not empty",
    "longer": "is longer than (letters)",
    "shorter": "is shorter than (letters)",
    "matches": "matches the pattern",
    "above": "is more than",
    "below": "is less than",
}


@dataclass(frozen=True)
class Condition:
    """What a column's cell must be like. `operator` is a key of OPERATORS."""

    column: str
    operator: str
    value: str = ""


@dataclass(frozen=True)
class View:
    """Which rows are looked at, and in which order."""

    search: str = ""  # in any column, capital or small letters
    conditions: tuple[Condition, ...] = ()
    sort: str = ""  # a column; "": the data set's own order
    by: Literal["value", "length"] = "value"
    descending: bool = False
    only: tuple[int, ...] | None = field(default=None, repr=False)  # rows that a finding or a query named


ALL = View()


def holds(condition: Condition, cell: str) -> str:
    """SQL that is true where the cell, given as SQL for its text, is like that. Raises DatasetError."""
    value, text = condition.value, f"coalesce({cell}, '')"
    match condition.operator:
        case "contains":
            return f"regexp_matches({cell}, {in_any_case(value)})"
        case "lacks":
            return f"NOT regexp_matches({text}, {in_any_case(value)})"
        case "is":
            return f"{text} = {literal(value)}"
        case "is_not":
            return f"{text} <> {literal(value)}"
        case "empty":
            return f"regexp_full_match({text}, '\\s*')"
        case "filled":
            return f"NOT regexp_full_match({text}, '\\s*')"
        case "longer":
            return f"length({text}) > {_number(value)}"
        case "shorter":
            return f"length({text}) < {_number(value)}"
        case "matches":
            return f"regexp_matches({text}, {literal(value)})"
        case "above":
            return f"TRY_CAST({text} AS DOUBLE) > {_number(value)}"
        case "below":
            return f"TRY_CAST({text} AS DOUBLE) < {_number(value)}"
    raise DatasetError(f"'{condition.operator}' is no condition.", remedy=f"Use one of: {', '.join(OPERATORS)}.")


def literal(value: str) -> str:
    """A text as an SQL literal."""
    quoted = whole_letters(value).replace("'", "''")
    parts = [f"'{part}'" for part in quoted.split("\0")]  # a literal cannot hold a NUL
    return parts[0] if len(parts) == 1 else f"({' || chr(0) || '.join(parts)})"


def in_any_case(value: str) -> str:
    """SQL for a pattern that finds the text in capital or small letters.

    A class a letter rather than RE2's own flag: under that, k and s stand for letters beyond ASCII too, and a
    search with one of them takes three times as long.
    """
    return literal("".join(map(_letter, value)))


def _letter(letter: str) -> str:
    small, capital = letter.lower(), letter.upper()
    if small != capital and len(small) == len(capital) == 1:
        return f"[{capital}{small}]"
    return f"\\{letter}" if letter.isascii() and letter.isprintable() and not letter.isalnum() else letter


def _number(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"'{value}' is not a number.", remedy="Write a number such as 200.")
    return repr(number)
