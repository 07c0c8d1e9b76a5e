"""Writes train.jsonl beside this file, the same bytes every time.

    python -m assets.samples.messy_support.make

Good rows, and among them faults of every kind that cleaning looks for. FAULTS says how many of each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assets.samples.messy_support.more import PAIRS
from assets.samples.messy_support.words import DEVICES, GOOD, NAMES, OTHER_LANGUAGES, PERSONAL, RAMBLE, SHORT
from assets.samples.shared.grammar import Grammar, Row, write


def make(seed: int = 83) -> list[Row]:
    """All rows, the faults spread among them."""
    grammar = Grammar(seed, {"device": DEVICES})
    good = [_filled(grammar, pair, device=grammar.draw("device"), n=grammar.number(5, 60)) for pair in GOOD + PAIRS]
    rows = good + [row for count, fault in FAULTS.values() for row in _faulty(grammar, good, count, fault)]
    grammar.rng.shuffle(rows)
    return rows


def _filled(grammar: Grammar, pair: tuple[str, str], **slots: str) -> Row:
    prompt, answer = (grammar.say(part, **slots) for part in pair)
    return {"prompt": prompt, "answer": answer}


Fault = Callable[[Grammar, Row, int], Row]


def _faulty(grammar: Grammar, good: list[Row], count: int, fault: Fault) -> list[Row]:
    return [fault(grammar, row, place) for place, row in enumerate(grammar.rng.sample(good, count))]


def _empty(grammar: Grammar, row: Row, place: int) -> Row:
    return {**row, "prompt": f"{row['prompt']} Thanks!", "answer": ["", "   ", "\n", None][place % 4]}


def _copy(grammar: Grammar, row: Row, place: int) -> Row:
    return dict(row)


def _near(grammar: Grammar, row: Row, place: int) -> Row:
    change = [str.lower, lambda text: f"Hello, {text}", lambda text: text.rstrip("?") + " please?", str.upper][
        place % 4
    ]
    return {"prompt": change(row["prompt"]), "answer": row["answer"].rstrip(".") + "!"}


def _personal(grammar: Grammar, row: Row, place: int) -> Row:
    name = grammar.deal("names", NAMES)
    mail, phone = f"{name.lower().replace(' ', '.')}@example.com", f"202-555-01{grammar.number(10, 99)}"
    return _filled(grammar, PERSONAL[place % len(PERSONAL)], name=name, mail=mail, phone=phone)


def _foreign(grammar: Grammar, row: Row, place: int) -> Row:
    return _filled(grammar, OTHER_LANGUAGES[place])


def _spaced(grammar: Grammar, row: Row, place: int) -> Row:
    gap = ["  ", "\t", "\u00a0", " \n"][place % 4]
    return {"prompt": f"  {row['prompt'].replace(' ', gap, 3)} \n", "answer": f"\n\n\n{row['answer']}   "}


def _echo(grammar: Grammar, row: Row, place: int) -> Row:
    return {"prompt": row["answer"], "answer": row["answer"]}


def _short(grammar: Grammar, row: Row, place: int) -> Row:
    return _filled(grammar, SHORT[place])


def _long(grammar: Grammar, row: Row, place: int) -> Row:
    return {"prompt": "".join(RAMBLE.format(n=number) for number in range(1, 61)).strip(), "answer": row["answer"]}


FAULTS: dict[str, tuple[int, Fault]] = {
    "empty answers": (8, _empty),
    "exact duplicates": (8, _copy),
    "near duplicates": (12, _near),
    "personal data": (12, _personal),
    "other languages": (6, _foreign),
    "odd white space": (8, _spaced),
    "answer equal to the prompt": (4, _echo),
    "too short": (4, _short),
    "very long": (1, _long),
}


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "train.jsonl", make())
