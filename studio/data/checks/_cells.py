"""The texts of a row, wherever they stand: in columns of their own or in the turns of a conversation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from studio.data.checks import Row
from studio.data.templates import Mapping
from studio.data.turns import SPEAKERS, TURN_KEYS, as_text, keys_of, turns_in

PROMPT, ANSWER, SYSTEM, TEXT, LABEL = "prompt", "answer", "system", "text", "label"
_PARTS = {
    **dict.fromkeys(("instruction", "input", "prompt"), PROMPT),
    **dict.fromkeys(("output", "completion", "chosen", "rejected"), ANSWER),
}
_SPOKEN_BY = {"user": PROMPT, "assistant": ANSWER, "system": SYSTEM}
_NO_TEXT = {key for key, _ in TURN_KEYS.values()} | {"type"}  # keys of a turn, or of a part of one


class Cell(NamedTuple):
    """One text. `part` is what it is for, `role` what the format calls it, `place` where a person finds it."""

    part: str
    role: str
    place: str
    text: str


def cells(row: Row, mapping: Mapping) -> Iterator[Cell]:
    """Every text that plays a part, empty ones included; of a conversation each turn."""
    for role, column in mapping.columns.items():
        turns = turns_in(row.get(column))
        if turns is None:
            part = LABEL if role.startswith(LABEL) else _PARTS.get(role, role)
            yield Cell(part, role, repr(column), as_text(row.get(column)))
            continue
        for number, turn in enumerate(turns, start=1):
            if keys := keys_of(turn):
                part = _SPOKEN_BY.get(SPEAKERS.get(as_text(turn[keys[0]]).strip().lower(), ""), SYSTEM)
                text = "".join(_strings(turn[keys[1]]))
                yield Cell(part, role, f"turn {number} of {column!r}", text)


def whole(row: Row, mapping: Mapping) -> str:
    """All texts of a row, one a line."""
    return "\n".join(cell.text for cell in cells(row, mapping))


def blank(row: Row, mapping: Mapping) -> bool:
    """Whether nothing is written in a row; it has a check of its own, which the others leave it to."""
    return not any(cell.text.strip() for cell in cells(row, mapping))


def roles(mapping: Mapping, part: str) -> list[str]:
    """The roles of a mapping that are that part; none for formats of turns."""
    return [role for role in mapping.columns if _PARTS.get(role) == part]


def rewritten(row: Row, mapping: Mapping, change: Callable[[str], str]) -> Row:
    """A copy of the row, `change` applied to its texts; lists, and lists written as JSON, keep their form."""
    changed = dict(row)
    for column in mapping.columns.values():
        cell = row.get(column)
        turns = turns_in(cell) if isinstance(cell, str) else None
        if turns is not None:
            after = _changed(turns, change)
            changed[column] = cell if after == turns else json.dumps(after, ensure_ascii=False)
        elif cell is not None:
            changed[column] = _changed(cell, change)
    return changed


def _strings(value: Any) -> Iterator[str]:
    """The texts in what a turn says: itself, or those of its parts."""
    if isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _NO_TEXT:
                yield from _strings(each)
    else:
        yield as_text(value)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if isinstance(value, dict):
        return {key: each if key in _NO_TEXT else _changed(each, change) for key, each in value.items()}
    return value
