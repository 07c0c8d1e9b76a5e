"""Drafts say who wrote them, and what says nothing new is dropped and counted."""

from collections import Counter

import pytest

from studio.data.makers.drafts import Drafts
from studio.errors import DatasetError

ROWS = [
    {"prompt": "How tall is the tower?", "completion": ""},
    {"prompt": "", "completion": ""},
    {"prompt": "Who built it?", "completion": "A mason."},
    {"prompt": "When was it built?"},
]


class Model:
    """Answers from a list and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, messages):
        assert [message["role"] for message in messages] == ["user"]
        self.asked.append(messages[0]["content"])
        return self.answers.pop(0)


def made(maker, model, rows=ROWS):
    dropped = Counter()
    return list(maker.make(rows, model, lambda *_: None, dropped)), dropped


def test_paraphrases_are_new_rows_that_name_the_model():
    model = Model(' "What is the height of the tower?" ', "Who was its builder?", "In which year was it built?")
    result, dropped = made(Drafts(model="Tiny 1B"), model)
    assert [one.row["prompt"] for one in result] == [
        "What is the height of the tower?",
        "Who was its builder?",
        "In which year was it built?",
    ]
    assert {one.row["synthetic"] for one in result} == {"paraphrase by Tiny 1B"}
    assert [(one.origin, one.kind) for one in result] == [(0, "new"), (2, "new"), (3, "new")]
    assert result[1].row["completion"] == "A mason."
    assert not dropped
    assert all(row["prompt"] in asked for row, asked in zip([ROWS[0], ROWS[2], ROWS[3]], model.asked, strict=True))


def test_echoes_and_empty_drafts_are_dropped_and_counted():
    model = Model("how tall is the TOWER", "  ", "It?", "It?")
    result, dropped = made(Drafts(copies=4), model, ROWS[:1])
    assert [one.row["prompt"] for one in result] == ["It?"]
    assert dropped == {"empty drafts": 1, "drafts that say nothing new": 2}
    assert len(set(model.asked)) == 4  # a model that is always sure must be asked in four ways


def test_answers_are_drafted_only_where_they_lack():
    result, _ = made(Drafts(what="answer", model="Tiny"), Model("Ninety metres.", "In 1890."))
    assert [(one.origin, one.kind, one.row["completion"]) for one in result] == [
        (0, "changed", "Ninety metres."),
        (3, "changed", "In 1890."),
    ]
    assert result[0].row["synthetic"] == "draft by Tiny"


def test_an_answer_is_asked_for_with_the_input_beside_it():
    model = Model("Hallo.")
    made(Drafts(what="answer"), model, [{"instruction": "Translate to German.", "input": "Hello."}])
    assert model.asked == ["Translate to German.\n\nHello."]


def test_the_model_is_asked_for_no_more_rows_than_wanted():
    model = Model("One way.", "never said")
    result, _ = made(Drafts(max_rows=1), model)
    assert len(result) == len(model.asked) == 1


def test_without_a_model_or_the_column_it_says_so():
    with pytest.raises(DatasetError, match="need a model"):
        made(Drafts(), None)
    with pytest.raises(DatasetError, match="no column 'body'"):
        made(Drafts(column="body"), Model())


def test_cancelling_ends_it():
    def cancelled(_):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        made(Drafts(), cancelled)
