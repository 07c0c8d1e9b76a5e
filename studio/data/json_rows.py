"""JSON and JSON Lines → rows, whichever of the two the file turns out to hold."""

from __future__ import annotations

import json
import re
from typing import Any

from studio.data.dataset import SetAside
from studio.errors import DatasetError

_TYPE_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}


def looks_like_json(text: str) -> bool:
    """Whether the text begins as an object, or a list of them, does."""
    return re.match(r'\s*(\[\s*)?\{\s*"', text) is not None


def parse_json(text: str, name: str) -> tuple[list[dict[str, Any]], list[SetAside]]:
    """Rows, and those that are no objects. Raises DatasetError where nothing in it is a row.

    Takes a list of objects, `{"data": [...]}`, or one object a line.
    """
    try:
        whole = _loads(text)
    except ValueError as error:
        if text.lstrip().startswith("["):  # a damaged list; single lines of it must not pass for the data
            raise _not_json(name, error) from None
        return _lines(text, name)
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        whole = whole["data"]
    if isinstance(whole, dict) and "\n" not in text.strip():
        whole = [whole]  # JSON Lines with a single line
    if not isinstance(whole, list):
        kind = "one object" if isinstance(whole, dict) else _type_name(whole)
        raise DatasetError(f"{name} holds {kind}, not a list of rows.", remedy=_SHAPE)
    return _objects(list(enumerate(whole, start=1)), [], name)


def _lines(text: str, name: str) -> tuple[list[dict[str, Any]], list[SetAside]]:
    """One value a line; split at line feeds only, for U+2028 and its like may stand inside a text."""
    values, aside, first = [], [], None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append((number, _loads(line)))
        except ValueError as error:
            first = first or error
            aside.append(SetAside(number, f"not JSON: {_said(error)}"))
    if first and not values:
        raise _not_json(name, first)
    return _objects(values, aside, name)


def _objects(
    values: list[tuple[int, Any]], aside: list[SetAside], name: str
) -> tuple[list[dict[str, Any]], list[SetAside]]:
    rows, others = [], []
    for number, value in values:
        if isinstance(value, dict) and value:
            rows.append(value)
        else:
            kind = "an empty object" if value == {} else f"{_type_name(value)}, not an object"
            others.append(SetAside(number, kind))
    if others and not rows:
        raise DatasetError(
            f"{name} holds no rows with columns: the first entry is {others[0].reason}.",
            remedy=_SHAPE,
        )
    return rows, sorted([*aside, *others], key=lambda one: one.line)


_SHAPE = 'Make every row an object such as {"instruction": "...", "output": "..."}.'


def _loads(text: str) -> Any:
    """Like json.loads, but every refusal is a ValueError and half characters are replaced.

    Half characters (lone surrogates, written `\\ud800`) cannot be shown, stored or tokenised.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _whole_characters(value) if re.search(r"\\ud[89a-f]", text, re.IGNORECASE) else value


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(part) for part in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(part) for key, part in value.items()}
    return value


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
    return str(error)[:200]


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "nothing")


def _not_json(name: str, error: ValueError) -> DatasetError:
    return DatasetError(
        f"{name} is not valid JSON ({_said(error)}).",
        remedy="Mend that place, or save the data as CSV or JSON Lines and upload that.",
    )
