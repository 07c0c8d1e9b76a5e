"""Attention of rows that lie side by side: each token sees its own row, and no padding is computed.

An attention function of transformers: models hand it their queries, keys and values, and pass on where rows
begin in `cu_seq_lens_q`, as they do for FlashAttention.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

NAME = "side_by_side"  # what a model's config calls this attention
BESIDE = "attention_beside"  # kwarg: a Beside
_HALVES = (torch.bfloat16, torch.float16)


@dataclass
class Beside:
    """What attention is to know of its model, and what it was told by it."""

    own: str  # what the model's own attention is called, such as 'sdpa'
    windows: set[int] = field(default_factory=set)  # tokens that some layer looks back at most


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    max_length_q: int = 0,
    max_length_k: int = 0,
    **options: Any,
) -> tuple[Tensor, None]:
    """`query` has shape (1, heads, tokens, width of a head); the result (1, tokens, heads, width).

    Each row goes through the model's own attention alone, or, on an NVIDIA GPU, all at once through
    FlashAttention as torch has it (Dao 2023, arXiv:2307.08691).
    """
    if cu_seq_lens_q is None:
        raise ValueError("its attention is not told where rows begin")
    device = query.device.type
    if torch.is_autocast_enabled(device):  # a rotation by float32 gives float32, and kernels want halves
        query, key, value = (each.to(torch.get_autocast_dtype(device)) for each in (query, key, value))
    beside: Beside = options.pop(BESIDE)
    own, window = beside.own, options.get("sliding_window")
    if window is not None:
        beside.windows.add(window)
    causal = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if own == "sdpa" and (flash := _flash()) is not None and _flashes(query, key, value, options):
        left = -1 if window is None else window - 1
        flashed: Any = flash(
            *(each[0].transpose(0, 1) for each in (query, key, value)),
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=options.get("scaling"),
            window_size=(left, 0 if causal else left),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return flashed[None], None
    one_row = AttentionInterface().get_interface(own, _eager(module))
    rows = []
    for begin, end in pairwise(cu_seq_lens_q.tolist()):
        mask = _mask(query, end - begin, window, causal=causal, implied=own == "sdpa")
        parts = (each[:, :, begin:end] for each in (query, key, value))
        rows.append(one_row(module, *parts, mask, **options)[0])
    return torch.cat(rows, dim=1), None


def _mask(query: Tensor, length: int, window: int | None, *, causal: bool, implied: bool) -> Tensor | None:
    """What is added to one row's scores, of shape (1, 1, length, length); None where no token is hidden.

    `implied`: the attention hides what comes later by itself where it is given no mask.
    """
    reaches = window is None or length <= window
    if reaches and (implied or not causal):
        return None
    place = torch.arange(length, device=query.device)
    back: Any = place[:, None] - place
    hidden = back < 0 if causal else torch.zeros_like(back, dtype=torch.bool)
    if not reaches:
        hidden |= back.abs() >= window
    if implied:
        return ~hidden[None, None]
    return torch.zeros(1, 1, length, length, dtype=query.dtype, device=query.device).masked_fill(
        hidden, torch.finfo(query.dtype).min
    )


def _eager(module: Any) -> Callable[..., Any]:
    """The attention that the model's own file spells out."""
    return sys.modules[type(module).__module__].eager_attention_forward


def _flashes(query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> bool:
    usual = not options.get("dropout") and options.get("softcap") is None and options.get("position_bias") is None
    fits = query.shape[-1] == value.shape[-1] <= 256 and query.shape[-1] % 8 == 0
    return usual and fits and query.is_cuda and {query.dtype, key.dtype, value.dtype} in [{half} for half in _HALVES]


@cache
def _flash() -> Callable[..., Any] | None:
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "enable_gqa" in inspect.signature(varlen_attn).parameters else None  # not before 2.12


AttentionInterface.register(NAME, attend)
