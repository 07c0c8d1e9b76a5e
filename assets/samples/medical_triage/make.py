"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.medical_triage.make

Messages and people are invented and no medical advice. The sentence on the complaint alone decides the urgency; who
writes, since when and what else is said decide nothing. Classes are as uneven as in a real inbox.
"""

from __future__ import annotations

from pathlib import Path

from assets.samples.medical_triage.words import ASIDE, CLOSING, COMPLAINTS, OPENING, SINCE
from assets.samples.shared.grammar import Grammar, Row, distinct, tidy, write

EACH = {"routine": (175, 70), "soon": (55, 22), "emergency": (20, 8)}  # rows to train on and held out


def make(seed: int = 97) -> tuple[list[Row], list[Row]]:
    """(train, validation); no text is in both."""
    grammar = Grammar(seed, {"since": SINCE, "opening": OPENING, "aside": ASIDE, "closing": CLOSING})
    train, validation = [], []
    for urgency, (learnt, held_out) in EACH.items():
        rows = distinct(lambda u=urgency: _row(grammar, u), learnt + held_out, lambda row: row["text"])
        train += rows[held_out:]
        validation += rows[:held_out]
    grammar.rng.shuffle(train)
    grammar.rng.shuffle(validation)
    return train, validation


def _row(grammar: Grammar, urgency: str) -> Row:
    rng = grammar.rng
    parts = [grammar.deal(urgency, COMPLAINTS[urgency])]
    if rng.random() < 0.85:
        parts.insert(0, "{opening}")
    for more, chance in (("{aside}", 0.7), ("{closing}", 0.7)):
        if rng.random() < chance:
            parts.append(more)
    text = tidy(grammar.say(" ".join(parts), age=grammar.number(19, 91), number=grammar.number(2, 6)))
    return {"text": text.lower() if rng.random() < 0.15 else text, "urgency": urgency}


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
