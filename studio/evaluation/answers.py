"""Base and tuned model answer the same held-out prompts: did training change anything, and for the better?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.errors import ModelError
from studio.evaluation.metrics import score
from studio.models.generate import answer_batch, fits


@dataclass(frozen=True)
class Comparison:
    """Mean metrics of both sides, each 0 to 1, and every answer beside its reference."""

    base: dict[str, float]
    tuned: dict[str, float]
    examples: list[dict[str, str]]
    left_out: int  # conversations longer than the model reads


def compare(
    model: Any,
    tokenizer: Any,
    conversations: list[list[dict[str, str]]],
    *,
    max_new_tokens: int,
    stop: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> Comparison:
    """Greedy answers to all but the last message of each conversation, which is the reference.

    Raises ModelError where no conversation leaves room for an answer.
    """
    kept = [messages for messages in conversations if fits(model, tokenizer, messages[:-1], max_new_tokens)]
    if not kept:
        raise ModelError(
            "Every held-out conversation is longer than the model reads.", remedy="Lower 'Answer length at most'."
        )
    prompts = [messages[:-1] for messages in kept]
    references = [messages[-1]["content"] for messages in kept]
    total = 2 * len(prompts)

    def answers(adapter: bool, before: int) -> list[str]:
        return answer_batch(
            model,
            tokenizer,
            prompts,
            max_new_tokens=max_new_tokens,
            adapter=adapter,
            stop=stop,
            progress=lambda done, _: progress(before + done, total),
        )

    tuned = answers(True, 0)
    base = answers(False, len(prompts))
    examples = [
        {"prompt": prompt[-1]["content"], "reference": reference, "base": was, "tuned": now}
        for prompt, reference, was, now in zip(prompts, references, base, tuned, strict=True)
    ]
    return Comparison(score(references, base), score(references, tuned), examples, len(conversations) - len(kept))
