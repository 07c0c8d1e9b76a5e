"""The sample's promises: the same bytes every time, and records that a careful reader can derive."""

import json
import re
import sys
from collections import Counter

import pytest

from studio.data.library import SAMPLES

FOLDER = SAMPLES / "customer_messages"
FIELDS = ["intent", "product", "quantity", "order_id", "urgent"]
NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "twelve": 12, "a couple of": 2, "half a dozen": 6, "a dozen": 12,
}  # fmt: skip
HURRY = r"\burgent\b|\basap\b|please hurry|as soon as possible|immediately|right away|be quick"


@pytest.fixture(scope="module")
def maker():
    sys.path.insert(0, str(FOLDER))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import make  # pyright: ignore[reportMissingImports]

        yield make
    finally:
        sys.path.remove(str(FOLDER))
        sys.dont_write_bytecode = writes
        for module in ("make", "phrasings"):
            sys.modules.pop(module, None)


def rows(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


ALL = rows("train") + rows("validation")


def test_the_files_are_what_make_writes(maker):
    for name, made in zip(("train", "validation"), maker.make(), strict=True):
        lines = "".join(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in made)
        assert (FOLDER / f"{name}.jsonl").read_bytes() == lines.encode()


def test_held_out_rows_are_new_and_a_third_is_said_in_a_new_way(maker):
    train, validation = maker.make()
    assert (len(train), len(validation)) == (600, 100)
    assert len({one.key for one in train + validation}) == 700
    known = {one.phrasing for one in train}
    assert 30 <= sum(one.phrasing not in known for one in validation) <= 40


def test_records_are_compact_json_of_one_shape():
    for row in ALL:
        assert list(row) == ["instruction", "input", "output"]
        record = json.loads(row["output"])
        assert list(record) == FIELDS
        assert json.dumps(record, separators=(",", ":")) == row["output"]
        assert record["intent"] in {"order", "return", "cancel", "complaint", "question"}
        assert isinstance(record["urgent"], bool)
        assert record["quantity"] is None or (isinstance(record["quantity"], int) and record["product"])
        assert record["intent"] != "order" or record["quantity"]
        assert 8 <= len(row["input"].split()) <= 26  # an emoji may stand behind 25 words


def test_all_intents_products_and_answers_occur():
    records = [json.loads(row["output"]) for row in ALL]
    assert set(Counter(record["intent"] for record in records).values()) == {140}
    assert len({record["product"] for record in records} - {None}) >= 25
    for field in ("product", "quantity", "order_id"):
        assert 50 < sum(record[field] is None for record in records) < 650
    assert 0.2 < sum(record["urgent"] for record in records) / len(records) < 0.4


def spellings(maker, product):
    plural, misspelt = maker.PRODUCTS[product]
    return [plural, product, misspelt]


def test_every_field_can_be_derived_from_the_message(maker):
    for row in ALL:
        text, record = row["input"].lower(), json.loads(row["output"])
        ids = re.findall(r"\b[a-h]\d{4}\b", text)
        assert ids == ([record["order_id"].lower()] if record["order_id"] else [])
        named = {product for product in maker.PRODUCTS if any(word in text for word in spellings(maker, product))}
        assert named == ({record["product"]} if record["product"] else set())
        assert bool(re.search(HURRY, text)) == record["urgent"]
        if record["product"]:
            words = "|".join(spellings(maker, record["product"]))
            numbers = "|".join(sorted(NUMBERS, key=len, reverse=True))
            said = re.search(rf"\b({numbers}|\d+x?) (?:{words})", text)
            given = said and (NUMBERS.get(said[1]) or int(said[1].rstrip("x")))
            assert given == record["quantity"], text
