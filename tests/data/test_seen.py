"""What is shown of a row is what training gets of it."""

import json
from collections import Counter

import pytest

from studio.data import lengths as lengths_module
from studio.data.lengths import Lengths
from studio.data.library import SAMPLES
from studio.data.rendering import use_template
from studio.data.seen import see, warnings
from studio.data.templates import Mapping
from studio.data.tokens import IGNORED, encode_rows
from studio.errors import ModelError
from studio.models.tiny import tiny_tokenizer
from tests.conftest import ROOT

ALPACA = ROOT.parent / "shared" / "data" / "alpaca_en_demo.json"
PAIR = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})
TEXT = Mapping("text", {"text": "t"})
INSTRUCTION = Mapping("instruction", {"instruction": "instruction", "input": "input", "output": "output"})


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


def agree(rows, mapping, tokenizer, max_length):
    """Pieces, reasons and totals say of each row what `encode_rows` makes of it."""
    learnt, report = encode_rows(rows, mapping, tokenizer, max_length)
    remaining = iter(learnt)
    for row in rows:
        seen = see(row, mapping, tokenizer, max_length)
        assert "".join(piece.text for piece in seen.pieces) == seen.rendered
        assert (
            [piece.state == "cut" for piece in seen.pieces].count(True) == seen.cut == max(seen.tokens - max_length, 0)
        )
        if seen.reason:
            assert seen.trained == 0
            continue
        encoded = next(remaining)
        kept = seen.pieces[:max_length]
        assert [piece.token_id for piece in kept] == encoded.input_ids
        labels = [piece.token_id if piece.state == "trained" else IGNORED for piece in kept]
        assert labels[1:] == encoded.labels[1:]  # the first is never predicted
        assert (seen.cut > 0) == encoded.truncated
    assert next(remaining, None) is None
    adding = Lengths(mapping, tokenizer, max_length)
    for start in range(0, len(rows), 256):
        adding.add(list(enumerate(rows))[start : start + 256])
    total = adding.summary()
    assert (total.tokens, total.trained_tokens) == (report.tokens, report.trained_tokens)
    assert (total.truncated, total.untrained) == (report.truncated, report.skipped)
    assert total.rows == len(rows)


@pytest.mark.skipif(not ALPACA.exists(), reason="the shared test data is not beside this checkout")
@pytest.mark.parametrize("max_length", [300, 100_000])
def test_alpaca_is_seen_as_it_is_learnt(tokenizer, max_length):
    agree(json.loads(ALPACA.read_text(encoding="utf-8"))[:400], INSTRUCTION, tokenizer, max_length)


@pytest.mark.starter
def test_the_sample_is_seen_as_the_starter_learns_it(starter_model):
    from transformers import AutoTokenizer

    lines = (SAMPLES / "customer_messages" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = AutoTokenizer.from_pretrained(starter_model)
    agree([json.loads(line) for line in lines], INSTRUCTION, tokenizer, 120)
    assert warnings(tokenizer, INSTRUCTION, [json.loads(line) for line in lines[:50]]) == []


def test_plain_text_and_its_end(tokenizer):
    agree([{"t": "ab"}, {"t": None}, {"t": "é日🙂" * 5}], TEXT, tokenizer, 9)
    seen = see({"t": "ab"}, TEXT, tokenizer, 2)
    assert [(piece.text, piece.state) for piece in seen.pieces] == [
        ("a", "masked"),  # nothing stands before it
        ("b", "trained"),
        ("<|im_end|>", "cut"),
    ]


def test_a_character_of_several_tokens_stands_with_the_first(tokenizer):
    seen = see({"p": "x", "c": "é🙂"}, PAIR, tokenizer, 100)
    trained = [piece.text for piece in seen.pieces if piece.state == "trained"]
    assert trained == ["é", "", "🙂", "", "", "", "<|im_end|>"]
    assert [piece.text for piece in seen.pieces if piece.special][-1] == "<|im_end|>"


@pytest.mark.parametrize(
    ("row", "max_length", "says"),
    [
        ({"p": "hi", "c": "ok"}, 100, ""),
        ({"p": "hi", "c": "ok"}, 21, "beyond the cut-off of 21 tokens"),
        ({"p": "hi", "c": " "}, 100, "answer"),
    ],
)
def test_why_nothing_is_learnt(tokenizer, row, max_length, says):
    seen = see(row, PAIR, tokenizer, max_length)
    assert bool(seen.reason) == bool(says)
    assert says in seen.reason
    assert (seen.trained == 0) == bool(says)


def test_a_template_that_refuses_is_the_reason(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    assert "System role not supported" in see({"p": "a", "c": "b"}, PAIR, tokenizer, 50).reason


def test_a_base_model_shows_nothing_until_a_template_is_chosen(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        see({"p": "a", "c": "b"}, PAIR, tokenizer, 50)
    assert "no chat template" in warnings(tokenizer, PAIR, [])[0]
    use_template(tokenizer, "plain")
    assert see({"p": "a", "c": "b"}, PAIR, tokenizer, 500).rendered.startswith("### Instruction:\na")


def test_lengths_by_hand(tokenizer, monkeypatch):
    monkeypatch.setattr(lengths_module, "IDS_KEPT", 2)
    adding = Lengths(PAIR, tokenizer, 30)
    rows = [{"p": "hi", "c": "ok"}, {"p": "hi", "c": ""}, {"p": "hi" * 50, "c": "ok"}, {"p": "hi", "c": "x" * 50}]
    adding.add([(row_id, row) for row_id, row in enumerate(rows * 3)])
    found = adding.summary()
    assert (found.truncated, found.truncated_ids) == (3, [3, 7])
    assert (found.untrained, found.untrained_ids) == (6, [1, 2])
    assert sorted(found.reasons.values()) == [3, 3]
    assert found.total.longest == 25 + 98  # 'hi' is in 25 already
    assert sum(found.total.rows) == 9  # the empty answer cannot be rendered
    assert found.parts["p"].longest == 100
    assert found.parts["c"].median == 2


def test_bars_cover_all_rows_and_a_long_tail_has_one_bar(tokenizer):
    adding = Lengths(TEXT, tokenizer, 100)
    lengths = [number % 50 for number in range(1, 400)] + [20_000]
    adding.add([(row_id, {"t": "x" * length}) for row_id, length in enumerate(lengths)])
    total = adding.summary().total
    assert len(total.edges) == len(total.rows) + 1 <= 41
    told = Counter(length + 1 for length in lengths if length)
    assert total.rows == [
        sum(count for length, count in told.items() if start <= length < end)
        for start, end in zip(total.edges, total.edges[1:], strict=False)
    ]
    assert total.rows[-1] == 1
    assert total.longest == 20_001


def test_turns_are_measured_by_speaker(tokenizer):
    adding = Lengths(Mapping("messages", {"messages": "m"}), tokenizer, 100)
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "ok"}]
    adding.add([(0, {"m": turns})])
    assert {name: part.longest for name, part in adding.summary().parts.items()} == {"user": 5, "assistant": 2}


def test_warnings(tokenizer):
    row = {"p": "say <|im_start|>", "c": "ok"}
    (typed,) = warnings(tokenizer, PAIR, [row, {"p": "a", "c": "b"}])
    assert "1 of 2 rows" in typed
    assert "'<|im_start|>'" in typed
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}\n{% endfor %}"
    (unended,) = warnings(tokenizer, PAIR, [{"p": "a", "c": "b"}])
    assert "1 of 1 answers" in unended
    assert "'b'" in unended
