"""Which layers of a model a method's settings mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from studio.errors import ConfigError

ALL_LINEAR = "all-linear"

Layers = dict[str, tuple[int, int]]  # full name → the shape of its weight, either way round


def linear_layers(model: Any) -> Layers:
    """Name → (inputs, outputs) of each linear layer, quantised ones too; the output layer left out."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    found: Layers = {}
    for name, module in model.named_modules():
        if module is output:
            continue
        if isinstance(module, nn.Linear):  # bitsandbytes' layers are subclasses, with packed weights
            found[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # GPT-2's linear layer
            found[name] = (module.weight.shape[0], module.weight.shape[1])
    if not found:
        raise ConfigError("The model has no linear layer that could be adapted.", remedy="Choose another model.")
    return found


def chosen_layers(target_modules: str, layers: Layers) -> Layers:
    """Those of `layers` that 'target_modules' names, by their full name or its end. Raises ConfigError for none."""
    if target_modules.strip() == ALL_LINEAR:
        return layers
    wanted = [name.strip() for name in target_modules.split(",") if name.strip()]
    meant = _meant(layers)
    missing = [name for name in wanted if name not in meant]
    if missing or not wanted:
        there = sorted({layer.rpartition(".")[2] for layer in layers})
        raise ConfigError(
            f"The model has no linear layer named {' or '.join(map(repr, missing)) or 'so'}.",
            remedy=f"Under 'Adapted layers' choose from: {', '.join(there)}; or {ALL_LINEAR!r}.",
        )
    found = {layer for name in wanted for layer in meant[name]}
    return {layer: shape for layer, shape in layers.items() if layer in found}


def names_for(chosen: Collection[str], layers: Collection[str]) -> str:
    """The shortest text from which `chosen_layers` finds just `chosen` of `layers` again; '' for none of them."""
    meant, wanted = _meant(layers), set(chosen)
    names: list[str] = []
    left = set(wanted)
    for layer in layers:
        if layer in left:
            fit = (end for end in _ends(layer) if layer in meant[end] and meant[end] <= wanted and not end.isdigit())
            name = next(fit, layer)
            names.append(name)
            left -= meant[name]
    return ", ".join(sorted(names, key=_natural))


def check_rank(r: int, chosen: Layers) -> None:
    """Raise ConfigError for a rank above a layer's width: it learns nothing more than the width itself would.

    Gates with a single output do not count: they stand beside layers that take the rank.
    """
    widths = {layer: min(shape) for layer, shape in chosen.items() if min(shape) > 1}
    if not widths:
        return
    narrowest = min(widths, key=lambda layer: widths[layer])
    width = widths[narrowest]
    if r > width:
        raise ConfigError(
            f"'Rank' is {r}, but {narrowest} is only {width} wide.", remedy=f"Lower it to {width} or less."
        )


def check_divides(label: str, size: int, chosen: Layers) -> None:
    """Raise ConfigError where the setting of that `label`, `size`, does not divide every width of the layers."""
    shared = shared_divisor(chosen)
    if shared % size:
        fits = max(divisor for divisor in range(1, min(size, shared) + 1) if shared % divisor == 0)
        raise ConfigError(
            f"{label!r} is {size}, which does not divide the width of every adapted layer.",
            remedy=f"Set it to {fits}, or to another divisor of {shared}.",
        )


def shared_divisor(chosen: Layers) -> int:
    """The greatest number that divides every width of the layers."""
    return math.gcd(*(width for shape in chosen.values() for width in shape))


def check_fits(label: str, needed: Callable[[int, int], int], chosen: Layers) -> None:
    """Raise ConfigError where the setting of that `label` makes more entries learn than a layer's weight has."""
    for layer, (one, other) in chosen.items():
        if needed(one, other) > one * other:
            raise ConfigError(
                f"{label!r} makes {needed(one, other):,} entries of {layer} learn, which has only {one * other:,}.",
                remedy="Lower it.",
            )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10, and names that begin with a word before those of single blocks."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _ends(layer: str) -> list[str]:
    """Its name's ends at a dot, shortest first, such as q_proj, self_attn.q_proj, 0.self_attn.q_proj."""
    parts = layer.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def _meant(layers: Collection[str]) -> dict[str, set[str]]:
    """What each name means: the layer that is called just so, else all whose names end so."""
    found: dict[str, set[str]] = {}
    for layer in layers:
        for end in _ends(layer):
            found.setdefault(end, set()).add(layer)
    return found | {layer: {layer} for layer in layers}
