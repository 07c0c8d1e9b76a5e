"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.preferences.make

`chosen` is correct, clear and polite. `rejected` is worse in one of four ways, equally frequent: it is
wrong, rude, vague or rambling. Sums are worked out here, so that a right answer is right.
"""

from __future__ import annotations

from pathlib import Path

from assets.samples.preferences.sums import SUMS, Answer
from assets.samples.preferences.words import GREETING, ITEMS, OFFER, RAMBLING, RUDE, TRAILING, VAGUE, Item
from assets.samples.shared.grammar import Grammar, Row, distinct, tidy, write

SUM_ROWS = 120  # rows with a calculation; the others come from words.py
HELD_OUT_ITEMS, HELD_OUT_SUMS = 4, 20
WAYS = ["wrong", "rude", "vague", "rambling"]


def make(seed: int = 47) -> tuple[list[Row], list[Row]]:
    """(train, validation); no question is in both."""
    grammar = Grammar(
        seed,
        {
            "greeting": GREETING,
            "offer": OFFER,
            "rude": RUDE,
            "vague": VAGUE,
            "rambling": RAMBLING,
            "trailing": TRAILING,
        },
    )
    items = grammar.rng.sample(ITEMS, len(ITEMS))
    sums = distinct(lambda: _row(grammar, grammar.rng.choice(SUMS)(grammar)), SUM_ROWS, lambda row: row["prompt"])
    train = _asked(grammar, items[HELD_OUT_ITEMS:]) + sums[HELD_OUT_SUMS:]
    validation = _asked(grammar, items[:HELD_OUT_ITEMS]) + sums[:HELD_OUT_SUMS]
    grammar.rng.shuffle(train)
    grammar.rng.shuffle(validation)
    return train, validation


def _asked(grammar: Grammar, items: list[Item]) -> list[Row]:
    """A row for each way to ask; all ways of one question are in one file, as they share their answer."""
    return [_row(grammar, (way, right, wrong, topic)) for ways, right, wrong, topic in items for way in ways]


def _row(grammar: Grammar, answer: Answer) -> Row:
    prompt, right, wrong, topic = answer
    rng = grammar.rng
    before = "{greeting} " if rng.random() < 0.3 else ""
    after = " {offer}" if rng.random() < 0.4 else ""
    worse = {
        "wrong": wrong,
        "rude": "{rude}",
        "vague": "{vague}",
        "rambling": "{rambling} {trailing}",
    }[grammar.deal("way", WAYS)]
    return {
        "prompt": prompt,
        "chosen": tidy(grammar.say(before + right + after)),
        "rejected": tidy(grammar.say(worse, topic=topic)),
    }


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
