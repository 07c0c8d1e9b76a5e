"""Writes train.txt and validation.txt beside this file, the same bytes every time.

    python -m assets.samples.old_tales.make

A paragraph is a tale. Plots and sentences were written for this sample; no tale is anybody else's.
"""

from __future__ import annotations

import re
from pathlib import Path

from assets.samples.old_tales.words import CLOSING, HEROES, MUSING, OPENING, PLACES, PLOTS, THINGS, TIMES
from assets.samples.shared.grammar import Grammar, distinct, tidy

TRAIN_ROWS, VALIDATION_ROWS = 160, 24


def make(seed: int = 71) -> tuple[list[str], list[str]]:
    """(train, validation), a tale each."""
    lists = {"time": TIMES, "place": PLACES, "thing": THINGS, "hero": HEROES, "musing": MUSING, "closing": CLOSING}
    grammar = Grammar(seed, {**lists, "opening": OPENING})
    rows = distinct(lambda: {"text": _tale(grammar)}, TRAIN_ROWS + VALIDATION_ROWS, lambda row: row["text"])
    tales = [row["text"] for row in rows]
    return tales[:TRAIN_ROWS], tales[TRAIN_ROWS:]


def _tale(grammar: Grammar) -> str:
    rng = grammar.rng
    first, second = grammar.draw("hero"), grammar.draw("hero")
    while first == second:
        second = grammar.draw("hero")
    time, place = grammar.draw("time"), grammar.draw("place")
    plot = PLOTS[int(grammar.deal("plot", [str(number) for number in range(len(PLOTS))]))]
    sentences = [grammar.draw("opening"), *plot]
    sentences.insert(rng.randint(1, 4), grammar.draw("musing"))
    if rng.random() < 0.5:
        sentences.append(grammar.draw("closing"))
    text = grammar.say(
        " ".join(sentences),
        a=first, b=second, a_=_known(first), b_=_known(second), thing=grammar.draw("thing"),
        time=time, time_=time[0].lower() + time[1:], place=place, place_=place,
    )  # fmt: skip
    return _introduced_once(tidy(text), second)


def _known(hero: str) -> str:
    """`a fox` → `the fox`: whom a tale has named already."""
    return re.sub(r"^an? ", "the ", hero)


def _introduced_once(text: str, hero: str) -> str:
    """Only the first mention is `a fox`."""
    before, named, after = text.partition(hero)
    return before + named + after.replace(hero, _known(hero))


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, tales in zip(("train", "validation"), make(), strict=True):
        (folder / f"{name}.txt").write_bytes(("\n\n".join(tales) + "\n").encode())


if __name__ == "__main__":
    main()
