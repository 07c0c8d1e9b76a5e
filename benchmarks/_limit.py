"""What the machine's matrix products would allow, were training nothing else.

Floating-point operations of one update of LoRA on a frozen decoder, a multiplication and an addition counted as
two. With n tokens in a row, m of them labelled, and x over the linear layers that are adapted:

    frozen layers      2 in out tokens forward, as much again for the gradient of their input; they learn, and so
                       need, no gradient of their own: 4 N per token (full fine-tuning would be 6 N)
    adapters           rank (in + out) weights each: 2 forward, 4 backward per weight and token
    head               4 width vocabulary per labelled token: logits, and the gradient of the hidden states
    attention          scores and their product with the values, causal: 2 * 2 * heads * head size * n (n + 1) / 2
                       per layer and row forward, twice that backward

Normalisation, activation functions, softmax, the optimizer and recomputation count nothing: they are what stands
between a loop and the limit.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SQUARE = 2048  # of the big product


@dataclass(frozen=True)
class Shapes:
    """Of a decoder of Llama's kind."""

    layers: int
    linear: tuple[tuple[int, int], ...]  # (in, out) of one layer's projections
    width: int
    vocabulary: int
    attended: int  # heads * head size

    @classmethod
    def read(cls, model: Path) -> Shapes:
        """From the config.json in the folder `model`."""
        values: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
        width, inner = values["hidden_size"], values["intermediate_size"]
        attended = values["num_attention_heads"] * values["head_dim"]
        keys = values["num_key_value_heads"] * values["head_dim"]
        linear = ((width, attended), (width, keys), (width, keys), (attended, width))
        return cls(
            layers=values["num_hidden_layers"],
            linear=(*linear, (width, inner), (width, inner), (inner, width)),
            width=width,
            vocabulary=values["vocab_size"],
            attended=attended,
        )


def operations(shapes: Shapes, rank: int, rows: Iterable[tuple[int, int]]) -> float:
    """FLOPs of training on `rows`, (tokens, labelled tokens) each; the text above has the formula."""
    frozen = shapes.layers * sum(before * after for before, after in shapes.linear)
    learnt = shapes.layers * rank * sum(before + after for before, after in shapes.linear)
    total = 0.0
    for tokens, labelled in rows:
        attention = 3 * shapes.layers * 4 * shapes.attended * tokens * (tokens + 1) / 2
        total += tokens * (4 * frozen + 6 * learnt) + labelled * 4 * shapes.width * shapes.vocabulary + attention
    return total


def peak(shapes: Shapes, tokens: int) -> dict[str, float]:
    """FLOP/s of bfloat16 products: "model", its own frozen ones on `tokens` tokens, forward and backward; "square"."""
    import torch

    seconds = work = 0.0
    products = [(shapes.layers, *each) for each in shapes.linear] + [(1, shapes.width, shapes.vocabulary)]
    for times, before, after in products:
        weight = torch.randn(after, before).bfloat16()
        for x, by in ((torch.randn(tokens, before), weight.t()), (torch.randn(tokens, after), weight)):
            seconds += times * _seconds(x.bfloat16(), by)
            work += times * 2 * tokens * before * after
    big = torch.randn(SQUARE, SQUARE).bfloat16()
    return {"model": work / seconds, "square": 2 * SQUARE**3 / _seconds(big, big)}


def _seconds(left: Any, right: Any, repeats: int = 9) -> float:
    """Median time of left @ right, after two to warm up."""
    import torch

    into = torch.empty(left.shape[0], right.shape[1], dtype=left.dtype)  # page faults are no arithmetic
    spent = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        torch.mm(left, right, out=into)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[2:])
