"""What the Train tab says about a run before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from studio.config import RunConfig
from studio.models.catalog import SUGGESTIONS, fits, free_memory
from studio.models.structure import Structure
from tabs._layers import short
from tabs._shared import escaped


def verdict(config: RunConfig, structure: Structure | None) -> str:
    """What is about to happen, and with which values where the form leaves them open."""
    known = next((each for each in SUGGESTIONS if each.model == config.model), None)
    parts = [f"{config.method.title} on {known.title if known else config.model}."]
    if known:
        parts.append(f"Memory: {fits(known.parameters, free_memory())}.")
        if known.gated:
            parts.append("Its licence must be accepted on the Hub first.")
    return f'<div class="ready"><p>{escaped(" ".join(parts))}</p>{pairs(_told(config, structure))}</div>'


def _told(config: RunConfig, structure: Structure | None) -> dict[str, str]:
    """What the form leaves open, as it will be."""
    suits = "" if config.training.learning_rate is not None else ", which suits this method"
    told = {"Learning rate": f"{config.settled().training.learning_rate:g}{suits}"}
    if structure and (count := config.method.trainable(structure)) is not None:
        total = sum(map(prod, structure.weights.values()))
        told["Learns"] = f"{short(count)} weights, {count / total:.2%} of the model's {short(total)}"
    chosen = config.number_format
    told["Base held in"] = "what suits the device" if chosen == "auto" else chosen
    return told


def pairs(told: Mapping[str, str]) -> str:
    """Names and what is said of them; HTML already."""
    lines = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items())
    return f'<dl class="pairs">{lines}</dl>'
