"""What rules see in a prompt, and what they make of it."""

from __future__ import annotations

import json

import pytest

from studio.data.library import open_source, samples
from studio.evaluation.shape import kind_of, suited
from studio.prompt import ROW, Example, Prompt, examples_of, plain
from studio.tidy import RULES, Suggestion, suggestions, tidied
from studio.workspace import Workspace


def rows(answers: list[str], **columns: list[str]) -> list[Example]:
    """Rows that ask what stands in their first column; a few words where there is none."""
    asked = next(iter(columns.values()), [f"Say {each}." for each in range(len(answers))])
    return [
        Example({**{name: cells[at] for name, cells in columns.items()}, ROW: asked[at]}, answer)
        for at, answer in enumerate(answers)
    ]


def found(prompt: Prompt, examples: list[Example], key: str) -> Suggestion | None:
    return next((each for each in suggestions(prompt, examples) if each.key == key), None)


MOODS = rows(["good", "bad", "good"] * 8)
PROSE = rows([" ".join(["word"] * length) + "." for length in (14, 18, 22, 26)] * 4)
RECORDS = rows([json.dumps({"mood": mood, "score": at, "urgent": at > 3}) for at, mood in enumerate("ab" * 9)])


@pytest.mark.parametrize(
    ("answers", "kind", "reward"),
    [
        (['{"a": 1}', '{"a": 2, "b": []}'], "json", "json_fields"),
        (["yes", "no", " yes"] * 4, "labels", "exact"),
        (["3", "-4.5", "1,200 ", "7 %"], "number", "exact"),
        (["name: Ann\nage: 4", "name: Bo\nage: 5"], "lines", "similarity"),
        (["the red door", "a cat"], "short", "similarity"),
        (["It is because of the rain that nobody came to see them."] * 3, "prose", "similarity"),
        (["", "  "], "prose", "similarity"),
        (["[1]", "{", "NaN"], "short", "similarity"),
    ],
)
def test_what_answers_are_is_seen(answers: list[str], kind: str, reward: str) -> None:
    assert kind_of(answers) == kind
    assert suited(answers) == reward


def test_the_output_format_is_read_off_the_answers() -> None:
    said = tidied(Prompt(), RECORDS, ["format"]).system
    assert said == (
        'Answer with one JSON object and nothing else, with the fields mood ("a" or "b"); score (number); urgent (true '
        "or false)."
    )
    assert tidied(Prompt(), MOODS, ["format"]).system == "Answer with one of these and nothing else: good, bad."
    lines = rows([f"mood: {mood}\nwhy: it is {at}" for at, mood in enumerate(["good", "bad"] * 6)])
    assert tidied(Prompt(), lines, ["format"]).system.endswith(":\nmood: bad or good\nwhy: text")
    told = Prompt(system="Reply in JSON with Mood, score and urgent.")
    assert found(told, RECORDS, "format") is None
    assert found(Prompt(), PROSE, "format") is None


def test_length_is_read_off_the_answers_and_only_said_once() -> None:
    assert tidied(Prompt(), PROSE, ["length"]).system == "Be brief: answer in 15 to 25 words."
    assert found(Prompt(system="Use three sentences."), PROSE, "length") is None
    assert found(Prompt(), MOODS, "length") is None


def test_placeholders_are_mended_and_braces_of_json_are_left_alone() -> None:
    examples = rows(["good", "bad"] * 6, Text=["a", "b"] * 6)
    prompt = Prompt(template='{{row}} ${text} { Text } {Txet} {rows} like {"mood": "good"} or {x}, {"a": {row}}')
    (mended,) = [each for each in suggestions(prompt, examples) if each.key == "braces"]
    assert mended.prompt.template == '{row} {Text} {Text} {Text} {row} like {"mood": "good"} or {x}, {"a": {row}}'
    assert "{Txet} → {Text}" in mended.why
    assert found(mended.prompt, examples, "braces") is None


def test_a_prompt_that_shows_nothing_of_the_row_gets_its_placeholder() -> None:
    assert tidied(Prompt(template="What is it?"), MOODS, ["row"]).template == "What is it?\n\n{row}"
    assert found(Prompt(template="{rwo}"), MOODS, "row") is None  # which is a matter of mending


