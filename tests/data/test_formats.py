"""Preferences, judged answers and labels: what is recognised, how rows are read, and why some are not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from studio.data.templates import (
    Mapping,
    check,
    detect,
    explain_row,
    to_labelled_answer,
    to_labels,
    to_messages,
    to_pair,
)
from studio.errors import DatasetError

ASKED = {"role": "user", "content": "why"}
SAID = {"role": "assistant", "content": "so"}
NOT_SAID = {"role": "assistant", "content": "no"}
PAIRS = Mapping("preference", {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"})
WHOLE = Mapping("preference", {"chosen": "chosen", "rejected": "rejected"})
JUDGED = Mapping("unpaired", {"prompt": "prompt", "completion": "completion", "label": "label"})
CHAT = Mapping("messages", {"messages": "m"})


@dataclass(frozen=True)
class Few:
    """As little of a data set as the columns' parts may ask for."""

    rows: list[dict[str, Any]]
    name: str = "a.json"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.rows[:60] for column in row))


def shape(*rows: dict[str, Any]) -> tuple[str, dict[str, str]]:
    mapping = detect(Few(list(rows)))
    check(mapping, Few(list(rows)))
    return mapping.format, mapping.columns


def alike(*columns: str) -> dict[str, str]:
    return dict(zip(columns, columns, strict=True))


# Real data sets' columns, one row each.
@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"prompt": "why", "chosen": "so", "rejected": "no"}, ("preference", alike("prompt", "chosen", "rejected"))),
        (
            {"system": "s", "question": "why", "chosen": "so", "rejected": "no"},
            ("preference", {"prompt": "question", **alike("chosen", "rejected", "system")}),
        ),
        (
            {"instruction": "why", "input": "x", "chosen": "so", "rejected": "no"},
            ("preference", {"prompt": "instruction", **alike("input", "chosen", "rejected")}),
        ),
        ({"chosen": [ASKED, SAID], "rejected": [ASKED, NOT_SAID]}, ("preference", alike("chosen", "rejected"))),
        (
            {"prompt": "why", "completion": "so", "label": True},
            ("unpaired", alike("prompt", "completion", "label")),
        ),
        (
            {"prompt": [ASKED], "completion": [SAID], "label": False},
            ("unpaired", alike("prompt", "completion", "label")),
        ),
        ({"messages": [ASKED, SAID], "label": True}, ("unpaired", {"completion": "messages", "label": "label"})),
        (
            {"instruction": "why", "input": "", "output": "so", "kto_tag": "true"},
            ("unpaired", {"prompt": "instruction", "input": "input", "completion": "output", "label": "kto_tag"}),
        ),
        ({"sentence": "fine", "label": 1, "idx": 0}, ("labelled", {"text": "sentence", "label": "label"})),
        (
            {"text": "fine", "label": 1, "label_text": "good"},
            ("labelled", {"text": "text", "label": "label_text"}),
        ),
        (
            {"text": "fine", "intent": "praise", "urgency": "low"},
            ("labelled", {"text": "text", "label": "intent", "label_2": "urgency"}),
        ),
        (
            {"instruction": "a", "input": "", "output": "b", "text": "Below is an instruction. a b"},
            ("instruction", alike("instruction", "input", "output")),
        ),
        (
            {"instruction": "a", "context": "", "response": "b", "category": "open_qa"},
            ("instruction", {"instruction": "instruction", "input": "context", "output": "response"}),
        ),
        (
            {"conversations": [{"from": "human", "value": "why"}, {"from": "gpt", "value": "so"}], "system": "s"},
            ("conversations", alike("conversations", "system")),
        ),
    ],
)  # fmt: skip
def test_columns_of_real_data_sets(row: dict[str, Any], wanted: tuple[str, dict[str, str]]) -> None:
    assert shape(row) == wanted


def test_long_or_many_labels_are_answers_to_write() -> None:
    many = [{"text": f"word {number}", "label": f"Wort {number}"} for number in range(51)]
    assert shape(*many)[0] == "prompt_completion"
    assert shape(*many[:50])[0] == "labelled"
    assert shape({"text": "a", "label": "A summary. " * 10})[0] == "prompt_completion"
    assert shape({"text": "a", "label": None})[0] == "prompt_completion"


def test_labels_that_judge_nothing_are_no_verdicts() -> None:
    row = {"prompt": "why", "completion": "so", "label": "maths"}
    assert shape({**row, "label": True}, row)[0] == "prompt_completion"
    assert shape({**row, "label": True}, {**row, "label": None})[0] == "unpaired"


