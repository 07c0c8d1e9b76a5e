"""JSON and JSON Lines → rows, whichever of the two the file turns out to hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from studio.data.json_values import Decoder, TooLong, Values, after_blanks, said
from studio.data.text import Findings, lines
from studio.errors import DatasetError

_TYPE_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
_SHAPE = 'Make every row an object such as {"instruction": "...", "output": "..."}.'
_NOT_JSON = "not JSON: "
_WHOLE = 16_000_000  # characters of a first object that is looked at whole; a longer one is a line, or wraps a list
_WRAPPERS = ("data", "rows", "train", "examples", "samples", "records", "items", "entries", "results", "instances")
_TURNS = ({"role", "content"}, {"from", "value"})  # a list of these is a conversation: one row, not many

Placed = tuple[int, Any, str]  # line of the file, or place in a list, from 1; a value; its text


def looks_like_json(text: str) -> bool:
    """Whether the text begins as an object, or a list of them, does."""
    return re.match(r'\s*(\[\s*)?\{\s*"', text) is not None


def json_rows(chunks: Iterator[str], name: str, findings: Findings) -> Iterator[dict[str, Any]]:
    """The objects in a file, one at a time; what is no object, or no JSON, is set aside.

    Takes one object a line, a list of objects, an object that wraps such a list (`{"data": [...]}`), objects
    one after another, and a single object. Raises DatasetError where nothing in it is a row.
    """
    values, found = Values(chunks), False
    for place, value, raw in _placed(values, findings):
        if isinstance(value, dict) and value:
            found = True
            yield value
        else:
            kind = "an empty object" if value == {} else f"{_type_name(value)}, not an object"
            findings.put_aside(place, kind, raw)
    values.decoder.tell(findings)
    if findings.set_aside and not found:
        raise _no_row(name, findings.set_aside[0].reason)


def _placed(values: Values, findings: Findings) -> Iterator[Placed]:
    """All values of a file, whatever its shape."""
    mark = values.peek()
    if mark == "[":
        return _in_turn(values, findings)
    by_line, key = _shape(values) if mark == "{" else (True, None)
    values.decoder = Decoder()  # what looking ahead counted does not count
    if by_line:
        return _by_line(values, findings)
    if key is not None:
        if key != "data":
            findings.notes.append(
                f"The rows were taken from the list '{key[:80]}'; what stands beside it was left out."
            )
        return _wrapped(values, findings)
    return _in_turn(values, findings)


def _shape(values: Values) -> tuple[bool, str | None]:
    """(whether the file holds one value a line, key of the list its first object wraps); told by that object.

    Where there is such a list, `values` moves to it.
    """
    try:
        first, raw, behind = values.look(_WHOLE)
    except TooLong:
        key = _move_to_list(values, None)
        return key is None, key
    except ValueError:  # a damaged line, or a damaged list under a key
        start, key = values.at, _move_to_list(values, None)
        if key in _WRAPPERS:
            return False, key
        values.at = start
        return True, None
    if not behind.strip():
        key = _wrapper(first)
        return False, None if key is None else _move_to_list(values, key)
    return not re.search(r"[\r\n]", raw) and re.search(r"[\r\n]", behind) is not None, None


def _wrapper(whole: dict[str, Any]) -> str | None:
    """The key of the list of rows in an object that is not a row itself."""
    if isinstance(whole.get("data"), list):
        return "data"
    lists = [
        key for key, part in whole.items() if isinstance(part, list) and any(isinstance(one, dict) for one in part)
    ]
    if len(lists) != 1 or (lists[0] not in _WRAPPERS and len(whole) > 1) or _is_turn(whole[lists[0]][0]):
        return None
    return lists[0]


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(keys <= value.keys() for keys in _TURNS)


def _move_to_list(values: Values, wanted: str | None) -> str | None:
    """Move from an object to the list under `wanted`; its key. None, unmoved, where there is no such list.

    Without `wanted`: to the member that goes on beyond what is held, if it is a list of objects but of no turns.
    """
    text, at, decoder, key = values.text, values.at, values.decoder, None
    while text[at : at + 1] in ("{", ","):
        try:
            key, at = decoder.at(text, after_blanks(text, at + 1))
            start = after_blanks(text, after_blanks(text, at) + 1)  # behind the colon
            if key == wanted:
                values.at = start
                return key
            _, at = decoder.at(text, start)
        except ValueError:
            return key if wanted is None and _opens_rows(values, at) else None
        at = after_blanks(text, at)
    return None


def _opens_rows(values: Values, key_end: int) -> bool:
    """Whether a list of objects that are no turns begins behind a key; if so, move to it."""
    start = after_blanks(values.text, after_blanks(values.text, key_end) + 1)
    if values.text[start : start + 1] != "[":
        return False
    try:
        first, _ = values.decoder.at(values.text, after_blanks(values.text, start + 1))
    except ValueError:
        return False
    if not isinstance(first, dict) or _is_turn(first):
        return False
    values.at = start
    return True


def _by_line(values: Values, findings: Findings) -> Iterator[Placed]:
    """One value a line."""
    decoder = values.decoder
    for number, line in enumerate(lines(values.rest(), findings), start=values.line_here()):
        if line.isspace():
            continue
        try:
            yield number, decoder.whole(line), line
        except ValueError as error:
            findings.put_aside(number, f"{_NOT_JSON}{said(error, number)}", line)


def _in_turn(values: Values, findings: Findings) -> Iterator[Placed]:
    """One value after another, whatever stands between them; lists count as what they hold."""
    place = 0
    while mark := values.peek():
        if mark == "[":
            for placed in _elements(values, place, findings):
                place = placed[0]
                yield placed
            continue
        place += 1
        try:
            yield (place, *values.take())
        except ValueError as error:
            _leave_out_the_rest(values, place, error, findings)


def _wrapped(values: Values, findings: Findings) -> Iterator[Placed]:
    """What the list holds to which `values` has moved."""
    yield from _elements(values, 0, findings)
    _run_out(values)


def _elements(values: Values, place: int, findings: Findings) -> Iterator[Placed]:
    """What a list holds; `place` is that of the value before it."""
    values.at += 1
    while (mark := values.peek()) != "]":
        if not mark:
            findings.notes.append("The list has no end: the file may have been cut off.")
            return
        place += 1
        try:
            yield (place, *values.take())
        except ValueError as error:
            return _leave_out_the_rest(values, place, error, findings)
        mark = values.peek()
        if mark == ",":
            values.at += 1
        elif mark and mark != "]":
            missing = ValueError(f"a comma is missing before line {values.line_here()}, or in it")
            return _leave_out_the_rest(values, place + 1, missing, findings)
    values.at += 1


def _leave_out_the_rest(values: Values, place: int, error: ValueError, findings: Findings) -> None:
    """Set aside what follows as one: single rows of a damaged text must not pass for the data unseen."""
    reason = f"{_NOT_JSON}{said(error, values.line)}; nothing behind it was read"
    findings.put_aside(place, reason, values.text[values.at :])
    _run_out(values)


def _run_out(values: Values) -> None:
    """Read to the end, for what the decoding of the text has to tell."""
    for _ in values.rest():
        pass
    values.text, values.at = "", 0


def _no_row(name: str, reason: str) -> DatasetError:
    if reason.startswith(_NOT_JSON):
        what = reason.removeprefix(_NOT_JSON).removesuffix("; nothing behind it was read")
        return DatasetError(
            f"{name} is not valid JSON ({what}).",
            remedy="Mend that place, or save the data as CSV or JSON Lines and upload that.",
        )
    return DatasetError(f"{name} holds no rows with columns: the first entry is {reason}.", remedy=_SHAPE)


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "nothing")
