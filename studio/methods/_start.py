"""LoRA that begins with the main part of each weight, beside a base that stays whole."""

from __future__ import annotations

from typing import Any


def begin(model: Any, kind: str) -> None:
    """Let every LoRA in `model`, of twice the rank that shall learn, begin with a part of its layer's weight.

    PiSSA and OLoRA take B0 A0 off the base's weight W and learn B A from there. Here W stays as it is, so
    that the base can still answer, and W + s (B A - B0 A0) is one LoRA of [A; A0] and [B, -B0], of which
    the second halves get no gradient. Any program that reads LoRA reads it.
    """
    import torch

    with torch.no_grad():
        for layer in model.modules():
            if hasattr(layer, "lora_A") and "default" in layer.lora_A:
                _begin(layer, kind)


def _begin(layer: Any, kind: str) -> None:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    half = len(a) // 2
    weight = layer.get_base_layer().weight.float()
    weight = weight.T if layer.fan_in_fan_out else weight  # (outputs, inputs)
    first_b, first_a = _pissa(weight, half, layer.scaling["default"]) if kind == "pissa" else _olora(weight, half)
    a[:half], a[half:] = first_a, first_a
    b[:, :half], b[:, half:] = first_b, -first_b
    a.register_hook(lambda gradient: _but(gradient, half))
    b.register_hook(lambda gradient: _but(gradient.T, half).T)


def _but(gradient: Any, half: int) -> Any:
    kept = gradient.clone()
    kept[half:] = 0
    return kept


def _pissa(weight: Any, r: int, scale: float) -> tuple[Any, Any]:
    """B and A with scale B A = U S V', the r main components of `weight`. Meng et al. 2024, arXiv:2404.02948."""
    import torch

    u, s, v = torch.svd_lowrank(weight, min(r + 8, *weight.shape), niter=4)
    root = (s[:r] / scale).sqrt()
    return u[:, :r] * root, root[:, None] * v[:, :r].T


def _olora(weight: Any, r: int) -> tuple[Any, Any]:
    """The first r columns of Q and rows of R of `weight` = Q R. Büyükakyüz 2024, arXiv:2406.01775."""
    import torch

    q, rest = torch.linalg.qr(weight)
    return q[:, :r], rest[:r]
