"""Writes train.jsonl and validation.jsonl beside this file, the same bytes every time.

    python assets/samples/customer_messages/make.py

Each row asks for the record in a short, messy customer message. The record follows these rules:
product is the catalogue's singular name; quantity is the number the message gives for the product
(a and an count as 1, a dozen is 12) and null where it gives none; order_id is a letter and four digits,
upper-case; urgent is true where the message presses for time ("no rush" is not pressing).
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phrasings import CALM, EMOJI, FILLERS, GREETINGS, NUMBERS, PHRASINGS, PRODUCTS, SHORT, URGENT

INSTRUCTION = "Extract intent, product, quantity, order_id and urgent as JSON."
TRAIN_ROWS, VALIDATION_ROWS = 600, 100
NEW_PHRASINGS = 35  # held-out rows said in a way that training never showed
WORDS = range(8, 26)
AGREEMENT = {  # slot -> (for one, for several)
    "is": ("is", "are"), "was": ("was", "were"), "has": ("has", "have"), "does": ("does", "do"), "it": ("it", "them"),
    "they": ("it", "they"),
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A message, the record that is in it and the phrasing it was made from."""

    message: str
    record: dict[str, Any]
    phrasing: str

    @property
    def key(self) -> str:
        """Equal for messages that differ in spelling marks and case only."""
        return re.sub(r"[^a-z0-9]+", " ", self.message.lower()).strip()

    def row(self) -> dict[str, str]:
        output = json.dumps(self.record, separators=(",", ":"), ensure_ascii=False)
        return {"instruction": INSTRUCTION, "input": self.message, "output": output}


def make(seed: int = 20) -> tuple[list[Made], list[Made]]:
    """(train, validation); no message is in both, intents are equally frequent in each."""
    rng = random.Random(seed)
    seen: set[str] = set()
    train = _many(rng, TRAIN_ROWS, seen, 0)
    known = _many(rng, VALIDATION_ROWS - NEW_PHRASINGS, seen, 0)
    new = _many(rng, NEW_PHRASINGS, seen, 1)
    validation = known + new
    rng.shuffle(train)
    rng.shuffle(validation)
    return train, validation


def _many(rng: random.Random, count: int, seen: set[str], which: int) -> list[Made]:
    made: list[Made] = []
    intents = list(PHRASINGS)
    while len(made) < count:
        intent = intents[len(made) % len(intents)]
        phrasing = rng.choice(PHRASINGS[intent][which])
        one = _message(rng, intent, phrasing)
        if len(one.message.split()) in WORDS and one.key not in seen:
            seen.add(one.key)
            made.append(one)
    return made


def _message(rng: random.Random, intent: str, phrasing: str) -> Made:
    product, quantity, slots, kept = _product(rng, phrasing)
    order_id = f"{rng.choice('ABCDEFGH')}{rng.randrange(1000, 10000)}" if "{id}" in phrasing else None
    if order_id:
        slots["id"] = rng.choice([order_id, f"#{order_id}", order_id.lower(), f"no {order_id}", f"nr. {order_id}"])
    urgent = rng.random() < 0.3
    parts = [_filled(phrasing, slots)]
    if rng.random() < 0.55:
        parts.insert(0, rng.choice(GREETINGS))
    if urgent:
        parts.insert(rng.choice([1, len(parts)]), rng.choice(URGENT))
    elif rng.random() < 0.15:
        parts.append(rng.choice(CALM))
    if rng.random() < 0.5:
        parts.append(rng.choice(FILLERS))
    protected = {*kept, *" ".join(URGENT + CALM).lower().split()}
    message = _messy(rng, parts, protected, intent)
    record = {"intent": intent, "product": product, "quantity": quantity, "order_id": order_id, "urgent": urgent}
    return Made(message, record, phrasing)


def _product(rng: random.Random, phrasing: str) -> tuple[str | None, int | None, dict[str, str], set[str]]:
    """(product, quantity, slots, words that must stay as they are)."""
    if "{n}" not in phrasing and "{p}" not in phrasing:
        return None, None, {}, set()
    product = rng.choice(sorted(PRODUCTS))
    asked = phrasing in PHRASINGS["question"][0] + PHRASINGS["question"][1]  # about the product as such
    counted = "{n}" in phrasing or (not asked and rng.random() < 0.4)
    quantity = rng.choice([1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12, *NUMBERS]) if counted else None
    if quantity == 1 and "{p}" in phrasing:
        quantity = rng.choice([2, 3, 4])  # "the one desk lamp" is what nobody says
    plural, misspelt = PRODUCTS[product]
    several = quantity is not None and quantity > 1
    noun = plural if several else misspelt if rng.random() < 0.15 else product
    agreeing = {slot: forms[several] for slot, forms in AGREEMENT.items()}
    if "{n}" in phrasing:
        said = _counted(rng, noun, quantity or 1)
    else:
        article = "the" if asked else rng.choice(["the", "my"])
        said = f"{article} {rng.choice([str(quantity), NUMBERS[quantity]])} {noun}" if quantity else f"{article} {noun}"
    return product, quantity, {**agreeing, "n": said, "p": said}, set(said.lower().split())


def _counted(rng: random.Random, noun: str, quantity: int) -> str:
    if quantity == 1:
        return rng.choice(["an" if noun[0] in "aeiou" else "a", "one", "1", "1x"]) + f" {noun}"
    ways = [str(quantity), str(quantity), f"{quantity}x", NUMBERS[quantity], NUMBERS[quantity]]
    ways += {2: ["a couple of"], 6: ["half a dozen"], 12: ["a dozen"]}.get(quantity, [])
    return f"{rng.choice(ways)} {noun}"


def _filled(phrasing: str, slots: dict[str, str]) -> str:
    text = phrasing.format_map(slots)
    return text[0].upper() + text[1:]


def _messy(rng: random.Random, parts: list[str], protected: set[str], intent: str) -> str:
    """The parts joined as hurried people write: small letters, short forms, slips, few marks."""
    joint = rng.choice([". ", ", ", " ", "! ", " - "])
    text = "".join(
        part if not before else _joint(before, joint) + part for before, part in zip(["", *parts], parts, strict=False)
    )
    if rng.random() < 0.65:
        text = text.lower()
    if rng.random() < 0.5:
        text = re.sub(r"[.,!?:](?=\s|$)", "", text)
    if rng.random() < 0.2:
        text = text.replace("want to", "wanna")
    words = [_word(rng, word, protected) for word in text.split()]
    text = " ".join(words)
    if rng.random() < 0.25:
        text += f" {rng.choice(EMOJI[intent])}"
    elif rng.random() < 0.2:
        text += rng.choice(["!!", "...", "??" if text.endswith("?") else "."])
    return text


def _joint(before: str, joint: str) -> str:
    return " " if before[-1] in "?!" else joint


def _word(rng: random.Random, word: str, protected: set[str]) -> str:
    bare = word.lower().strip(".,!?:;-")
    if bare in protected or any(character.isdigit() for character in word):
        return word
    if bare in SHORT and rng.random() < 0.3:
        return word.lower().replace(bare, rng.choice(SHORT[bare]))
    if len(bare) < 5 or not bare.isalpha() or rng.random() > 0.06:
        return word
    place = rng.randrange(1, len(bare) - 2)
    slips = (
        word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        word[:place] + word[place + 1 :],
        word[:place] + word[place] + word[place:],
    )
    return rng.choice(slips)


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        lines = "".join(json.dumps(made.row(), ensure_ascii=False) + "\n" for made in rows)
        (folder / f"{name}.jsonl").write_bytes(lines.encode())


if __name__ == "__main__":
    main()
