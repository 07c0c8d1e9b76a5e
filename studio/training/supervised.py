"""The trainer of objectives that learn from labelled tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from studio.training.batching import Batch, collate
from studio.training.losses import answer_loss, mean_answer_loss
from studio.training.trainer import StudioTrainer


class SupervisedTrainer(StudioTrainer):
    """Cross-entropy of labelled tokens; held-out rows give its token-weighted mean and perplexity exp(loss)."""

    def collator(self) -> Callable[[list[Any]], Batch]:
        # Where rows are padded, packed ones stay whole: short documents would be padded to the longest.
        return lambda rows: collate(rows, apart=not self.route.reason)

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, int]:
        return answer_loss(self.route, batch, self.training.label_smoothing_factor)

    def scores(self, batches: Iterator[Batch], step: Callable[[int], None]) -> dict[str, float]:
        loss = mean_answer_loss(self.route, batches, step)
        return {"loss": loss, "perplexity": math.exp(min(loss, 50))}
