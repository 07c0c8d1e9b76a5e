"""Which of a few words a model would say next: a verdict with its probability, at the price of one token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from studio.errors import ModelError
from studio.models.generate import Messages, answering, encode, left_padded


def choose_batch(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Messages],
    words: Sequence[str],
    *,
    batch_size: int = 8,
    stop: Callable[[], bool] = lambda: False,
) -> list[list[float]]:
    """For each conversation the probability of each of `words` as the beginning of the answer, among these words.

    A word counts in the spellings Word, word and WORD, each by its first token; a first token that two words have
    in common counts for neither. Raises ModelError where no token tells them apart. After `stop()` the rest is
    left out.
    """
    tokens = first_tokens(tokenizer, words)
    encoded = [encode(tokenizer, messages) for messages in conversations]
    found: list[list[float]] = []
    with answering(model, adapter=True):
        for at in range(0, len(encoded), batch_size):
            if stop():
                break
            logits = _next(model, tokenizer, encoded[at : at + batch_size]).float()
            scores = torch.stack([logits[:, ids].logsumexp(-1) for ids in tokens], dim=-1)
            found += scores.softmax(-1).tolist()
    return found


def first_tokens(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    """The ids with which an answer that begins with each word may begin. Raises ModelError."""
    spelt = [{tokenizer(way, add_special_tokens=False)["input_ids"][0] for way in _spellings(word)} for word in words]
    own = [sorted(ids.difference(*(other for other in spelt if other is not ids))) for ids in spelt]
    if not all(own):
        raise ModelError(
            f"This model's tokens do not tell {' and '.join(map(repr, words))} apart.", remedy="Choose another model."
        )
    return own


def _spellings(word: str) -> tuple[str, str, str]:
    return word.capitalize(), word.lower(), word.upper()


def _next(model: Any, tokenizer: Any, rows: list[list[int]]) -> torch.Tensor:
    """Logits of the token that would come next, shape (rows, vocabulary).

    By way of `generate`, which counts positions behind padding, and knows prompts that were learnt.
    """
    pad = tokenizer.pad_token_id
    ids, mask = (each.to(model.device) for each in left_padded(rows, pad))
    config = GenerationConfig(
        max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True, pad_token_id=pad
    )
    return model.generate(input_ids=ids, attention_mask=mask, generation_config=config).logits[0]
