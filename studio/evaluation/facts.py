"""Facts in right answers that their questions do not hold: a model would have to know each of them by heart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 10  # rows, in which nothing shows
TOO_MANY = (
    0.2  # of the answers hold such facts: of the samples a shop's support does (0.22), sums and dates do not (0.11)
)
RARE = 0.02  # of the answers, that a fact may stand in and still be one row's own

# Links, addresses, numbers of two digits or more, and names of two words or more that begin no sentence.
_FACT = re.compile(
    r"https?://\S*\w|[\w.+-]+@[\w-]+\.\w+|\d[\d.,:/-]*\d|(?<=[a-z,;:] )[A-Z]\w+(?: [A-Z]\w+)+",
)
_WORKED_OUT = re.compile(r"\d\s*[-+*/×=]\s*\d|=")  # numbers that follow from the question


@dataclass(frozen=True)
class Unfounded:
    """What answers know that no question says."""

    share: float  # of the answers
    question: str  # of a row that shows it
    answer: str
    facts: tuple[str, ...]  # of that answer


def unfounded(pairs: Sequence[tuple[str, str]]) -> Unfounded | None:
    """Of (question, right answer) rows; None where few answers hold facts of their own.

    A fact counts where the question lacks it, hardly another answer holds it and it was not worked out.
    """
    found = [_facts(answer) for _, answer in pairs]
    known = Counter(fact for facts in found for fact in facts)
    most = max(1, RARE * len(pairs))
    own = [
        [fact for fact in facts if known[fact] <= most and fact.casefold() not in question.casefold()]
        for facts, (question, _) in zip(found, pairs, strict=True)
    ]
    share = sum(map(bool, own)) / max(1, len(pairs))
    if len(pairs) < FEWEST or share <= TOO_MANY:
        return None
    place = max(range(len(own)), key=lambda each: len(own[each]))
    return Unfounded(share, *pairs[place], tuple(own[place]))


def _facts(answer: str) -> list[str]:
    return [] if _WORKED_OUT.search(answer) else list(dict.fromkeys(_FACT.findall(answer)))
