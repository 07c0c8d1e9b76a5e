"""Answers that a policy draws, and what is known of each of their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from studio.models.generate import answering, ends_of, sample_batch
from studio.rewards import Answered, Scores
from studio.training.batching import Batch
from studio.training.losses import token_logprobs
from studio.training.route import Route

AT_ONCE = 32  # answers drawn together at most; what a small machine's memory holds of keys and values


@dataclass
class Rollout:
    """Answers to prompts; tensors of shape (answers, longest answer) and 0 where an answer has no token."""

    prompts: list[list[int]]
    answers: list[list[int]]  # token ids, with the one that ends it where it ended
    texts: list[Answered]
    ended: Tensor  # bool of shape (answers,)
    mask: Tensor
    logprobs: Tensor = field(default_factory=lambda: torch.empty(0))  # in nats, of the policy that drew them
    reference: Tensor = field(default_factory=lambda: torch.empty(0))  # of the model without its adapter
    entropy: Tensor = field(default_factory=lambda: torch.empty(0))
    values: Tensor = field(default_factory=lambda: torch.empty(0))  # what was expected; empty without a critic
    scores: Tensor = field(default_factory=lambda: torch.empty(0))  # (answers,), as training takes them
    given: Scores | None = None  # what the rewards gave

    def take(self, places: Sequence[int]) -> tuple[Batch, Tensor]:
        """Prompts with their answers side by side, and where in it the tokens before each answer token stand."""
        rows = [self.prompts[place] + self.answers[place] for place in places]
        ids = torch.tensor([each for row in rows for each in row], device=self.mask.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.mask.device)
        ends = lengths.cumsum(0).tolist()
        at = [
            torch.arange(end - len(self.answers[place]) - 1, end - 1) for place, end in zip(places, ends, strict=True)
        ]
        return {"input_ids": ids, "lengths": lengths}, torch.cat(at).to(ids.device)


@dataclass(frozen=True)
class Told:
    """What a model says of tokens that are there, all of shape (answers, longest answer)."""

    logprobs: Tensor
    entropy: Tensor
    values: Tensor | None


def draw(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    *,
    max_new_tokens: int,
    temperature: float,
    at_once: int = AT_ONCE,
    stop: Callable[[], bool] = lambda: False,
) -> Rollout:
    """An answer to each of `rows`, which are `Prompted` as dicts; rows may come several times.

    Those of like length are drawn together, so that little is padded.
    """
    prompts = [list(row["input_ids"]) for row in rows]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    answers: list[list[int]] = [[] for _ in prompts]
    with answering(model, adapter=True):
        for begin in range(0, len(order), at_once):
            places = order[begin : begin + at_once]
            asked = [prompts[place] for place in places]
            drawn = sample_batch(
                model, tokenizer, asked, max_new_tokens=max_new_tokens, temperature=temperature, stop=stop
            )
            for place, answer in zip(places, drawn, strict=True):
                answers[place] = answer
    ends = ends_of(model, tokenizer)
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    longest = max(map(len, answers))
    mask = torch.tensor([[1.0] * len(answer) + [0.0] * (longest - len(answer)) for answer in answers])
    return Rollout(
        prompts,
        answers,
        [_answered(row, text.strip()) for row, text in zip(rows, texts, strict=True)],
        torch.tensor([answer[-1] in ends for answer in answers], device=model.device),
        mask.to(model.device),
    )


def _answered(row: dict[str, Any], text: str) -> Answered:
    before = row["before"]
    return Answered(row["prompt"], text, row["reference"], json.loads(before) if before else ())


def told(
    route: Route,
    rollout: Rollout,
    places: Sequence[int],
    temperature: float,
    values: Callable[[Tensor], Tensor] | None = None,
) -> Told:
    """What the model of `route` says of the answers at `places`; log-probs and values have a gradient if it learns.

    `values` takes hidden states of shape (tokens, width) to a number a token.
    """
    batch, at = rollout.take(places)
    states = route.states(batch, at)
    there = rollout.mask[list(places)].bool()
    logprobs, entropy = token_logprobs(route, states, batch["input_ids"][at + 1], temperature)

    spoken = _spread(values(route.hidden(states)), there) if values else None
    return Told(_spread(logprobs, there), _spread(entropy, there), spoken)


def expected(route: Route, rollout: Rollout, places: Sequence[int], values: Callable[[Tensor], Tensor]) -> Tensor:
    """`values` of the answers at `places`, of shape (answers, longest answer)."""
    batch, at = rollout.take(places)
    return _spread(values(route.hidden(route.states(batch, at))), rollout.mask[list(places)].bool())


def _spread(flat: Tensor, there: Tensor) -> Tensor:
    """A number a token, where they stand."""
    return flat.new_zeros(there.shape).masked_scatter(there, flat)
