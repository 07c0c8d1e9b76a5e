"""How large an update of a weight is, how many directions it has, and what that says of a whole run.

Pure functions; torch is imported inside those that compute, for the page reads what they found.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 64  # singular values of a layer that are shown
ENOUGH = 0.9  # the share of layers that a rank must serve to be called enough

_IN_BLOCK = re.compile(r"(?:.*?\.)?(\d+)\.(.+)")


@dataclass(frozen=True)
class Layer:
    """What training changed of one weight W; ΔW = W after − W before."""

    name: str  # as the model calls the weight's layer, such as 'model.layers.3.mlp.up_proj'
    block: int | None  # the number in its name; None: the weight is of no block
    kind: str  # the name within its block
    shape: list[int]
    norm: float  # Frobenius, of ΔW
    relative: float  # ‖ΔW‖ / ‖W before‖
    effective_rank: float
    stable_rank: float
    rank90: int  # the smallest rank that holds 90 % of ‖ΔW‖²
    rank99: int
    values: list[float]  # the largest singular values of ΔW, at most KEPT


@dataclass(frozen=True)
class Anatomy:
    """A run's update, layer by layer. No layers: nothing changed, or the method changes no weights."""

    rank: int | None  # that every update was limited to; None: there was no such limit
    layers: list[Layer]
    sentence: str
    advice: str


# -- one update ---------------------------------------------------------------------------------------


def singular_values(update: Tensor, floor: float = 0.0) -> Tensor:
    """Of `update`, largest first, in float64; shapes other than (rows, columns) are flattened to such.

    Those up to `floor` count as zero: give it the size of the rounding error that the update carries.
    """
    import torch

    matrix = update.flatten(1) if update.dim() > 1 else update.reshape(1, -1)
    values = torch.linalg.svdvals(matrix.float()).double()
    return torch.where(values > floor, values, 0.0)


def factored_values(up: Tensor, down: Tensor) -> Tensor:
    """Singular values of up @ down, largest first, without ever forming it: (rows, r) and (r, columns) → (r,).

    With up = Q R and downᵀ = P S (QR), up @ down = Q (R Sᵀ) Pᵀ, and Q and P do not change singular values.
    """
    import torch

    left = torch.linalg.qr(up.double(), mode="r").R
    right = torch.linalg.qr(down.double().T, mode="r").R
    return torch.linalg.svdvals(left @ right.T)


def effective_rank(values: Tensor) -> float:
    """exp of the entropy of the singular values' shares: n for n equal ones, 1 for a single one, 0 for none.

    Roy & Vetterli 2007, The effective rank: a measure of effective dimensionality, definition 1.
    """
    import torch

    if not values.sum() > 0:
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


def stable_rank(values: Tensor) -> float:
    """‖ΔW‖² in Frobenius norm over that in spectral norm; 0 for a zero update. Rudelson & Vershynin 2007."""
    return float((values / values[0]).square().sum()) if values[0] > 0 else 0.0


def rank_holding(values: Tensor, share: float) -> int:
    """The smallest k whose best rank-k approximation keeps `share` of the squared norm (Eckart & Young 1936)."""
    energy = values.square().cumsum(0)
    if not energy[-1] > 0:
        return 0
    return int((energy < share * energy[-1]).sum()) + 1


def measured(name: str, shape: Sequence[int], values: Tensor, weight_norm: float) -> Layer:
    """What a layer's update comes to; `values` are all its singular values, `weight_norm` is ‖W before‖."""
    norm = float(values.square().sum().sqrt())
    block, kind = place(name)
    return Layer(
        name=name,
        block=block,
        kind=kind,
        shape=list(shape),
        norm=_short(norm),
        relative=_short(norm / weight_norm) if weight_norm else 0.0,
        effective_rank=_short(effective_rank(values)),
        stable_rank=_short(stable_rank(values)),
        rank90=rank_holding(values, 0.90),
        rank99=rank_holding(values, 0.99),
        values=[_short(float(value)) for value in values[:KEPT]],
    )


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def place(name: str) -> tuple[int | None, str]:
    """(number of the block, name within it): 'model.layers.3.mlp.up_proj' → (3, 'mlp.up_proj')."""
    found = _IN_BLOCK.fullmatch(name)
    return (int(found[1]), found[2]) if found else (None, name)


# -- the whole run --------------------------------------------------------------------------------------


def anatomy(layers: list[Layer], rank: int | None) -> Anatomy:
    """The layers, and in two sentences what they say. `rank` is the limit that updates had."""
    changed = [layer for layer in layers if layer.norm > 0]
    if not changed:
        told = ("Training changed no weight.", "Train for more steps, or at a higher learning rate.")
        return Anatomy(rank, layers, *told)
    most = max(changed, key=lambda layer: layer.relative)
    top = f"Most changed: {spoken(most, layers)}, by {100 * most.relative:.2g} % of its weight's norm."
    matrices = [layer for layer in changed if len(layer.shape) > 1 and min(layer.shape) > 1]
    if not matrices:
        return Anatomy(rank, layers, top, "What changed are vectors, so there is no rank to choose.")
    enough = sorted(layer.rank99 for layer in matrices)[math.ceil(ENOUGH * len(matrices)) - 1]
    held = sum(layer.rank99 <= enough for layer in matrices)
    sentence = f"Rank {enough} would have held 99 % of the update in {held} of {len(matrices)} layers."
    if enough == rank:  # true of every update
        sentence = (
            f"In more than {100 * (1 - ENOUGH):.0f} % of the layers, 99 % of the update takes the whole rank of {rank}."
        )
    return Anatomy(rank, layers, f"{sentence} {top}", _advice(rank, enough, matrices))


def _advice(rank: int | None, enough: int, matrices: list[Layer]) -> str:
    if rank is None:
        if enough <= KEPT:
            return f"A LoRA of rank {enough} could have held nearly the same update."
        return "The update has many directions: a LoRA of a usual rank would have lost a part of it."
    if 2 * enough <= rank:
        return f"The rank was {rank}: lower it to {enough} for nearly the same update with fewer weights."
    used = median(layer.effective_rank for layer in matrices) / rank
    if used > 0.75:
        return f"The rank was {rank} and nearly all of it is used: try a higher one if the loss is not low enough."
    return f"The rank was {rank}: it suits what was learnt."


def spoken(layer: Layer, layers: list[Layer]) -> str:
    """The layer as people would say it: 'layer 29's o_proj'."""
    kind = short_kinds(layers)[layer.kind]
    return kind if layer.block is None else f"layer {layer.block}'s {kind}"


def short_kinds(layers: list[Layer]) -> dict[str, str]:
    """Kind → its last part, where no other kind ends in the same."""
    kinds = dict.fromkeys(layer.kind for layer in layers)
    last = Counter(kind.rpartition(".")[2] for kind in kinds)
    return {kind: tail if last[tail := kind.rpartition(".")[2]] == 1 else kind for kind in kinds}
