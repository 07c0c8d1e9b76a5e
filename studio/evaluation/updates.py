"""What training changed of a model's weights, whatever the method: ΔW = W after − W before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.adapter import attach_saved
from studio.errors import ModelError
from studio.evaluation.spectrum import factored_values, singular_values
from studio.models.own import Wrapper


@dataclass(frozen=True)
class Update:
    """One weight's change: the singular values of ΔW, largest first."""

    shape: tuple[int, ...]
    weight_norm: float  # ‖W before‖, Frobenius
    values: Tensor
    rank: int | None  # of the two factors that ΔW is the product of; None: it is no such product
    rows: bool = False  # only the rows of new tokens learnt


Updates = dict[str, Callable[[], Update | None]]


def updates(model: Any, adapter: Path) -> Updates:
    """Layer name → how to get its update, which may be asked for once; None: what it learnt is no change of a weight.

    `model` is the base as training found it, unquantised; it is used up. Raises ModelError as `attach_saved` does.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    attached = attach_saved(model, adapter)
    if before := getattr(attached, "aside", None):  # the base's own weights learnt
        after = attached.learnt_weights()
        return {name.removesuffix(".weight"): partial(_difference, before[name], after[name]) for name in before}
    named = attached.get_base_model().named_modules()
    layers = {name: layer for name, layer in named if isinstance(layer, (BaseTunerLayer, Wrapper))}
    # An embedding's is wrapped once more.
    return {name.removesuffix(".token_adapter"): partial(_of_layer, layer) for name, layer in layers.items()}


@torch.no_grad()
def _of_layer(layer: Any) -> Update | None:
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    base: nn.Module = layer.base_layer
    before: Tensor = base.weight.data  # pyright: ignore[reportAssignmentType]
    if factors := _factors(layer):
        up, down = factors
        return Update(tuple(before.shape), _norm(before), factored_values(up, down), len(down))
    base.weight.data = before.to(torch.float32, copy=True)  # in bfloat16 a small update would be rounded away
    try:
        after = _merged(layer).weight.data
    except (ModelError, NotImplementedError):
        return None
    finally:
        base.weight.data = before
    return replace(_difference(before, after), rows=isinstance(layer, TrainableTokensLayer))


def _merged(layer: Any) -> Any:
    if isinstance(layer, Wrapper):
        return layer.merged()
    layer.merge()
    return layer.base_layer


def _factors(layer: Any) -> tuple[Tensor, Tensor] | None:
    """(rows, r) and (r, columns) whose product is ΔW, where it is one: a plain LoRA of a linear layer."""
    up: Any = getattr(layer, "lora_B", None)
    if isinstance(up, nn.Linear):
        return up.weight * layer.scaling, layer.lora_A.weight
    (name,) = getattr(layer, "active_adapters", [""])  # peft keeps factors for each adapter's name
    if isinstance(up, nn.ModuleDict) and name in up and not layer.lora_variant.get(name):
        return up[name].weight * layer.scaling[name], layer.lora_A[name].weight
    return None


@torch.no_grad()
def _difference(before: Tensor, after: Tensor) -> Update:
    before, norm = before.float(), _norm(before)
    values = singular_values(after.float() - before, floor=torch.finfo(torch.float32).eps * norm)
    return Update(tuple(before.shape), norm, values, None)


def _norm(weight: Tensor) -> float:
    return float(torch.linalg.vector_norm(weight.float()))
