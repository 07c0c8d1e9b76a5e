"""What a model says behind a beginning that was kept is what it says when each row is read alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from studio import speaker as module
from studio.methods import methods
from studio.models import beginnings
from studio.models.generate import answer_batch, encode
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.speaker import ModelSpeaker
from tests.training.architectures import build

pytestmark = [  # what peft says
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning:UserWarning"),
]

Conversation = list[dict[str, str]]

SHARED = [
    {"role": "system", "content": "One word."},
    {"role": "user", "content": "Sky?"},
    {"role": "assistant", "content": "Blue"},
]
QUESTIONS = ("Grass?", "What is in the dark?", "Who?", "Why not?")
RIGHT = ("Green", "Nothing at all", "Me", "It is late")


def asked(shared: Conversation = SHARED, questions: tuple[str, ...] = QUESTIONS) -> list[Conversation]:
    return [[*shared, {"role": "user", "content": each}] for each in questions]


@torch.no_grad()
def likely(model: Any, tokenizer: Any, messages: Conversation, answer: str) -> float:
    """Of the answer and its end of turn, in nats a token, with the whole conversation read at once."""
    new = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([encode(tokenizer, messages) + new])).logits[0, -len(new) - 1 :]
    return float(logits.log_softmax(-1)[range(len(new)), new].mean())


def assert_same(speaker: ModelSpeaker, conversations: list[Conversation]) -> None:
    """As the library has it row by row, and once more: what is kept must still be what it was."""
    model, tokenizer = speaker.model, speaker.tokenizer
    alone = [answer_batch(model, tokenizer, [each], max_new_tokens=6, adapter=True)[0] for each in conversations]
    right = [likely(model, tokenizer, each, answer) for each, answer in zip(conversations, RIGHT, strict=True)]
    for _ in range(2):
        assert [each and each.text for each in speaker.answers(conversations, 6)] == alone
        found = speaker.likelihoods(conversations, RIGHT)
        assert [each and each[0] for each in found] == pytest.approx(right, abs=1e-4)


@contextmanager
def tokens_read(model: Any) -> Iterator[list[int]]:
    """How many tokens each pass takes, padding included."""
    passes: list[int] = []
    handle = model.get_input_embeddings().register_forward_pre_hook(lambda _, given: passes.append(given[0].numel()))
    try:
        yield passes
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def speaker() -> ModelSpeaker:
    return ModelSpeaker(tiny_model(), tiny_tokenizer())


@pytest.mark.parametrize(
    ("name", "changes", "keeps"),
    [
        ("llama", {}, True),
        ("qwen2", {}, True),
        ("gpt2", {}, True),  # which learns where a token stands
        ("gemma2", {"sliding_window": 85}, True),  # one row is longer than that
        ("gemma2", {}, True),  # all are longer
        ("mpt", {}, False),  # computes where a token stands from the padding
        ("mamba", {}, False),  # has no keys and values
    ],
)
def test_it_says_what_the_model_says(name: str, changes: dict[str, Any], keeps: bool) -> None:
    speaker = ModelSpeaker(build(name, **changes), tiny_tokenizer())
    assert (not speaker.beginnings.reason) is keeps
    assert_same(speaker, asked())


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_what_a_run_learnt_answers(method: str) -> None:
    model = methods()[method]().attach(tiny_model())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    learnt = ModelSpeaker(model, tiny_tokenizer())
    assert bool(learnt.beginnings.reason) is (method == "prompt")
    assert_same(learnt, asked())
    plain = ModelSpeaker(tiny_model(), tiny_tokenizer())
    assert learnt.likelihoods(asked(), RIGHT) != plain.likelihoods(asked(), RIGHT)


def test_tokens_that_merge_across_the_boundary_stay_what_they_are() -> None:
    """All questions begin with the letter a, and one goes on so that it becomes another token."""
    from tokenizers.models import BPE

    tokenizer = tiny_tokenizer()
    known = tokenizer.get_vocab()
    tokenizer.backend_tokenizer.model = BPE({**known, "ab": len(known)}, [("a", "b")])
    conversations = asked(questions=("ab", "ac", "a", "aab"))
    rows = [encode(tokenizer, each) for each in conversations]
    assert len({row[len(rows[2]) - 14] for row in rows}) > 1
    assert_same(ModelSpeaker(build("llama"), tokenizer), conversations)


def test_rows_that_are_all_the_same_are_read_to_their_last_token(speaker: ModelSpeaker) -> None:
    assert_same(speaker, asked(questions=("Who?",) * 4))


def test_a_beginning_is_read_once(speaker: ModelSpeaker) -> None:
    shared = [{"role": "system", "content": "Say what you see, " * 20}]
    common = len(encode(speaker.tokenizer, shared)) - len("<|im_start|>assistant\n") + 11
    with tokens_read(speaker.model) as passes:
        speaker.answers(asked(shared), 1)
        first = list(passes)
        speaker.likelihoods(asked(shared), RIGHT)
        speaker.answers(asked(shared, ("Other", "things", "now")), 1)
    assert first[0] == pytest.approx(common, abs=12)  # by itself, once
    assert max(passes[1:]) < common  # only what is new, of all rows


def test_a_longer_beginning_goes_on_behind_a_shorter_one(speaker: ModelSpeaker) -> None:
    """As a prompt with one more example does; and back again."""
    longer = [*SHARED, {"role": "user", "content": "Sea?"}, {"role": "assistant", "content": "Blue too, I think"}]
    assert_same(speaker, asked())
    with tokens_read(speaker.model) as passes:
        speaker.answers(asked(longer), 1)
    assert passes[0] < len(encode(speaker.tokenizer, longer)) - len(encode(speaker.tokenizer, SHARED)) + 30
    assert_same(speaker, asked(longer))
    assert_same(speaker, asked())


def test_one_row_alone_is_read_whole(speaker: ModelSpeaker) -> None:
    (one, *_) = asked()
    speaker.answers(asked(), 1)
    with tokens_read(speaker.model) as passes:
        speaker.answers([one], 1)
    assert passes == [len(encode(speaker.tokenizer, one))]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = ModelSpeaker(tiny_model(), tiny_tokenizer())
    token = 2 * 2 * 2 * 16 * 4  # layers, keys and values, heads, their width, bytes
    monkeypatch.setattr(beginnings, "_KEPT_BYTES", 100 * token)
    monkeypatch.setattr(module, "_AT_ONCE", 300)  # two rows at once
    for word in ("One", "Two", "Three", "Four"):
        assert_same(speaker, asked([{"role": "system", "content": word}, *SHARED[1:]]))
    assert 0 < sum(len(each.ids) for each in speaker.beginnings._kept) <= 100


def test_what_does_not_fit_is_none(speaker: ModelSpeaker) -> None:
    rows = asked(questions=("Who?", "x" * 2000, "Why?"))
    for found in (speaker.answers(rows, 100), speaker.likelihoods(rows, ("Me", "Me", "Me"))):
        assert [each is None for each in found] == [False, True, False]
    assert speaker.likelihoods(rows[:1], ["x" * 2000]) == [None]
    (said, _, _) = speaker.answers(rows, 3)
    assert said
    assert (said.prompt_tokens, said.answer_tokens) == (len(encode(speaker.tokenizer, rows[0])), 3)


def test_what_a_template_refuses_is_none() -> None:
    tokenizer = tiny_tokenizer()
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('No system text') }}{% endif %}"
    tokenizer.chat_template = refuses + tokenizer.chat_template
    speaker = ModelSpeaker(tiny_model(), tokenizer)
    rows = [*asked(questions=("Who?",)), *asked([], ("Who?",))]
    assert [each is None for each in speaker.answers(rows, 2)] == [True, False]
    assert [each is None for each in speaker.likelihoods(rows, ("Me", "Me"))] == [True, False]


def test_whoever_waits_no_longer_can_leave_amid_an_answer() -> None:
    heard = []

    def pulse() -> None:
        heard.append(1)
        if len(heard) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        ModelSpeaker(tiny_model(), tiny_tokenizer(), pulse).answers(asked(), 50)
    assert len(heard) == 3
