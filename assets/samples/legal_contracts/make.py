"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python -m assets.samples.legal_contracts.make

A contract is all clauses of words.py in a new order, with new numbers, between a preamble and a schedule. What the
question asks stands in one clause, which the answer names.
"""

from __future__ import annotations

from pathlib import Path

from assets.samples.legal_contracts.words import ACTS, CITIES, CLAUSES, DEFINITIONS, GOODS, PARTIES, PREAMBLE
from assets.samples.shared.grammar import Grammar, Row, distinct, tidy, write

TRAIN_ROWS, VALIDATION_ROWS = 80, 20
ITEMS = 8  # lines of the schedule


def make(seed: int = 101) -> tuple[list[Row], list[Row]]:
    """(train, validation); no contract is in both."""
    grammar = Grammar(seed, {"goods": GOODS, "act": ACTS, "city": CITIES})
    rows = distinct(lambda: _row(grammar), TRAIN_ROWS + VALIDATION_ROWS, lambda row: row["contract"])
    return rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]


def _row(grammar: Grammar) -> Row:
    rng = grammar.rng
    payer, payee = rng.choice(PARTIES)
    order = rng.sample(range(len(CLAUSES)), len(CLAUSES))
    asked = int(grammar.deal("asked", [str(place) for place in range(len(CLAUSES))]))
    shared = {"payer": payer, "payee": payee, "act": grammar.draw("act"), "city": grammar.draw("city")}
    written, answer = [], ""
    for number, place in enumerate(order, start=2):
        clause, slots = CLAUSES[place], {**_numbers(grammar), **shared}
        written.append(f"{number}. {clause.title}\n{grammar.say(rng.choice(clause.ways), **slots)}")
        if place == asked:
            answer = f"{grammar.say(clause.answer, **slots)} (Clause {number})"
    defined = "\n".join(f"1.{at} {each}" for at, each in enumerate(rng.sample(DEFINITIONS, 5), start=1))
    schedule = "\n".join(_item(grammar, at) for at in range(1, ITEMS + 1))
    parts = [rng.choice(PREAMBLE), f"1. Definitions\n{defined}", *written, f"Schedule of deliveries\n{schedule}"]
    contract = grammar.say("\n\n".join(parts), **shared)
    return {"question": CLAUSES[asked].question, "contract": contract, "answer": tidy(answer)}


def _numbers(grammar: Grammar) -> dict[str, str]:
    rng = grammar.rng
    return {
        "days": str(rng.choice([5, 7, 10, 14, 21, 28, 30, 45, 60, 90])),
        "months": str(rng.choice([6, 9, 12, 18, 24])),
        "years": str(rng.randint(2, 10)),
        "rate": str(rng.choice([3, 4, 5, 6.5, 8, 9.5])),
        "amount": f"{rng.randint(3, 60) * 250:,}",
        "para": f"{rng.randint(3, 412)}",
    }


def _item(grammar: Grammar, at: int) -> str:
    month = grammar.rng.choice(["March", "April", "May", "June", "September", "October"])
    units, price = grammar.number(2, 80), f"{grammar.rng.randint(4, 90) * 50:,}"
    return f"({at}) {units} {grammar.draw('goods')}, due on {grammar.number(1, 28)} {month}, at {price} euros in all"


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
