"""Documents end to end, what part of a conversation is learnt, and prompts joined to completions as they are."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.dataset import Dataset
from studio.data.templates import Mapping
from studio.data.tokens import IGNORED, Encoded, pack, report_on
from studio.models.tiny import tiny_tokenizer
from studio.objectives.next_token import NextToken

TEXT = Mapping("text", {"text": "t"})
TURNS = Mapping("messages", {"messages": "m"})
PAIR = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})


def prepared(settings: NextToken, rows: list[dict[str, Any]], mapping: Mapping) -> Any:
    dataset = Dataset("rows", tuple(rows[0]), rows, [])
    return settings.prepare(dataset, dataset, mapping, tiny_tokenizer(), lambda *_: None)


def learnt(row: Encoded) -> str:
    return tiny_tokenizer().decode([label for label in row.labels if label != IGNORED])


@pytest.mark.parametrize("max_length", [8, 9, 1000])
def test_packed_texts_lose_nothing_and_end_with_the_end_token(max_length: int) -> None:
    rows = [{"t": "a first text"}, {"t": "b"}, {"t": " "}, {"t": "another one"}]
    found = prepared(NextToken(max_length=max_length), rows, TEXT)
    end = tiny_tokenizer().eos_token
    joined = [token for block in found.train for token in block.input_ids]
    assert tiny_tokenizer().decode(joined) == f"a first text{end}b{end}another one{end}"
    assert {len(block.input_ids) for block in found.train[:-1]} <= {max_length}
    assert all(block.labels == block.input_ids and not block.truncated for block in found.train)
    assert all(sum(block.documents) == len(block.input_ids) for block in found.train)
    assert (found.report.truncated, found.report.skipped, found.report.tokens) == (0, 1, len(joined))
    assert found.report.trained_tokens == len(joined) - sum(len(block.documents) for block in found.train)
    assert found.validation == found.train
    assert "packed into" in found.notes[0]


def test_without_packing_a_row_is_a_text() -> None:
    found = prepared(NextToken(max_length=8, packing=False), [{"t": "a first text"}, {"t": "b"}], TEXT)
    assert [len(row.input_ids) for row in found.train] == [8, 2]
    assert (found.report.truncated, found.notes) == (1, [])


def test_a_block_knows_where_its_texts_begin() -> None:
    texts = [Encoded([token] * length, [token] * length, False) for token, length in ((5, 3), (6, 1), (7, 4), (8, 2))]
    blocks = pack(texts, 5)
    assert [block.input_ids for block in blocks] == [[5, 5, 5, 6, 7], [7, 7, 7, 8, 8]]
    assert [block.documents for block in blocks] == [[3, 1, 1], [3, 2]]
    assert report_on(blocks, 0).trained_tokens == 2 + 2 + 1


def test_a_block_of_first_tokens_only_is_nothing_to_learn() -> None:
    assert not pack([Encoded([token], [token], False) for token in range(4)], 2)


def test_a_last_token_alone_has_nothing_before_it_to_learn_from() -> None:
    blocks = pack([Encoded([5, 6, 7], [5, 6, 7], False)], 2)
    assert [block.input_ids for block in blocks] == [[5, 6]]


def test_which_part_of_a_conversation_is_learnt() -> None:
    said = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    rows = [{"m": [{"role": role, "content": content} for role, content in said]}]
    end = tiny_tokenizer().eos_token
    (row,) = prepared(NextToken(), rows, TURNS).train
    assert learnt(row) == f"two{end}four{end}"
    (row,) = prepared(NextToken(loss_on="last_answer"), rows, TURNS).train
    assert learnt(row) == f"four{end}"
    (row,) = prepared(NextToken(loss_on="everything", packing=False), rows, TURNS).train
    assert row.labels == row.input_ids


def test_conversations_are_packed_only_where_all_of_them_is_learnt() -> None:
    rows = [{"p": "ask", "c": "say"}] * 3
    assert len(prepared(NextToken(), rows, PAIR).train) == 3
    found = prepared(NextToken(loss_on="everything"), rows, PAIR)
    (whole,) = prepared(NextToken(loss_on="everything", packing=False), rows[:1], PAIR).train
    assert [block.input_ids for block in found.train] == [whole.input_ids * 3]


def test_no_template_joins_prompt_and_completion() -> None:
    (row,) = prepared(NextToken(chat_template="none"), [{"p": "1 + 1 =", "c": " 2"}], PAIR).train
    end = tiny_tokenizer().eos_token
    assert tiny_tokenizer().decode(row.input_ids) == f"1 + 1 = 2{end}"
    assert learnt(row) == f" 2{end}"
