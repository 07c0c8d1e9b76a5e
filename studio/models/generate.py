"""Answers: one of them piece by piece, or many at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from studio.data.rendering import ENDS, chat_template_of
from studio.data.turns import Message
from studio.errors import ModelError

Messages = list[Message]


@dataclass(frozen=True)
class Begun:
    """The tokens that all rows of a batch begin with, which the model has read already."""

    length: int = 0  # of tokens
    cache: Any = None  # transformers' Cache, of as many rows; it is used up


def stream(
    model: Any,
    tokenizer: Any,
    messages: Messages,
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    adapter: bool,
    stop: Callable[[], bool],
) -> Iterator[str]:
    """The answer to `messages`, in pieces of whole characters as they are written.

    Temperature 0 takes the likeliest token each time. Closing the iterator ends the writing, and so
    does `stop()`. Without `adapter` the base model answers. Raises ModelError.
    """
    ids = encode(tokenizer, messages)
    _check_length(model, ids, max_new_tokens)
    streamer, closed = _Tokens(len(ids)), threading.Event()
    config = _config(model, tokenizer, max_new_tokens, temperature, top_p)

    def write() -> None:
        try:
            with answering(model, adapter=adapter), seeded(model, seed):
                _generate(model, [ids], tokenizer, config, lambda: closed.is_set() or stop(), streamer)
        except BaseException as error:
            streamer.queue.put(error)
        else:
            streamer.queue.put(None)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield from pieces(tokenizer, streamer)
    finally:
        closed.set()
        thread.join()


def answer_batch(
    model: Any,
    tokenizer: Any,
    conversations: list[Messages],
    *,
    max_new_tokens: int,
    adapter: bool,
    batch_size: int = 8,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """The likeliest answer to each conversation, in their order. Raises ModelError.

    Those of like length share a batch, so that little is padded. After `stop()` the rest stay empty.
    """
    encoded = [encode(tokenizer, messages) for messages in conversations]
    for ids in encoded:
        _check_length(model, ids, max_new_tokens)
    config = _config(model, tokenizer, max_new_tokens, 0.0, 1.0)
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    answers = [""] * len(encoded)
    with answering(model, adapter=adapter):
        for at in range(0, len(order), batch_size):
            if stop():
                break
            rows = order[at : at + batch_size]
            written = _generate(model, [encoded[row] for row in rows], tokenizer, config, stop)
            for row, text in zip(rows, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
                answers[row] = text.strip()
            progress(at + len(rows), len(order))
    return answers


def sample_batch(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    stop: Callable[[], bool] = lambda: False,
    begun: Begun | None = None,
    streamer: Any = None,
    options: Mapping[str, Any] | None = None,
) -> list[list[int]]:
    """New token ids behind each prompt, with the token that ends it where it ended.

    Drawn with torch's own dice from softmax(logits / temperature), nothing cut off; at 0 the likeliest. The caller
    sees to adapter and eval mode. `begun` is what the model knows already of their beginnings. `streamer` is handed
    the tokens of each step, `options` are further fields of transformers' GenerationConfig.
    """
    config = _config(model, tokenizer, max_new_tokens, temperature, 1.0)
    config.update(**(options or {}))
    ends = set(config.eos_token_id)
    written = _generate(model, prompts, tokenizer, config, stop, streamer, begun)
    return [_whole(row, ends) for row in written.tolist()]


def _whole(ids: list[int], ends: set[int]) -> list[int]:
    """Up to its first end; what stands behind it is padding."""
    return next((ids[: place + 1] for place, each in enumerate(ids) if each in ends), ids)


def ends_of(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end an answer."""
    return set(_ends(model, tokenizer))


def fits(model: Any, tokenizer: Any, messages: Messages, max_new_tokens: int) -> bool:
    """Whether the model reads that much and an answer behind it."""
    most = reads(model)
    return most is None or len(encode(tokenizer, messages)) + max_new_tokens <= most


