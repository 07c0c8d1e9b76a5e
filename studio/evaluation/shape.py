"""What the right answers of a data set are: JSON, one of a few labels, prose; and how one asks for such answers."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from studio.evaluation.metrics import json_of

MOST = 0.9  # of the answers: what so many are like is what answers are like
MANY_LABELS, LONG_LABEL = 12, 60  # kinds of answer, and characters in one, beyond which they are no labels
TIMES = 3  # that each of several values comes on the average, or they are no fixed set
SHORT = 8  # words; the middle answer of those that need no sentence

Kind = Literal["json", "labels", "number", "lines", "short", "prose"]

_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d.,]*\s?%?")
_LINE = re.compile(r"^([^\n:]{1,40}):[ \t](.*)$", re.MULTILINE)


def kind_of(answers: Sequence[str]) -> Kind:
    """What nearly all of the right answers are."""
    given = [each.strip() for each in answers if each.strip()]
    if not given:
        return "prose"

    def most(like: Callable[[str], Any]) -> bool:
        return sum(bool(like(each)) for each in given) >= MOST * len(given)

    if most(lambda each: isinstance(json_of(each), dict)):
        return "json"
    labels = set(given)
    if 1 < len(labels) <= min(MANY_LABELS, len(given) / TIMES) and all(_is_label(each) for each in labels):
        return "labels"
    if most(_NUMBER.fullmatch):
        return "number"
    if _common(map(_names, given)):
        return "lines"
    return "short" if statistics.median(len(each.split()) for each in given) <= SHORT else "prose"


def suited(answers: Sequence[str]) -> str:
    """The key of the reward that tells such answers' quality best without a model."""
    return {"json": "json_fields", "labels": "exact", "number": "exact"}.get(kind_of(answers), "similarity")


@dataclass(frozen=True)
class Shape:
    """How such answers are asked for."""

    what: str  # they are, in words
    sentence: str  # that asks for them
    words: list[str]  # a prompt that holds all of these asks for them already


def shape_of(answers: Sequence[str]) -> Shape | None:
    """None for prose, of which there is nothing to say but its length."""
    given = [each.strip() for each in answers if each.strip()]
    shape = _SHAPES.get(kind_of(given))
    return shape(given) if shape else None


def _json(given: Sequence[str]) -> Shape:
    objects = [value for each in given if isinstance(value := json_of(each), dict)]
    counted = Counter(name for each in objects for name in each)
    names = [name for name, times in counted.items() if times >= MOST * len(objects)]
    listed = "; ".join(f"{name} ({_values([each.get(name) for each in objects], json.dumps)})" for name in names)
    fields = f", with the fields {listed}" if names else ""
    return Shape("JSON objects", f"Answer with one JSON object and nothing else{fields}.", ["json", *names])


def _values(found: Sequence[Any], written: Callable[[str], str] = str) -> str:
    """What a field may hold, in words."""
    texts = [each for each in found if isinstance(each, str)]
    kinds = sorted(set(texts))
    said: list[str] = []
    if texts:
        few = len(kinds) <= MANY_LABELS and len(kinds) * TIMES <= len(texts) and all(map(_is_label, kinds))
        said.append(" or ".join(map(written, kinds)) if few else "text")
    others = {bool: "true or false", int: "number", float: "number", list: "list", dict: "object"}
    said += dict.fromkeys(others[type(each)] for each in found if type(each) in others)
    return " or ".join([*said, *(["null"] if None in found else [])])


def _labels(given: Sequence[str]) -> Shape:
    names = [name for name, _ in Counter(given).most_common()]
    return Shape(f"one of {len(names)}", f"Answer with one of these and nothing else: {', '.join(names)}.", names)


def _number(given: Sequence[str]) -> Shape:
    return Shape("numbers", "Answer with the number and nothing else.", ["number"])


def _lines(given: Sequence[str]) -> Shape:
    names = _common(map(_names, given))
    said: dict[str, list[str]] = {name: [] for name in names}
    for name, value in (pair for each in given for pair in _LINE.findall(each)):
        said.get(name, []).append(value.strip())
    lines = "\n".join(f"{name}: {_values(values)}" for name, values in said.items())
    return Shape(f"{len(names)} lines, each with its name", f"Answer in these lines and nothing else:\n{lines}", names)


def _short(given: Sequence[str]) -> Shape:
    return Shape("a few words", "Answer with a few words, without an explanation.", ["few words"])


_SHAPES: dict[Kind, Callable[[Sequence[str]], Shape]] = {
    "json": _json,
    "labels": _labels,
    "number": _number,
    "lines": _lines,
    "short": _short,
}


def _names(answer: str) -> list[str]:
    """Of its lines, where each has one."""
    return [name for name, _ in _LINE.findall(answer)]


def _common(lists: Iterable[Sequence[str]]) -> list[str]:
    """What nearly all of these lists are, where it is two entries or more."""
    counted = Counter(tuple(each) for each in lists)
    (best, times), *_ = counted.most_common(1)
    return list(best) if len(best) > 1 and times >= MOST * counted.total() else []


def _is_label(text: str) -> bool:
    return len(text) <= LONG_LABEL and "\n" not in text
