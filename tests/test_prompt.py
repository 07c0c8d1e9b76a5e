"""A prompt: what it says to a model around a row, and what of a data set it may show."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.templates import Mapping
from studio.errors import ConfigError, DatasetError
from studio.prompt import ROW, Demonstration, Prompt, askable, examples_of, plain

ALPACA = Mapping("instruction", {"instruction": "task", "input": "about", "output": "answer"})
ROWS = [{"task": "Add.", "about": "1 and 2", "answer": "3", "level": 1}, {"task": "Say hi.", "answer": "hi"}]


def test_a_prompt_is_its_system_text_its_examples_and_the_row() -> None:
    shown = Demonstration(fields={ROW: "1 + 1", "level": "easy"}, answer="2")
    prompt = Prompt(system="You add.", template="{level}: {row} =", demonstrations=(shown,))
    assert prompt.messages({ROW: "2 + 2", "level": "hard"}) == [
        {"role": "system", "content": "You add."},
        {"role": "user", "content": "easy: 1 + 1 ="},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "hard: 2 + 2 ="},
    ]
    assert Prompt(system=" \n").messages({ROW: "so"}) == [{"role": "user", "content": "so"}]


def test_other_braces_stay_as_they_are() -> None:
    """Those of JSON in the template, and whatever a row brings."""
    prompt = Prompt(template='Answer as {"a": 1}. {row} {unknown} {}')
    assert prompt.messages({ROW: "{row} {answer}", "answer": "42"})[0]["content"] == (
        'Answer as {"a": 1}. {row} {answer} {unknown} {}'
    )


def test_equal_prompts_have_one_key() -> None:
    again = Prompt.parse(Prompt(system="a").model_dump(mode="json"))
    assert again.key == Prompt(system="a").key
    assert len({Prompt().key, again.key, Prompt(template="{row}?").key, Prompt(template="{row}? ").key}) == 4


@pytest.mark.parametrize("template", ["{row}", "{task}", "So: {about}, in {language}"])
def test_a_template_that_shows_the_row_is_fine(template: str) -> None:
    Prompt(template=template).check(["task", "about"])


@pytest.mark.parametrize("template", ["Answer!", "{}", "{answer}", "{Row}", "{ row }", " "])
def test_a_template_that_shows_nothing_of_the_row_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"no placeholder.*\{row\}, \{task\}"):
        Prompt(template=template).check(["task"])


@pytest.mark.parametrize("values", [{"template": ""}, {"system": "a" * 20_001}, {"role": "none"}])
def test_what_is_no_prompt_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Prompt.parse(values)


def test_rows_become_what_they_ask_and_the_right_answer() -> None:
    first, second = examples_of([*ROWS, {"task": "No answer.", "answer": " "}, {"answer": "No question."}], ALPACA)
    assert first.fields == {"task": "Add.", "about": "1 and 2", "level": "1", ROW: "Add.\n\n1 and 2"}
    assert (first.answer, second.answer) == ("3", "hi")


@pytest.mark.parametrize(
    ("mapping", "row", "asked", "answer"),
    [
        (
            Mapping("messages", {"messages": "turns"}),
            {
                "turns": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "One?"},
                    {"role": "assistant", "content": "Yes."},
                    {"role": "user", "content": "Two?"},
                    {"role": "assistant", "content": "No."},
                ]
            },
            "User: One?\nAssistant: Yes.\nUser: Two?",
            "No.",
        ),
        (Mapping("labelled", {"text": "text", "label": "mood"}), {"text": "Hm.", "mood": "mild"}, "Hm.", "mild"),
        (
            Mapping("preference", {"prompt": "ask", "chosen": "good", "rejected": "bad"}),
            {"ask": "One?", "good": "Yes.", "bad": "No."},
            "One?",
            "Yes.",
        ),
    ],
)
def test_rows_of_every_shape_ask_something(mapping: Mapping, row: dict[str, Any], asked: str, answer: str) -> None:
    (found,) = examples_of([row], mapping)
    assert (found.fields[ROW], found.answer) == (asked, answer)
    assert answer not in {text for name, text in found.fields.items() if name != ROW}


def test_columns_that_hold_the_answer_may_not_be_named() -> None:
    assert askable(ALPACA, ["task", "about", "answer", "level"]) == ["task", "about", "level"]
    labelled = Mapping("labelled", {"text": "text", "label": "mood", "label_2": "tone"})
    assert askable(labelled, ["id", "text", "mood", "tone"]) == ["id", "text"]


def test_plain_text_asks_nothing() -> None:
    with pytest.raises(DatasetError, match="asks nothing"):
        examples_of([{"text": "Once upon a time"}], Mapping("text", {"text": "text"}))


def test_it_begins_with_the_system_text_that_all_rows_share() -> None:
    mapping = Mapping("prompt_completion", {"prompt": "p", "completion": "c", "system": "s"})
    rows = [{"p": "1", "c": "2", "s": "Count."}, {"p": "2", "c": "3", "s": "Count."}]
    assert plain(rows, mapping) == Prompt(system="Count.")
    assert plain([*rows, {"p": "3", "c": "4", "s": "Count on."}], mapping) == Prompt()
    assert plain([], mapping) == Prompt()
