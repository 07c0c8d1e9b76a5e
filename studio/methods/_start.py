"""LoRA that begins with the main part of each weight, beside a base that stays whole. For workers: imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

# In a field of peft's config that is saved, and that nobody reads where the config names a task.
_SIGN = {"second_half_stays": True}


def begin(model: Any, kind: str) -> None:
    """Let every LoRA in `model`, of twice the rank that shall learn, begin with a part of its layer's weight.

    PiSSA and OLoRA take B0 A0 off the base's weight W and learn B A from there. Here W stays as it is, so
    that the base can still answer, and W + s (B A - B0 A0) is one LoRA of [A; A0] and [B, -B0], of which
    the second halves stay. Any program that reads LoRA reads it.
    """
    model.peft_config["default"].auto_mapping = _SIGN
    with torch.no_grad():
        for layer in _layers(model):
            _begin(layer, kind)
    hold(model)


def hold(model: Any) -> None:
    """Where `model` began so, let only the first halves be parameters. Saved, they are whole again."""
    if model.peft_config["default"].auto_mapping != _SIGN:
        return
    for layer in _layers(model):
        for factor, dim in ((layer.lora_A["default"], 0), (layer.lora_B["default"], 1)):
            stays = factor.weight.detach().chunk(2, dim)[1].clone()
            register_parametrization(factor, "weight", _Beside(stays, dim))
            factor.register_state_dict_post_hook(_whole)


class _Beside(nn.Module):
    """What learns of a factor → the whole factor, with the other half behind it along `dim`."""

    stays: Tensor

    def __init__(self, stays: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("stays", stays, persistent=False)

    def forward(self, learns: Tensor) -> Tensor:
        return torch.cat((learns, self.stays), self.dim)

    def right_inverse(self, whole: Tensor) -> Tensor:
        return whole.chunk(2, self.dim)[0].clone()


def _whole(factor: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    del state[f"{prefix}parametrizations.weight.original"]
    state[f"{prefix}weight"] = factor.weight.detach()


def _layers(model: Any) -> list[Any]:
    return [each for each in model.modules() if hasattr(each, "lora_A") and "default" in each.lora_A]


def _begin(layer: Any, kind: str) -> None:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    half = len(a) // 2
    weight = layer.get_base_layer().weight.float()
    weight = weight.T if layer.fan_in_fan_out else weight  # (outputs, inputs)
    first_b, first_a = _pissa(weight, half, layer.scaling["default"]) if kind == "pissa" else _olora(weight, half)
    a[:half], a[half:] = first_a, first_a
    b[:, :half], b[:, half:] = first_b, -first_b


def _pissa(weight: Tensor, r: int, scale: float) -> tuple[Tensor, Tensor]:
    """B and A with scale B A = U S V', the r main components of `weight`. Meng et al. 2024, arXiv:2404.02948."""
    u, s, v = torch.svd_lowrank(weight, min(r + 8, *weight.shape), niter=4)
    root = (s[:r] / scale).sqrt()
    return u[:, :r] * root, root[:, None] * v[:, :r].T


def _olora(weight: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """The first r columns of Q and rows of R of `weight` = Q R. Büyükakyüz 2024, arXiv:2406.01775."""
    q, rest = torch.linalg.qr(weight)
    return q[:, :r], rest[:r]
