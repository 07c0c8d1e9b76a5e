"""Noise on embeddings while a model learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def noisy(embeddings: torch.nn.Module, alpha: float, lengths: Tensor) -> Iterator[None]:
    """Inside, each number that `embeddings` gives for a row of L tokens gets uniform noise of +- alpha / sqrt(L width).

    `lengths` are those of the rows; they come end to end, as (1, tokens, width), or one below the other. NEFTune,
    Jain et al. 2023, arXiv:2310.05914, algorithm 1. An alpha of 0 adds nothing.
    """

    def add(module: Any, given: Any, output: Tensor) -> Tensor:
        rows = lengths.to(output.device, torch.float32)
        flat = output.shape[:2] == (1, int(lengths.sum()))
        tokens = rows.repeat_interleave(lengths.to(output.device))[None] if flat else rows[:, None]
        most = alpha / (tokens * output.shape[-1]).sqrt()
        return output + (torch.rand_like(output) * 2 - 1) * most[..., None].to(output.dtype)

    handle = embeddings.register_forward_hook(add) if alpha else None
    try:
        yield
    finally:
        if handle:
            handle.remove()