def test_only_the_first_rows_are_looked_at() -> None:
    class Endless(list[dict[str, Any]]):
        def __iter__(self):
            for number in range(201):
                assert number < 200, "a data set may have any number of rows"
                yield self[0]

    assert detect(Few(Endless([{"text": "fine", "label": 1}]))).format == "labelled"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "why", "chosen": "so", "rejected": "no"},
        {"prompt": [ASKED], "chosen": SAID, "rejected": NOT_SAID},
        {"prompt": [ASKED], "chosen": [SAID], "rejected": [NOT_SAID]},
        {"prompt": json.dumps([ASKED]), "chosen": json.dumps(SAID), "rejected": json.dumps([NOT_SAID])},
        {"prompt": "ignored", "chosen": [ASKED, SAID], "rejected": [ASKED, NOT_SAID]},
        {"chosen": [ASKED, SAID], "rejected": NOT_SAID},
        {"chosen": "\n\nHuman: why\n\nAssistant: so", "rejected": "\n\nHuman: why\n\nAssistant: no"},
        {
            "prompt": [{"from": "human", "value": "why"}],
            "chosen": {"from": "gpt", "value": "so"},
            "rejected": {"from": "gpt", "value": "no"},
        },
    ],
)
def test_a_pair_in_each_of_its_shapes(row: dict[str, Any]) -> None:
    assert to_pair(row, PAIRS) == ([ASKED], "so", "no")
    assert to_messages(row, PAIRS) == [ASKED, SAID]
    assert explain_row(row, PAIRS) == ""


def test_a_pair_with_a_system_prompt_an_input_and_turns_before() -> None:
    columns = {**alike("prompt", "input", "chosen", "rejected", "system")}
    mapping = Mapping("preference", columns)
    row = {"prompt": "Sum up", "input": "long", "chosen": "so", "rejected": "no", "system": "Be brief"}
    system = {"role": "system", "content": "Be brief"}
    assert to_pair(row, mapping) == ([system, {"role": "user", "content": "Sum up\n\nlong"}], "so", "no")
    earlier = [{"role": "system", "content": "own"}, ASKED, SAID, ASKED]
    assert to_pair({**row, "prompt": earlier}, mapping) == (earlier, "so", "no")


def test_an_answer_that_is_json_is_no_turn() -> None:
    row = {"prompt": "why", "chosen": '{"a": 1}', "rejected": "[1, 2]"}
    assert to_pair(row, PAIRS) == ([ASKED], '{"a": 1}', "[1, 2]")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"prompt": "why", "chosen": "so"}, "the rejected answer is empty"),
        ({"prompt": "why", "chosen": " ", "rejected": "no"}, "the chosen answer is empty"),
        ({"chosen": "so", "rejected": "no"}, "the prompt is empty"),
        ({"prompt": "why", "chosen": "so", "rejected": "so"}, "both answers are the same"),
        ({"prompt": [ASKED, SAID], "chosen": "so", "rejected": "no"}, "the prompt ends with an answer"),
        ({"prompt": "why", "chosen": [ASKED], "rejected": "no"}, "there is no answer"),
        (
            {"chosen": [ASKED, SAID], "rejected": [{"role": "user", "content": "when"}, NOT_SAID]},
            "the two conversations differ before their last answers",
        ),
        (
            {"prompt": [{"from": "narrator", "value": "x"}], "chosen": "so", "rejected": "no"},
            "turn 1 has the unknown role 'narrator'",
        ),
    ],
)
def test_pairs_that_cannot_be_used(row: dict[str, Any], why: str) -> None:
    assert to_pair(row, PAIRS) is None
    assert to_messages(row, PAIRS) is None
    assert explain_row(row, PAIRS) == why


@pytest.mark.parametrize(
    ("label", "good"),
    [
        (True, True), (False, False), (1, True), (0, False), (1.0, True), ("1", True), ("TRUE", True),
        ("good", True), ("Bad", False), ("thumbs up", True), ("thumbs_down", False), ("thumbs-up", True), (-1, False),
        ("👎", False),
    ],
)  # fmt: skip
def test_verdicts(label: Any, good: bool) -> None:
    row = {"prompt": "why", "completion": "so", "label": label}
    assert to_labelled_answer(row, JUDGED) == ([ASKED], "so", good)
    assert to_messages(row, JUDGED) == ([ASKED, SAID] if good else None)
    assert bool(explain_row(row, JUDGED)) is not good


