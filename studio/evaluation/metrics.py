"""How good answers are: pure functions of references and answers, each a mean over rows from 0 to 1."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from typing import Any

LABELS: dict[str, str] = {
    "valid_json": "Valid JSON: share of answers that are one JSON object or list and nothing else.",
    "field_accuracy": "Field accuracy: share of the reference's fields reproduced exactly; 0 for invalid JSON.",
    "exact_match": "Exact match: share of answers equal to the reference; JSON is compared by value.",
    "token_f1": "Word overlap (F1): how many words answer and reference share, order aside.",
    "rouge_l": "ROUGE-L: how many words answer and reference share in the same order.",
}


def score(references: list[str], answers: list[str]) -> dict[str, float]:
    """The metrics that suit the references: JSON's own where all are objects, else those of text."""
    if references and all(isinstance(json_of(reference), dict) for reference in references):
        chosen = (valid_json, field_accuracy, exact_match)
    else:
        chosen = (token_f1, exact_match)
    return {metric.__name__: metric(references, answers) for metric in chosen}


def exact_match(references: list[str], answers: list[str]) -> float:
    """Share of answers equal to their reference, spaces around them aside.

    Where the reference is a JSON object or list, its value counts and not its spelling.
    """

    def one(reference: str, answer: str) -> float:
        value = json_of(reference)
        if value is None:
            return float(reference.strip() == answer.strip())
        return float(_same(value, json_of(answer)))

    return _mean(one, references, answers)


def valid_json(references: list[str], answers: list[str]) -> float:
    """Share of answers that are one JSON object or list, spaces around it aside.

    Strict: a ```json fence or a sentence after the value makes an answer invalid, for the program
    that reads the answers would stumble over it. The references are not looked at.
    """
    return _mean(lambda _, answer: float(json_of(answer) is not None), references, answers)


def field_accuracy(references: list[str], answers: list[str]) -> float:
    """Mean share of the reference's top-level fields that the answer has with the same value.

    Every reference must be a JSON object with fields. Fields of the answer's own are not punished;
    an answer that is no valid JSON object scores 0.
    """

    def one(reference: str, answer: str) -> float:
        wanted, given = json_of(reference), json_of(answer)
        if not isinstance(wanted, dict) or not wanted:
            raise ValueError(f"not a JSON object with fields: {reference[:80]}")
        if not isinstance(given, dict):
            return 0.0
        return sum(key in given and _same(value, given[key]) for key, value in wanted.items()) / len(wanted)

    return _mean(one, references, answers)


def token_f1(references: list[str], answers: list[str]) -> float:
    """Mean F1 of the words shared, counted with repeats: 2PR / (P + R).

    Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1, with its normalisation: lower case, no
    punctuation, no articles. Two texts without words agree (1); a single one does not (0).
    """

    def one(reference: str, answer: str) -> float:
        wanted, given = _words(reference), _words(answer)
        if not wanted or not given:
            return float(wanted == given)
        return 2 * (Counter(wanted) & Counter(given)).total() / (len(wanted) + len(given))

    return _mean(one, references, answers)


def rouge_l(references: list[str], answers: list[str]) -> float:
    """Mean F1 of the longest common subsequence of words: 2 LCS / (words of one + words of the other).

    Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, section 3.1, with beta = 1. Words are those
    of `token_f1`, and so is what texts without words score.
    """

    def one(reference: str, answer: str) -> float:
        wanted, given = _words(reference), _words(answer)
        if not wanted or not given:
            return float(wanted == given)
        return 2 * _in_common(wanted, given) / (len(wanted) + len(given))

    return _mean(one, references, answers)


def _in_common(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, a bit for each of `one`'s words (Hyyro 2004, figure 2)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    ends = (1 << len(one)) - 1  # a 0 where a longer subsequence ends
    for word in other:
        found = ends & places.get(word, 0)
        ends = (ends + found | ends - found) & (1 << len(one)) - 1
    return len(one) - ends.bit_count()


def json_of(text: str) -> dict[str, Any] | list[Any] | None:
    """The JSON object or list a text is; None for anything else, NaN included."""
    try:
        value = json.loads(text.strip(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _words(text: str) -> list[str]:
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _same(one: Any, other: Any) -> bool:
    """Equal JSON values: 2 is 2.0, but true is not 1 as it is for Python."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _mean(one: Any, references: list[str], answers: list[str]) -> float:
    """Mean of `one(reference, answer)`; 0 without rows. Raises ValueError for lists of unequal length."""
    scores = [one(reference, answer) for reference, answer in zip(references, answers, strict=True)]
    return sum(scores) / len(scores) if scores else 0.0
