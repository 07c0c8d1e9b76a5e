"""The trainer of objectives that learn from labelled tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from studio.training.batching import Collator
from studio.training.losses import answer_loss, mean_answer_loss
from studio.training.trainer import StudioTrainer


class SupervisedTrainer(StudioTrainer):
    """Cross-entropy of labelled tokens; held-out rows give its token-weighted mean and perplexity exp(loss)."""

    def collator(self, tokenizer: Any) -> Collator:
        return Collator(tokenizer.pad_token_id)

    def summed_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
        return answer_loss(model, batch)

    def scores(self, batches: Iterator[dict[str, torch.Tensor]], step: Callable[[int], None]) -> dict[str, float]:
        loss = mean_answer_loss(self.model, batches, step)
        return {"loss": loss, "perplexity": math.exp(min(loss, 50))}