def test_columns_that_answers_depend_on_are_shown_and_no_others() -> None:
    numbers = [str(100 + each) for each in range(12)]
    examples = rows(
        [f"It is {each} of the catalogue." for each in numbers],
        question=[f"Which one, {each}?" for each in "abcdefghijkl"],
        number=numbers,
        id=[f"id{each}" for each in range(900, 912)],
        shop=["the same"] * 12,
        answer=[f"It is {each} of the catalogue." for each in numbers],
        text=[f"Which one? It is {each} of the catalogue." for each in numbers],
    )
    assert tidied(Prompt(), examples, ["columns"]).template == "{row}\n\nnumber: {number}"
    assert found(Prompt(template="{row} {number}"), examples, "columns") is None
    partly = tidied(Prompt(template="About {number}:"), examples, ["columns"])
    assert partly.template == "About {number}:\n\nquestion: {question}"


def test_a_long_row_amid_other_words_is_marked() -> None:
    examples = rows(["good", "bad"] * 6, text=["It rained all day and then all night, too, and more."] * 12)
    assert tidied(Prompt(template="How is it? {row} Say."), examples, ["delimiters"]).template == (
        'How is it?\n"""\n{row}\n"""\nSay.'
    )
    for fine in ("{row}", "Read <text>{row}</text>", "Is {row}, well, good?", "{row} and {row}"):
        assert found(Prompt(template=fine), examples, "delimiters") is None
    assert found(Prompt(template="How is it? {row}"), MOODS, "delimiters") is None


def test_what_is_said_twice_or_against_itself_is_dropped() -> None:
    twice = Prompt(system="Use plain words. Be kind.", template="use  plain words!\n{row}")
    assert tidied(twice, PROSE, ["doubled"]).template == "{row}"
    against = Prompt(system="Explain in detail. Be concise. Be kind.")
    assert tidied(against, PROSE, ["contradiction"]).system == "Be concise. Be kind."
    long = rows(["word " * 150] * 5)
    assert tidied(against, long, ["contradiction"]).system == "Explain in detail. Be kind."
    assert found(Prompt(system="Be concise."), PROSE, "contradiction") is None


def test_a_role_only_where_nothing_says_one() -> None:
    assert found(Prompt(), MOODS, "role") is not None
    for told in (Prompt(system="Hello."), Prompt(template="You are a clerk. {row}")):
        assert found(told, MOODS, "role") is None


def test_several_combine_in_one_order_whatever_order_they_are_chosen_in() -> None:
    prompt = Prompt(template="Look:   \n\n\n\n{{row}}")
    keys = ["format", "braces", "role", "spaces"]
    assert tidied(prompt, MOODS, keys) == tidied(prompt, MOODS, keys[::-1])
    assert tidied(prompt, MOODS, keys).template == "Look:\n\n{row}"
    assert tidied(prompt, MOODS, []) == prompt
    alone = {each.key: each.prompt for each in suggestions(prompt, MOODS)}
    assert alone["role"].template == prompt.template


@pytest.mark.parametrize("examples", [[], MOODS[:1], MOODS, PROSE, RECORDS])
@pytest.mark.parametrize("template", ["{row}", "x  ", "{ROW}\n\n\n{", "Be brief. Be brief. {row}"])
def test_each_changes_something_and_nothing_is_left_to_say(template: str, examples: list[Example]) -> None:
    prompt = Prompt(template=template)
    for each in suggestions(prompt, examples):
        assert each.prompt != prompt
        assert each.why
    for _ in range(2):  # showing the row may bring more to say of it
        prompt = tidied(prompt, examples, list(RULES))
    assert suggestions(prompt, examples) == []


def test_samples_are_read_as_what_they_are(workspace: Workspace) -> None:
    kinds = {}
    for name, sample in samples().items():
        if sample.mapping.format != "text":
            opened = open_source(name, workspace)
            examples = examples_of(opened.train.load().rows, opened.mapping)
            kinds[name] = kind_of([each.answer for each in examples])
            prompt = tidied(plain(opened.train.rows, opened.mapping), examples, list(RULES))
            prompt.check(opened.train.columns)
    assert kinds == {
        "code_tasks": "prose",
        "customer_messages": "json",
        "legal_clauses": "prose",
        "legal_contracts": "short",
        "medical_notes": "prose",
        "medical_triage": "labels",
        "messy_support": "prose",
        "preferences": "prose",
        "reviews": "lines",
    }
