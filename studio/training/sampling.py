"""Answers to a few fixed prompts amid training: how a model changes, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.events import EventLog, Sampled
from studio.models.generate import answer_batch, fits

LONGEST = 48  # tokens an answer; a glance is enough


class Sampler:
    """Has the same held-out prompts answered whenever it is asked, and tells it in a run's log, a step once."""

    def __init__(
        self,
        log: EventLog,
        tokenizer: Any,
        conversations: list[list[dict[str, str]]],
        max_new_tokens: int,
        stop: Callable[[], bool],
    ) -> None:
        """The last message of each conversation is what would have been right."""
        self.log, self.tokenizer, self.stop = log, tokenizer, stop
        self.conversations = conversations
        self.max_new_tokens = min(max_new_tokens, LONGEST)
        self._told = {event.step for event in log.read_from()[0] if isinstance(event, Sampled)}

    def __call__(self, model: Any, step: int, *, adapter: bool = True) -> None:
        """Greedy answers after `step`; without the adapter they are the base model's."""
        kept = [
            messages
            for messages in self.conversations
            if fits(model, self.tokenizer, messages[:-1], self.max_new_tokens)
        ]
        if step in self._told or not kept:
            return
        prompts = [messages[:-1] for messages in kept]
        answers = answer_batch(
            model, self.tokenizer, prompts, max_new_tokens=self.max_new_tokens, adapter=adapter, stop=self.stop
        )
        if self.stop():
            return
        self._told.add(step)
        self.log.append(
            Sampled(
                step=step,
                answers=[
                    {"prompt": messages[-2]["content"], "reference": messages[-1]["content"], "answer": answer}
                    for messages, answer in zip(kept, answers, strict=True)
                ],
            )
        )
