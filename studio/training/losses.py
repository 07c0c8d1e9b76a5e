"""Losses as functions of tensors."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def answer_loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Summed cross-entropy, in nats, over the labelled tokens of `batch`, and how many there are.

    loss = -sum_t log p(x_t | x_<t) over positions t with label x_t != -100. `batch` holds input_ids,
    attention_mask and labels of shape (rows, length). Logits are computed at positions where some row
    has a label only: prompts and padding never meet the vocabulary.
    """
    targets = batch["labels"][:, 1:]
    columns = (targets != -100).any(dim=0).nonzero().squeeze(1)
    if columns.numel() == 0:
        # A zero that still has a gradient, so that a batch without labels is a step that moves nothing.
        return _logits(model, batch, columns.new_zeros(1)).sum() * 0.0, 0
    targets = targets[:, columns]
    logits = _logits(model, batch, columns)
    labelled = targets != -100
    chosen = logits[labelled].float()
    return functional.cross_entropy(chosen, targets[labelled], reduction="sum"), int(labelled.sum())


def _logits(model: Any, batch: dict[str, Tensor], columns: Tensor) -> Tensor:
    """Logits of shape (rows, len(columns), vocabulary) at the given columns."""
    columns = columns - batch["input_ids"].shape[1]  # from the end: a learnt prompt stands in front
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
    if _keeps_logits(model):
        return model(**inputs, logits_to_keep=columns).logits
    return model(**inputs).logits[:, columns]


def _keeps_logits(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


@torch.no_grad()
def mean_answer_loss(model: Any, batches: Any, step: Any = lambda done: None) -> float:
    """Token-weighted mean of `answer_loss` over an iterable of batches, in nats per token."""
    total, tokens = 0.0, 0
    for done, batch in enumerate(batches, 1):
        loss, count = answer_loss(model, batch)
        total += float(loss)
        tokens += count
        step(done)
    return total / max(tokens, 1)
