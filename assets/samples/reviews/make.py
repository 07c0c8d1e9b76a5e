"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.reviews.make

Each review is about one topic and has one sentiment; all pairs of both are equally frequent. What is
said around the sentence that decides both (how the thing was bought, an aside) decides neither.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from assets.samples.reviews.words import ASIDE, CLOSING, CONTEXT, CORE, THINGS
from assets.samples.shared.grammar import Grammar, Row, distinct, tidy, write

EACH = 30  # rows for each topic and sentiment
HELD_OUT = 5  # of those


def make(seed: int = 31) -> tuple[list[Row], list[Row]]:
    """(train, validation); no text is in both."""
    grammar = Grammar(seed, {"it": THINGS, "context": CONTEXT, "aside": ASIDE})
    train, validation = [], []
    for topic, sentiment in product(CORE, CLOSING):
        rows = distinct(lambda t=topic, s=sentiment: _row(grammar, t, s), EACH, lambda row: row["text"])
        train += rows[HELD_OUT:]
        validation += rows[:HELD_OUT]
    grammar.rng.shuffle(train)
    grammar.rng.shuffle(validation)
    return train, validation


def _row(grammar: Grammar, topic: str, sentiment: str) -> Row:
    rng = grammar.rng
    parts = [grammar.deal(f"{topic} {sentiment}", CORE[topic][sentiment])]
    if rng.random() < 0.75:
        parts.insert(0, "{context}")
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), "{aside}")
    if rng.random() < 0.6:
        parts.append(grammar.deal(sentiment, CLOSING[sentiment]))
    filled = grammar.say(
        " ".join(parts), it=grammar.draw("it"), days=grammar.number(4, 19), price=grammar.number(9, 180)
    )
    return {"text": _typed(grammar, tidy(filled)), "sentiment": sentiment, "topic": topic}


def _typed(grammar: Grammar, text: str) -> str:
    """As different people type: some without capitals, some with many exclamation marks."""
    way = grammar.rng.random()
    if way < 0.15:
        return text.lower()
    if way < 0.22:
        return text.rstrip(".") + "!!!"
    return text


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