@pytest.mark.parametrize("label", [None, "", "maybe", 2, float("nan")])
def test_no_verdict(label: Any) -> None:
    row = {"prompt": "why", "completion": "so", "label": label}
    assert to_labelled_answer(row, JUDGED) is None
    assert "neither good nor bad" in explain_row(row, JUDGED)


def test_a_judged_conversation_needs_no_prompt() -> None:
    mapping = Mapping("unpaired", {"completion": "m", "label": "l"})
    assert to_labelled_answer({"m": [ASKED, SAID, ASKED, NOT_SAID], "l": 0}, mapping) == (
        [ASKED, SAID, ASKED], "no", False,
    )  # fmt: skip


def test_one_label_is_the_answer_itself_several_are_lines() -> None:
    one = Mapping("labelled", {"text": "t", "label": "mood"})
    assert to_messages({"t": "why", "mood": 3}, one) == [ASKED, {"role": "assistant", "content": "3"}]
    assert to_labels({"t": "why", "mood": 3}, one) == ("why", {"mood": "3"})
    two = Mapping("labelled", {"text": "t", "label": "mood", "label_2": "topic"})
    row = {"t": "why", "mood": "sad", "topic": "rain"}
    assert to_messages(row, two) == [ASKED, {"role": "assistant", "content": "mood: sad\ntopic: rain"}]
    assert to_labels({**row, "mood": None}, two) == ("why", {"topic": "rain"})
    assert to_labels({"t": "why"}, two) is None
    assert explain_row({"t": "why"}, two) == "there is no label"
    assert explain_row({"t": " ", "mood": "sad"}, one) == "the text is empty"


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        (None, "there is no list of turns"),
        ("[broken", "there is no list of turns"),
        ([ASKED], "there is no answer"),
        ([SAID], "there is no user turn"),
        ([ASKED, {"role": "assistant", "content": ""}], "the answer is empty"),
        ([{"role": "user", "content": " "}, SAID], "turn 1 is empty"),
        ([ASKED, SAID, {"role": "narrator", "content": "x"}], "turn 3 has the unknown role 'narrator'"),
        ([ASKED, {"role": None, "content": "x"}, SAID], "turn 2 has the unknown role ''"),
        ([ASKED, "hello", SAID], "turn 2 lacks a speaker or a text"),
        ([ASKED, ASKED, SAID], "turn 2 is a second 'user' turn in a row"),
        ([ASKED, {"role": "system", "content": "x"}, SAID], "turn 2 is a system prompt, which can only come first"),
        ([ASKED, {"from": "function_call", "value": "x"}, SAID], "turn 2 belongs to a tool ('function_call')"),
        ([ASKED, {"from": "observation", "value": "x"}, SAID], "turn 2 belongs to a tool ('observation')"),
    ],
)
def test_conversations_that_cannot_be_learnt(turns: Any, why: str) -> None:
    assert to_messages({"m": turns}, CHAT) is None
    assert explain_row({"m": turns}, CHAT).startswith(why)


def test_what_stands_behind_the_last_answer_does_no_harm() -> None:
    assert to_messages({"m": [ASKED, SAID, ASKED, {"role": "user", "content": ""}]}, CHAT) == [ASKED, SAID]


def test_a_system_prompt_from_its_own_column() -> None:
    mapping = Mapping("messages", {"messages": "m", "system": "s"})
    system = {"role": "system", "content": "Be brief"}
    assert to_messages({"m": [ASKED, SAID], "s": "Be brief"}, mapping) == [system, ASKED, SAID]
    assert to_messages({"m": [system, ASKED, SAID], "s": "other"}, mapping) == [system, ASKED, SAID]
    empty = {"role": "system", "content": ""}
    assert to_messages({"m": [empty, ASKED, SAID], "s": None}, mapping) == [ASKED, SAID]


def test_columns_that_hold_no_pairs_are_refused_with_the_reason() -> None:
    rows = Few([{"prompt": "why", "chosen": "so", "rejected": "so"}])
    with pytest.raises(DatasetError, match="as 'Preference pairs': in the first row both answers are the same"):
        check(PAIRS, rows)
    with pytest.raises(DatasetError, match="says neither good nor bad"):
        check(JUDGED, Few([{"prompt": "why", "completion": "so", "label": "maths"}]))
