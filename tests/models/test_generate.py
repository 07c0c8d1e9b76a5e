"""Answers of the tiny model: nonsense, but always the same nonsense."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from studio.errors import ModelError
from studio.methods.lora import Lora
from studio.models.generate import answer_batch, answering, pieces, stream
from studio.models.tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
CONVERSATIONS = [
    [{"role": "user", "content": "hi " * length + "you"}, *more]
    for length, more in [
        (9, []),
        (1, []),
        (5, [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "no"}]),
        (2, []),
        (30, []),
    ]
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def tuned() -> Any:
    """A LoRA whose answers differ from the base's."""
    torch.manual_seed(0)
    model = Lora(r=4).attach(tiny_model())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.5)
    return model.eval()


def streamed(model: Any, tokenizer: Any, messages: Any = CONVERSATIONS[0], **changes: Any) -> str:
    options: dict[str, Any] = {
        "max_new_tokens": 12, "temperature": 0.0, "top_p": 1.0, "seed": 0, "adapter": True, "stop": lambda: False,
    }  # fmt: skip
    return "".join(stream(model, tokenizer, messages, **options | changes))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_batch_gives_what_each_would_alone(tuned: Any, tokenizer: Any, batch_size: int) -> None:
    alone = [streamed(tuned, tokenizer, messages).strip() for messages in CONVERSATIONS]
    together = answer_batch(tuned, tokenizer, CONVERSATIONS, max_new_tokens=12, adapter=True, batch_size=batch_size)
    assert together == alone
    assert len(set(alone)) > 1


def test_without_the_adapter_the_base_answers(tuned: Any, tokenizer: Any) -> None:
    base = answer_batch(tiny_model(), tokenizer, CONVERSATIONS, max_new_tokens=12, adapter=True)
    assert answer_batch(tuned, tokenizer, CONVERSATIONS, max_new_tokens=12, adapter=False) == base
    assert answer_batch(tuned, tokenizer, CONVERSATIONS, max_new_tokens=12, adapter=True) != base
    assert streamed(tuned, tokenizer, adapter=False).strip() == base[0]


def test_training_mode_and_gradients_come_back(tuned: Any, tokenizer: Any) -> None:
    tuned.train()
    streamed(tuned, tokenizer)
    answer_batch(tuned, tokenizer, CONVERSATIONS[:1], max_new_tokens=2, adapter=False)
    assert tuned.training
    assert all(each.requires_grad for name, each in tuned.named_parameters() if "lora_" in name)
    tuned(input_ids=torch.tensor([[1, 5, 6]]), labels=torch.tensor([[1, 5, 6]])).loss.backward()
    tuned.zero_grad()
    tuned.eval()


def test_mode_comes_back_after_a_failure_too(tuned: Any) -> None:
    tuned.train()
    with pytest.raises(RuntimeError, match="on purpose"), answering(tuned, adapter=False):  # noqa: PT012
        assert not tuned.training
        raise RuntimeError("on purpose")
    assert tuned.training
    assert tuned.active_adapters == ["default"]
    tuned.eval()


def test_one_seed_draws_one_answer_and_the_global_state_goes_on(tuned: Any, tokenizer: Any) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    draw: Callable[[int], str] = lambda seed: streamed(tuned, tokenizer, temperature=1.0, top_p=0.9, seed=seed)  # noqa: E731
    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_it_stops_at_the_end_of_a_turn(tokenizer: Any) -> None:
    model = tiny_model()
    prompt = tokenizer.apply_chat_template(CONVERSATIONS[1], add_generation_prompt=True, return_dict=False)
    first = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [first, 2]
    assert streamed(model, tokenizer, CONVERSATIONS[1]) in ("", tokenizer.decode([first]))
    model.generation_config.eos_token_id = None
    assert len(streamed(model, tokenizer, CONVERSATIONS[1])) > 1


def test_stop_is_heard_between_tokens(tuned: Any, tokenizer: Any) -> None:
    asked = threading.Event()
    got = []
    for piece in stream(
        tuned, tokenizer, CONVERSATIONS[0], max_new_tokens=1500, temperature=1.0, top_p=1.0, seed=0,
        adapter=True, stop=asked.is_set,
    ):  # fmt: skip
        got.append(piece)
        asked.set()
    assert len(got) < 750


def test_closing_the_iterator_ends_the_thread(tuned: Any, tokenizer: Any) -> None:
    before = threading.active_count()
    answer = stream(
        tuned, tokenizer, CONVERSATIONS[0], max_new_tokens=1500, temperature=1.0, top_p=1.0, seed=0,
        adapter=True, stop=lambda: False,
    )  # fmt: skip
    assert isinstance(answer, Iterator)
    next(answer)
    answer.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert threading.active_count() == before


def test_a_fault_while_writing_reaches_the_reader(tuned: Any, tokenizer: Any) -> None:
    def broken() -> bool:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        streamed(tuned, tokenizer, stop=broken)


def test_after_a_stop_the_rest_stays_empty(tuned: Any, tokenizer: Any) -> None:
    done: list[tuple[int, int]] = []
    answers = answer_batch(
        tuned, tokenizer, CONVERSATIONS, max_new_tokens=4, adapter=True, batch_size=2,
        stop=lambda: len(done) == 1, progress=lambda *told: done.append(told),
    )  # fmt: skip
    assert done == [(2, 5)]
    assert len(answers) == 5
    assert answers[0] == answers[4] == ""  # the longest come last


class Written:
    """Stands in for the streamer: tokens that are there already."""

    def __init__(self, tokens: list[int]) -> None:
        import queue

        self.queue: queue.Queue[int | BaseException | None] = queue.Queue()
        for token in (*tokens, None):
            self.queue.put(token)


def test_a_character_of_several_tokens_comes_whole(tokenizer: Any) -> None:
    text = "a é 🙂\nnext\n日"
    written: Any = Written(tokenizer(text)["input_ids"])
    got = list(pieces(tokenizer, written))
    assert "".join(got) == text
    assert "🙂" in got
    assert not any("\ufffd" in piece for piece in got)


def test_a_character_cut_off_by_the_end_is_shown_as_such(tokenizer: Any) -> None:
    written: Any = Written(tokenizer("ok 🙂")["input_ids"][:-1])
    assert "".join(pieces(tokenizer, written)).startswith("ok ")


def test_special_tokens_are_not_shown(tokenizer: Any) -> None:
    written: Any = Written([*tokenizer("yes")["input_ids"], 2])
    assert "".join(pieces(tokenizer, written)) == "yes"


def test_what_is_longer_than_the_model_reads_is_refused(tuned: Any, tokenizer: Any) -> None:
    long = [{"role": "user", "content": "x" * 2050}]
    for ask in (
        lambda: streamed(tuned, tokenizer, long),
        lambda: answer_batch(tuned, tokenizer, [long], max_new_tokens=1, adapter=True),
    ):
        with pytest.raises(ModelError, match="longer than the 2048 that the model reads"):
            ask()


def test_a_model_without_a_chat_template_is_refused(tuned: Any) -> None:
    bare = tiny_tokenizer()
    bare.chat_template = None
    with pytest.raises(ModelError, match="chat template"):
        streamed(tuned, bare)
