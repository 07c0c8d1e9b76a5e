"""A model that is asked many things with one beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from studio.data.turns import Message

_AT_ONCE = 1 << 14  # tokens of a batch, padding included: what a small machine's memory holds of keys and values
_LOGITS = 1 << 13  # so many take about as much memory as the keys and values of a token


@dataclass(frozen=True)
class Spoken:
    """An answer and what it took."""

    text: str
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Likely:
    """How likely an answer is to a model."""

    nats: float  # minus the log-probability of all its tokens, the one that ends it included
    tokens: int  # so many
    prompt_tokens: int


class Speaker(Protocol):
    """What the search for a prompt needs of a model. None: it is longer than the model reads."""

    def answers(self, asked: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Spoken | None]:
        """The likeliest answer to each conversation."""
        ...

    def likelihoods(self, asked: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[tuple[float, int] | None]:
        """(mean log-probability in nats a token of that answer, its end included; tokens of the prompt) of each."""
        ...


class ModelSpeaker:
    """A `Speaker` that reads what conversations begin with once, and rows of like length together.

    What several rows began with is kept for the next call; a row asked by itself is read whole, as anybody's request
    would be. Where a model cannot do that, each row is. None, too: its template refuses the conversation.
    """

    def __init__(self, model: Any, tokenizer: Any, pulse: Callable[[], None] = lambda: None) -> None:
        """`pulse` is called at each token that is written, and may raise to leave."""
        from studio.models.beginnings import Beginnings

        self.model, self.tokenizer, self._pulse = model, tokenizer, pulse
        self.beginnings = Beginnings(model, tokenizer)

    def answers(
        self, asked: Sequence[Sequence[Message]], max_new_tokens: int, temperature: float = 0.0
    ) -> list[Spoken | None]:
        """See `Speaker`; above temperature 0 drawn with torch's dice. Raises ModelError without a chat template."""
        from studio.models.generate import answering, sample_batch

        prompts = [self._prompt(each, max_new_tokens) for each in asked]
        found: list[Spoken | None] = [None] * len(asked)
        with answering(self.model, adapter=True):
            for places in self._batches([len(each) + max_new_tokens if each else None for each in prompts]):
                rows = [prompts[place] or [] for place in places]
                written = sample_batch(
                    self.model,
                    self.tokenizer,
                    rows,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    stop=self._pulsed,
                    begun=self.beginnings.of(rows, max(map(len, rows)) + max_new_tokens),
                )
                texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
                for place, row, text, new in zip(places, rows, texts, written, strict=True):
                    found[place] = Spoken(text.strip(), len(row), len(new))
        return found

    def likelihoods(self, asked: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[tuple[float, int] | None]:
        """See `Speaker`. Raises ModelError where the model has no chat template, or an old tokenizer."""
        found = self.likely(asked, answers)
        return [(-each.nats / each.tokens, each.prompt_tokens) if each else None for each in found]

    def likely(self, asked: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Likely | None]:
        """How likely that answer is to each conversation; as `likelihoods`."""
        from studio.models.generate import answering

        rows = [self._answered(messages, answer) for messages, answer in zip(asked, answers, strict=True)]
        found: list[Likely | None] = [None] * len(rows)
        vocabulary = self.model.config.get_text_config().vocab_size
        with answering(self.model, adapter=True):
            for places in self._batches(
                [row and len(row[0]) + len(row[1]) * (1 + vocabulary // _LOGITS) for row in rows]
            ):
                self._pulse()
                some = [row for place in places if (row := rows[place])]
                read = [prompt + answer[:-1] for prompt, answer in some]  # nothing follows the last one
                prompts, counts = [prompt for prompt, _ in some], [len(answer) for _, answer in some]
                for place, row, logits in zip(places, some, self.beginnings.logits(read, prompts, counts), strict=True):
                    found[place] = Likely(nats_of(logits, row[1]), len(row[1]), len(row[0]))
        return found

    def _batches(self, sizes: Sequence[int | None]) -> Iterator[list[int]]:
        """Places of rows that are taken together, those of like size; rows without a size are left out."""
        most = 0 if self.beginnings.reason else _AT_ONCE
        batch: list[int] = []
        for size, place in sorted((size, place) for place, size in enumerate(sizes) if size):
            if batch and (len(batch) + 1) * size > most:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _pulsed(self) -> bool:
        self._pulse()
        return False

    def _prompt(self, messages: Sequence[Message], room: int) -> list[int] | None:
        """Its tokens, where an answer of `room` tokens fits behind them."""
        from jinja2 import TemplateError

        from studio.models.generate import encode, reads

        try:
            ids = encode(self.tokenizer, messages)
        except TemplateError:
            return None
        most = reads(self.model)
        return ids if most is None or len(ids) + room <= most else None

    def _answered(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]] | None:
        """Tokens of the prompt and of the answer, with the one that ends it: as in training."""
        from jinja2 import TemplateError

        from studio.data.rendering import render
        from studio.data.tokens import IGNORED, check_tokenizer, encode_rendered
        from studio.models.generate import reads

        check_tokenizer(self.tokenizer)
        try:
            rendered = render([*messages, {"role": "assistant", "content": answer}], self.tokenizer, "last_answer")
        except TemplateError:
            return None
        (row,) = encode_rendered([rendered], self.tokenizer, reads(self.model) or 1 << 30)
        learnt = [place for place, label in enumerate(row.labels) if label != IGNORED] if row else []
        if row is None or row.truncated or not learnt[0]:  # which nothing stands before
            return None
        begin, end = learnt[0], learnt[-1] + 1
        return row.input_ids[:begin], row.input_ids[begin:end]


def nats_of(logits: Any, tokens: list[int]) -> float:
    """Minus the log-probability of `tokens`; each follows from one of the logits, of shape (tokens, vocabulary)."""
    import torch

    ids = torch.tensor(tokens, device=logits.device)[:, None]
    return -float(logits.float().log_softmax(-1).gather(-1, ids).sum())
