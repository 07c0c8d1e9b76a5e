"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.legal_clauses.make

Contracts, courts' towns and statutes are invented; only the way of citing them is real.
"""

from __future__ import annotations

from pathlib import Path

from assets.samples.legal_clauses.words import ACTS, ASKS, CITIES, CLAUSES, PAYERS
from assets.samples.shared.grammar import Grammar, Row, distinct, tidy, write

TRAIN_ROWS, VALIDATION_ROWS = 160, 32


def make(seed: int = 67) -> tuple[list[Row], list[Row]]:
    """(train, validation); no clause is in both."""
    grammar = Grammar(seed, {"act": ACTS, "city": CITIES})
    rows = distinct(lambda: _row(grammar), TRAIN_ROWS + VALIDATION_ROWS, lambda row: row["prompt"])
    return rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]


def _row(grammar: Grammar) -> Row:
    rng = grammar.rng
    place = grammar.deal("clause", [str(number) for number in range(len(CLAUSES))])
    clauses, explained = CLAUSES[int(place)]
    payer, payee = rng.choice(PAYERS)
    letter = rng.choice("abcd")
    slots = {
        "days": str(rng.choice([5, 7, 10, 14, 21, 28, 30, 45, 60, 90])),
        "months": str(rng.choice([6, 9, 12, 18, 24])),
        "years": str(rng.randint(2, 10)),
        "rate": str(rng.choice([3, 4, 5, 6.5, 8, 9.5])),
        "amount": f"{rng.randint(3, 60) * 250:,}",
        "sec": f"{rng.randint(2, 19)}.{rng.randint(1, 9)}" + rng.choice(["", f"({letter})"]),
        "para": f"{rng.randint(3, 412)}"
        + rng.choice(["", f"({rng.randint(1, 5)})", f"({rng.randint(1, 5)})({letter})"]),
        "art": str(rng.randint(2, 60)),
        "no": str(rng.randint(1, 7)),
        "payer": payer,
        "payee": payee,
        "act": grammar.draw("act"),
        "city": grammar.draw("city"),
    }
    clause = grammar.say(grammar.deal(f"clause {place}", clauses), **slots)
    number = rng.choice(["", f"{rng.randint(2, 30)}. ", f"{rng.randint(2, 19)}.{rng.randint(1, 9)} "])
    return {
        "prompt": f"{rng.choice(ASKS)}\n\n{number}{clause}",
        "completion": tidy(grammar.say(grammar.deal(f"explained {place}", explained), **slots)),
    }


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
