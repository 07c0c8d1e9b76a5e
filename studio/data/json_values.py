"""JSON values one after another, from text that comes in chunks; a large list is never held whole."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from studio.data.text import LONGEST, Findings

_DEEPEST = 100  # lists and objects within each other; what writes them again must not run out of stack
_BLANK = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_NEAR = 12  # characters; an error this close to the end of a chunk may be a word cut in two


class TooLong(ValueError):
    """A value goes on beyond the length that was asked for."""


class Decoder:
    """Like json.loads, but every refusal is a ValueError, and what had to be changed is counted.

    NaN and Infinity become None. Of two equal keys the last counts, as ever. Half characters (lone
    surrogates, written `\\ud800`) become U+FFFD: they cannot be shown, stored or tokenised.
    """

    def __init__(self) -> None:
        self._changes: Counter[str] = Counter()
        self._fresh: list[str] = []  # of the value being read; it may turn out to be none
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant)

    def at(self, text: str, start: int) -> tuple[Any, int]:
        """(the value that begins at `start`, where it ends)."""
        self._fresh.clear()
        try:
            value, end = self._json.raw_decode(text, start)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if text.count("{", start, end) + text.count("[", start, end) > _DEEPEST and _depth(value) > _DEEPEST:
            raise ValueError("nested too deeply")
        if text.find("\\u", start, end) >= 0 and _HALF.search(text, start, end):
            whole = _whole_characters(value)
            self._fresh += ["half"] if whole != value else []
            value = whole
        if self._fresh:
            self._changes.update(self._fresh)
        return value, end

    def whole(self, text: str) -> Any:
        """The one value in a text."""
        text = text.strip(" \t\r\n")
        value, end = self.at(text, 0)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value

    def tell(self, findings: Findings) -> None:
        """Note what was counted."""
        count = self._changes
        findings.count(
            count["constant"], "1 NaN or Infinity was left empty.", "{} NaN or Infinity values were left empty."
        )
        findings.count(
            count["repeated"],
            "1 object holds a key twice: the last one counts.",
            "{} objects hold a key twice: the last one counts.",
        )
        findings.count(count["half"], "1 row held half a character (now �).", "{} rows held half a character (now �).")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            self._fresh.append("repeated")
        return made

    def _constant(self, _: str) -> None:
        self._fresh.append("constant")


class Values:
    """A place in the text; `text[at:]` is what is held of the rest, `line` the line `text` begins on."""

    def __init__(self, chunks: Iterator[str]) -> None:
        self.decoder = Decoder()
        self.text, self.at, self.line = "", 0, 1
        self._chunks = chunks

    def peek(self) -> str:
        """The next character that is not blank, to which `at` moves; empty at the end."""
        while True:
            self.at = after_blanks(self.text, self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._fill():
                return ""

    def take(self, longest: int = LONGEST) -> tuple[Any, str]:
        """(the value `at` stands on, its text); `at` moves behind it, or stays where there is none.

        Raises ValueError: TooLong where it has more than `longest` characters.
        """
        while True:
            try:
                value, end = self.decoder.at(self.text, self.at)
                if end < len(self.text) or not self._fill():  # a number at the very end may go on
                    raw, self.at = self.text[self.at : end], end
                    return value, raw
            except ValueError as error:
                if not self._may_go_on(error):
                    raise
                if len(self.text) - self.at > longest:
                    raise TooLong(f"longer than {longest // 1_000_000} million characters") from None
                if not self._fill():
                    raise

    def look(self, longest: int) -> tuple[Any, str, str]:
        """(the value `at` stands on, its text, the blanks behind it and one character more); `at` stays.

        Raises ValueError as `take` does.
        """
        value, raw = self.take(longest)
        self.at -= len(raw)
        behind = self.at + len(raw)
        while (end := after_blanks(self.text, behind)) == len(self.text) and self._fill():
            behind = self.at + len(raw)
        return value, raw, self.text[behind : end + 1]

    def rest(self) -> Iterator[str]:
        """All text from `at` on."""
        yield self.text[self.at :]
        yield from self._chunks

    def line_here(self) -> int:
        """The line `at` stands on, from 1."""
        return self.line + self.text.count("\n", 0, self.at)

    def _fill(self) -> bool:
        """Hold as much again as is held, without what lies before `at`; False where the text has ended."""
        if (chunk := next(self._chunks, None)) is None:
            return False
        held, wanted = [self.text[self.at :], chunk], 2 * (len(self.text) - self.at)
        size = len(held[0]) + len(chunk)
        while size < wanted and (chunk := next(self._chunks, None)) is not None:
            held.append(chunk)
            size += len(chunk)
        self.line = self.line_here()
        self.text, self.at = "".join(held), 0
        return True

    def _may_go_on(self, error: ValueError) -> bool:
        return isinstance(error, json.JSONDecodeError) and (
            error.msg.startswith("Unterminated string") or error.pos > len(self.text) - _NEAR
        )


def after_blanks(text: str, start: int) -> int:
    match = _BLANK.match(text, start)
    return match.end() if match else start


def said(error: ValueError, line: int) -> str:
    """What is wrong and where; `line` is that on which the text begins."""
    if isinstance(error, json.JSONDecodeError):
        what = f"{error.msg[0].lower()}{error.msg[1:]}".removesuffix(" at")
        return f"{what} at line {line + error.lineno - 1}, column {error.colno}"
    return str(error)[:200]


def _depth(value: Any) -> int:
    """How many lists and objects stand within each other, counted no further than is needed."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        level = [
            part
            for one in level
            if isinstance(one, (dict, list))
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return depth


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(part) for part in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(part) for key, part in value.items()}
    return value
