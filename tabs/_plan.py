"""What the Train tab says about a run before it starts: what it learns, and what memory it takes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from studio.config import RunConfig
from studio.estimate import USABLE, Part
from studio.fitting import Fit
from studio.models.catalog import SUGGESTIONS, fits, free_memory
from studio.models.machine import Room
from studio.models.structure import Structure
from studio.plan import Plan
from studio.rehearsal import size
from tabs._layers import short
from tabs._shared import escaped

_SMALLER = "Free memory (the button at the top), or choose a smaller model"


def verdict(config: RunConfig, structure: Structure | None) -> str:
    """What is about to happen, and with which values where the form leaves them open."""
    known = next((each for each in SUGGESTIONS if each.model == config.model), None)
    parts = [f"{config.method.title} on {known.title if known else config.model}."]
    if known and structure is None:  # a rule of thumb, until the model's own shapes are here
        parts.append(f"Memory with LoRA: {fits(known.parameters, free_memory())}.")
    if known and known.gated:
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


def memory(plan: Plan) -> str:
    """The parts of memory as a bar beside what is free, each with its number and its reason."""
    needs, room = plan.needs, plan.room
    word = needs.verdict(room.free)
    where = "of the GPU" if room.gpu else "of this machine"
    scale = max(needs.total, room.free, 1)
    said = f"About {size(needs.total)} at most; {size(room.free)} {where} are free of {size(room.total)}."
    bars = "".join(
        f'<span class="{_slug(part)}" style="width:{100 * part.size / scale:.2f}%"></span>'
        for part in needs.parts
        if not part.reclaimable
    )
    legend = "".join(
        f'<li tabindex="0"><span class="swatch {_slug(part)}"></span><span class="what">{escaped(part.name)}</span> '
        f'<span class="size">{size(part.size)}</span><span class="why" role="tooltip">{escaped(part.why)}</span></li>'
        for part in needs.parts
    )
    return (
        f'<div class="needs {word.replace(" ", "-")}"><p><strong class="word">Memory: {word}.</strong> {said}</p>'
        f'<div class="stack" role="img" aria-label="{said}">{bars}'
        f'<i style="left:{100 * USABLE * room.free / scale:.2f}%"></i></div>'
        f'<ul>{legend}</ul><p class="muted">{escaped(_expected(plan))}</p></div>'
    )


def _slug(part: Part) -> str:
    """Its class, and so its colour."""
    return f"part-{part.name.lower().replace(' ', '-')}"


def _expected(plan: Plan) -> str:
    batch = plan.batch
    steps = f"{plan.steps:,} {'step' if plan.steps == 1 else 'steps'}"
    time = f", about {duration(plan.seconds)} by the speed of an earlier run" if plan.seconds is not None else ""
    return (
        "By a formula; the mark leaves a fifth of what is free as air. "
        f"Largest batch: {batch.tokens:,} tokens, the longest row {batch.longest:,}, {plan.how}. "
        f"{steps}{time}; about {size(plan.disk)} on disk."
    )


def proposal(found: Fit, room: Room) -> str:
    """The steps that make a run fit, or that nothing does."""
    steps = "".join(
        f"<li><strong>{escaped(each.what)}</strong>: saves {size(each.saves)}. {escaped(each.costs)}</li>"
        for each in found.changes
    )
    listed = f"<ol>{steps}</ol>" if steps else ""
    if found.fits:
        end = f"<p>Then about {size(found.total)} are needed, and {size(room.free)} are free.</p>"
        return f'<div class="ready fit" role="status">{listed}{end}</div>'
    needed = f"{'Even then' if steps else 'At the least'} about {size(found.total)} are needed"
    end = f"<p><strong>{needed}, and {size(room.free)} are free.</strong> {_SMALLER}{_smaller(room)}.</p>"
    return f'<div class="fault fit" role="status">{listed}{end}</div>'


def _smaller(room: Room) -> str:
    """The largest suggested model that fits."""
    fitting = [each for each in SUGGESTIONS if each.writes and fits(each.parameters, room.free).startswith("fits")]
    return f", such as {max(fitting, key=lambda each: each.parameters).title}" if fitting else ""


def duration(seconds: float) -> str:
    """Roughly: seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def pairs(told: Mapping[str, str]) -> str:
    """Names and what is said of them; HTML already."""
    lines = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items())
    return f'<dl class="pairs">{lines}</dl>'