@contextlib.contextmanager
def answering(model: Any, *, adapter: bool) -> Iterator[None]:
    """Inference and eval mode, the adapter switched off unless wanted; all is restored behind it."""
    was_training = model.training
    off = contextlib.nullcontext() if adapter or not hasattr(model, "disable_adapter") else model.disable_adapter()
    model.eval()
    try:
        with torch.inference_mode(), off:
            yield
    finally:
        model.train(was_training)


class _Tokens(BaseStreamer):
    """Hands token ids from the thread that generates to the one that reads."""

    def __init__(self, prompt_length: int) -> None:
        self.queue: queue.Queue[int | BaseException | None] = queue.Queue()
        self._skip = prompt_length  # generate() sends the prompt first

    def put(self, value: torch.Tensor) -> None:
        for token in value.flatten().tolist():
            if self._skip:
                self._skip -= 1
            else:
                self.queue.put(token)

    def end(self) -> None:
        """Nothing: the thread itself says when it is through, or why it failed."""


def pieces(tokenizer: Any, streamer: _Tokens) -> Iterator[str]:
    """Text of the streamer's tokens. A character of several tokens waits for its last one.

    Tokens are decoded together with those before them, since many decoders treat a first token
    differently; what was shown already is cut off.
    """
    ids: list[int] = []
    shown = ""
    while (item := streamer.queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        ids.append(item)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.endswith("\ufffd") and len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
            if text.endswith("\n"):
                ids, shown = [], ""  # a new line starts afresh, so that long answers stay cheap
    if rest := tokenizer.decode(ids, skip_special_tokens=True)[len(shown) :]:
        yield rest


def encode(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """A conversation up to where its answer begins. Raises ModelError, and jinja2's TemplateError."""
    chat_template_of(tokenizer)
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # the template wrote them already


def reads(model: Any) -> int | None:
    """How many tokens at most; None: as many as there are."""
    return getattr(model.config, "max_position_embeddings", None)


def _check_length(model: Any, ids: list[int], max_new_tokens: int) -> None:
    most = reads(model)
    if most is not None and len(ids) + max_new_tokens > most:
        raise ModelError(
            f"The conversation has {len(ids)} tokens; with {max_new_tokens} more for the answer "
            f"it is longer than the {most} that the model reads.",
            remedy="Shorten it, or lower 'Answer length at most'.",
        )


def _config(model: Any, tokenizer: Any, max_new_tokens: int, temperature: float, top_p: float) -> Any:
    """Every field that changes an answer is set: what is left out would come from the model's own config."""
    drawn = temperature > 0
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=drawn,
        temperature=temperature if drawn else 1.0,
        top_p=top_p if drawn else 1.0,
        top_k=0 if drawn else None,  # 0: all tokens; greedy search complains of any number
        repetition_penalty=1.0,
        eos_token_id=_ends(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    own = getattr(model.generation_config, "eos_token_id", None)
    known = tokenizer.get_vocab()
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return sorted(ends - {None} | {known[end] for end in ENDS if end in known})


@contextlib.contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """`seed` for what is drawn inside; the random state of everything else goes on as it was."""
    device = model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class _Asked(StoppingCriteria):
    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        return torch.full((len(input_ids),), self.stop(), device=input_ids.device, dtype=torch.bool)


def _generate(
    model: Any,
    rows: list[list[int]],
    tokenizer: Any,
    config: Any,
    stop: Callable[[], bool],
    streamer: Any = None,
    begun: Begun | None = None,
) -> torch.Tensor:
    """New tokens, shape (rows, longest answer)."""
    begun = begun or Begun()
    ids, mask = left_padded(rows, tokenizer.pad_token_id, begun.length)
    written = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
        stopping_criteria=StoppingCriteriaList([_Asked(stop)]),
        streamer=streamer,
        **({"past_key_values": begun.cache} if begun.length else {}),
    )
    return written[:, ids.shape[1] :]


def left_padded(rows: Sequence[list[int]], pad: int, shared: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, both of shape (rows, longest): padding stands on the left, where answers do not grow.

    There it stands behind the first `shared` tokens, which all have in common.
    """
    width = max(map(len, rows))
    ids = [row[:shared] + [pad] * (width - len(row)) + row[shared:] for row in rows]
    mask = [[1] * shared + [0] * (width - len(row)) + [1] * (len(row) - shared) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)
