"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.code_tasks.make

A task keeps some numbers of a list, does something with each and returns something of all. What its tests expect is
worked out by the very pieces that its function is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.samples.shared.grammar import Grammar, Row, distinct, write

TRAIN_ROWS, VALIDATION_ROWS, TESTS = 160, 32, 3
ASKS = [
    "Write a Python function `{name}` that takes a list of whole numbers. It shall {do}.",
    "I need a Python function called `{name}`. Given a list of whole numbers, it should {do}.",
    "In Python, define `{name}(numbers)`. It is to {do}.",
    "Define the Python function `{name}` for a list of whole numbers: {do}.",
]


@dataclass(frozen=True)
class Piece:
    """A part of a task: in words, in a name, as code in which `{k}` stands for a number, and what it does."""

    words: str
    name: str
    code: str
    does: Callable[[Any, int], Any]


KEEP = [
    Piece("every number", "", "", lambda n, k: True),
    Piece("the even numbers", "even", "if n % 2 == 0", lambda n, k: n % 2 == 0),
    Piece("the odd numbers", "odd", "if n % 2 == 1", lambda n, k: n % 2 == 1),
    Piece("the numbers above {k}", "above_{k}", "if n > {k}", lambda n, k: n > k),
    Piece("the numbers below {k}", "below_{k}", "if n < {k}", lambda n, k: n < k),
    Piece("the numbers divisible by {k}", "by_{k}", "if n % {k} == 0", lambda n, k: n % k == 0),
    Piece("the numbers other than {k}", "not_{k}", "if n != {k}", lambda n, k: n != k),
    Piece("the negative numbers", "negative", "if n < 0", lambda n, k: n < 0),
]
CHANGE = [
    Piece("", "", "n", lambda n, k: n),
    Piece("the squares of", "squared", "n * n", lambda n, k: n * n),
    Piece("{k} times each of", "times_{k}", "{k} * n", lambda n, k: k * n),
    Piece("the absolute values of", "absolute", "abs(n)", lambda n, k: abs(n)),
    Piece("each plus {k} of", "plus_{k}", "n + {k}", lambda n, k: n + k),
    Piece("the last digits of", "digits", "abs(n) % 10", lambda n, k: abs(n) % 10),
]
RETURN = [
    Piece("return {what} as a list", "listed", "[{each}]", lambda found, k: found),
    Piece("return the sum of {what}", "total", "sum({each})", lambda found, k: sum(found)),
    Piece("return the largest of {what}, or None where there are none", "largest", "max(({each}), default=None)",
          lambda found, k: max(found, default=None)),
    Piece("return {what} sorted, the smallest first", "ordered", "sorted({each})", lambda found, k: sorted(found)),
    Piece("return how many different numbers there are among {what}", "different", "len({{{each}}})",
          lambda found, k: len(set(found))),
]  # fmt: skip


def make(seed: int = 83) -> tuple[list[Row], list[Row]]:
    """(train, validation); no function is in both."""
    grammar = Grammar(seed, {})
    rows = distinct(lambda: _row(grammar), TRAIN_ROWS + VALIDATION_ROWS, lambda row: row["completion"])
    return rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]


def _row(grammar: Grammar) -> Row:
    rng = grammar.rng
    keep, change, give = (
        pieces[int(grammar.deal(name, [str(place) for place in range(len(pieces))]))]
        for name, pieces in (("keep", KEEP), ("change", CHANGE), ("return", RETURN))
    )
    limit, factor = rng.randint(2, 9), rng.randint(2, 9)
    kept, changed = keep.words.format(k=limit), change.words.format(k=factor)
    what = f"{changed} {kept}".strip()
    parts = [give.name, change.name.format(k=factor), keep.name.format(k=limit)]
    name = "_".join(filter(None, parts))
    each = f"{change.code.format(k=factor)} for n in numbers {keep.code.format(k=limit)}".strip()
    do = give.words.format(what=what)
    lists = [[rng.randint(-9, 30) for _ in range(rng.randint(4, 8))] for _ in range(TESTS - 1)] + [[]]
    tests = []
    for numbers in lists:
        found = give.does([change.does(n, factor) for n in numbers if keep.does(n, limit)], 0)
        tests.append(f"assert {name}({numbers}) == {found!r}")
    asked = grammar.deal("ask", ASKS).format(name=name, do=do)
    code = f"def {name}(numbers):\n    return {give.code.format(each=each)}"
    return {"prompt": asked, "completion": code, "test_list": tests}


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
