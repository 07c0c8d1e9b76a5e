"""Judged answers as tokens: who stands behind which prompt, what has labels, what is cut and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.pairs import encode_answers, encode_judged, encode_pairs
from studio.data.rendering import use_template
from studio.data.templates import Mapping
from studio.data.tokens import IGNORED, report_on
from studio.errors import DatasetError
from studio.models.tiny import tiny_tokenizer

PAIRS = Mapping("preference", {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"})
JUDGED = Mapping("unpaired", {"prompt": "prompt", "completion": "answer", "label": "good"})


def texts(row: Any, tokenizer: Any) -> list[tuple[str, str]]:
    """(the whole, what has labels of it) of each document of a row."""
    found, begin = [], 0
    for length in row.documents:
        part = slice(begin, begin + length)
        labels = [label for label in row.labels[part] if label != IGNORED]
        found.append((tokenizer.decode(row.input_ids[part]), tokenizer.decode(labels)))
        begin += length
    assert begin == len(row.input_ids) == len(row.labels)
    return found


def asked(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def test_both_answers_stand_behind_the_prompt_and_end_their_turn() -> None:
    tokenizer = tiny_tokenizer()
    (row,), skipped = encode_pairs([{"prompt": "hi", "chosen": "yes", "rejected": "no"}], PAIRS, tokenizer, 200)
    assert texts(row, tokenizer) == [
        (asked("hi") + "yes<|im_end|>", "yes<|im_end|>"),
        (asked("hi") + "no<|im_end|>", "no<|im_end|>"),
    ]
    assert (skipped, row.truncated) == (0, False)


def test_long_answers_are_cut_and_long_prompts_left_out() -> None:
    tokenizer = tiny_tokenizer()
    rows = [
        {"prompt": "hi", "chosen": "y" * 50, "rejected": "no"},
        {"prompt": "h" * 50, "chosen": "yes", "rejected": "no"},
        {"prompt": "hi", "chosen": "same", "rejected": "same"},
        {"prompt": "hi", "chosen": "y" * 50 + "a", "rejected": "y" * 50 + "z"},  # alike as far as they are read
    ]
    found, skipped = encode_pairs(rows, PAIRS, tokenizer, 40)
    assert (len(found), skipped) == (1, 3)
    assert found[0].documents == [40, len(found[0].input_ids) - 40]
    report = report_on(found, skipped)
    assert (report.truncated, report.skipped) == (1, 3)
    learnt = [40 - len(tokenizer(asked("hi"))["input_ids"]), 3]
    assert report.trained_tokens == sum(learnt)


def test_earlier_answers_of_a_conversation_have_no_labels() -> None:
    tokenizer = tiny_tokenizer()
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    (row,), _ = encode_pairs([{"prompt": turns, "chosen": "d", "rejected": "e"}], PAIRS, tokenizer, 200)
    assert [learnt for _, learnt in texts(row, tokenizer)] == ["d<|im_end|>", "e<|im_end|>"]


def test_a_judged_answer_comes_with_its_prompt_and_an_answer_to_another() -> None:
    tokenizer = tiny_tokenizer()
    rows = [{"prompt": f"p{i}", "answer": f"a{i}", "good": i % 2} for i in range(4)]
    found, _ = encode_judged(rows, JUDGED, tokenizer, 200)
    assert [row.good for row in found] == [False, True, False, True]
    for i, row in enumerate(found):
        other = (i + 2) % 4
        assert texts(row, tokenizer) == [
            (f"{asked(f'p{i}')}a{i}<|im_end|>", f"a{i}<|im_end|>"),
            (f"{asked(f'p{i}')}a{other}<|im_end|>", f"a{other}<|im_end|>"),
        ]


def test_of_a_pair_one_answer_is_good_and_one_bad() -> None:
    tokenizer = tiny_tokenizer()
    rows = [{"prompt": f"p{i}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(2)]
    found, skipped = encode_judged([*rows, {"prompt": "p", "chosen": "", "rejected": "r"}], PAIRS, tokenizer, 200)
    assert skipped == 1
    said = [(row.good, *(learnt for _, learnt in texts(row, tokenizer))) for row in found]
    assert said == [
        (True, "c0<|im_end|>", "c1<|im_end|>"),
        (False, "r0<|im_end|>", "r1<|im_end|>"),
        (True, "c1<|im_end|>", "c0<|im_end|>"),
        (False, "r1<|im_end|>", "r0<|im_end|>"),
    ]


def test_what_is_scored_reads_as_what_was_learnt() -> None:
    tokenizer = tiny_tokenizer()
    (row,), _ = encode_pairs([{"prompt": "hi", "chosen": "yes", "rejected": ""}, {
        "prompt": "hi", "chosen": "yes", "rejected": "no"}], PAIRS, tokenizer, 200)  # fmt: skip
    said = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer}] for answer in ("yes", "")]
    chosen, empty = encode_answers(said, tokenizer, 200)
    assert chosen == row.input_ids[: row.documents[0]]
    assert chosen
    assert empty
    assert tokenizer.decode(empty).endswith("assistant\n<|im_end|>")
    assert encode_answers(said, tokenizer, 8) == [chosen[-8:], empty[-8:]], "the answer is what is asked about"
    long = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes" * 10}]
    (whole,), (cut,) = (encode_answers([long], tokenizer, length) for length in (200, 12))
    assert whole is not None
    answer = tokenizer("yes" * 10)["input_ids"]
    assert cut == answer[:12], "as in training an answer that is too long loses its end"


@pytest.mark.parametrize(
    ("row", "max_length", "sentence"),
    [
        ({"prompt": "hi", "chosen": "same", "rejected": "same"}, 200, "both answers are the same"),
        ({"prompt": "hi", "chosen": "yes", "rejected": ""}, 200, "the rejected answer is empty"),
        ({"prompt": "h" * 50, "chosen": "yes", "rejected": "no"}, 40, "longer than the cut-off of 40 tokens"),
    ],
)
def test_where_nothing_is_left_a_sentence_says_why(row: dict[str, str], max_length: int, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        encode_pairs([row], PAIRS, tiny_tokenizer(), max_length)


def test_a_template_that_refuses_says_so() -> None:
    tokenizer = use_template(tiny_tokenizer(), "auto")
    tokenizer.chat_template = "{{ raise_exception('No answers here') }}"
    with pytest.raises(DatasetError, match="No answers here"):
        encode_pairs([{"prompt": "hi", "chosen": "yes", "rejected": "no"}], PAIRS, tokenizer, 200)
