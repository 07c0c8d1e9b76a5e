"""A run rehearsed from its form: what a few of its steps show, and the batch that suits the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import gradio as gr

from studio.child import Progress
from studio.config import RunConfig
from studio.errors import StudioError
from studio.pace import Trial
from studio.rehearsal import Rehearsal, Suited, size
from tabs._shared import HEARD, QUIET, Page, escaped, meter, said

CANCELLED = '<p class="muted">Cancelled.</p>'
Batch = tuple[int, int]  # rows at a time, batches an update


@dataclass(frozen=True)
class Offer:
    """The buttons and what they tell."""

    once: gr.Button
    suit: gr.Button
    cancel: gr.Button
    larger: gr.Checkbox
    told: gr.HTML
    take: gr.Button
    undo: gr.Button
    outcome: gr.State  # Outcome or None


@dataclass(frozen=True)
class Outcome:
    """What was told last, of which config, and the batch to take instead of its own; None: none other."""

    config: RunConfig
    html: str
    batch: Batch | None


def draw() -> Offer:
    """Under the plan."""
    with gr.Column(elem_id="train-rehearsal"):
        with gr.Row(elem_classes="tools"):
            once = gr.Button("Try one step", size="sm", elem_id="rehearsal-once")
            suit = gr.Button("Use the machine", size="sm", elem_id="rehearsal-suit")
            cancel = gr.Button("Cancel", size="sm", visible=False, elem_id="rehearsal-cancel")
        larger = gr.Checkbox(
            False,
            label="“Use the machine” may let an update see more or fewer rows",
            elem_id="rehearsal-larger",
            container=False,
        )
        told = gr.HTML("", apply_default_css=False, elem_id="rehearsal-told")
        with gr.Row(elem_classes="tools"):
            take = gr.Button("Take this batch", size="sm", variant="primary", visible=False, elem_id="rehearsal-take")
            undo = gr.Button("Undo", size="sm", visible=False, elem_id="rehearsal-undo")
    return Offer(once, suit, cancel, larger, told, take, undo, gr.State(None))


def connect(page: Page, offer: Offer, fields: list[Any], read: Callable[[Sequence[Any]], RunConfig]) -> None:
    """Let the buttons act on the form, whose values `read` makes a config of."""
    token = gr.State(None)  # what Cancel ends: this browser's own asking
    shown = [offer.told, offer.outcome, token, offer.once, offer.suit, offer.cancel, offer.take, offer.undo]

    def once(*raw: Any) -> Iterator[Any]:
        config, name = read(raw), uuid4().hex
        yield from _framed(config, name, ((html, None) for html in rehearsed(page, config, name)))

    def suit(larger: bool, *raw: Any) -> Iterator[Any]:
        config, name = read(raw), uuid4().hex
        yield from _framed(config, name, suited(page, config, name, larger=larger))

    def follow(outcome: Outcome | None, *raw: Any) -> Any:
        return following(outcome, readable(read, raw))

    def take(outcome: Outcome, *raw: Any) -> Any:
        return outcome.batch and with_batch(read(raw), outcome.batch).to_dict()

    def undo(outcome: Outcome, *raw: Any) -> Any:
        return with_batch(read(raw), batch_of(outcome.config)).to_dict()

    about = [offer.outcome, *fields]
    for asked in (
        offer.once.click(said(once), fields, shown, **HEARD),
        offer.suit.click(said(suit), [offer.larger, *fields], shown, **HEARD),
    ):
        asked.then(follow, about, [offer.told, offer.take, offer.undo], **QUIET)  # the form may have changed meanwhile
    offer.cancel.click(page.rehearser.cancel, token, None, **QUIET)
    offer.take.click(said(take), about, page.wanted, **HEARD)
    offer.undo.click(said(undo), about, page.wanted, **HEARD)


def following(outcome: Outcome | None, config: RunConfig | None) -> Any:
    """`told`, `take` and `undo` where the form says `config`: an outcome is seen beside what it is about only."""
    if outcome is None:
        return [gr.skip()] * 3
    same = config is not None and config.to_dict() == outcome.config.to_dict()
    taken = with_batch(outcome.config, outcome.batch) if outcome.batch else None
    took = config is not None and taken is not None and config.to_dict() == taken.to_dict()
    return (
        outcome.html if same or took else "",
        gr.Button(visible=same and outcome.batch is not None),
        gr.Button(visible=took and not same),
    )


def readable(read: Callable[[Sequence[Any]], RunConfig], raw: Sequence[Any]) -> RunConfig | None:
    """None where the form says what no run could be."""
    try:
        return read(raw)
    except StudioError:
        return None


def batch_of(config: RunConfig) -> Batch:
    """As the form says it."""
    return config.training.per_device_train_batch_size, config.training.gradient_accumulation_steps


def with_batch(config: RunConfig, batch: Batch) -> RunConfig:
    """`config` with another batch."""
    rows, accumulation = batch
    changed = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
    return config.model_copy(update={"training": config.training.model_copy(update=changed)})


def _framed(config: RunConfig, token: str, told: Iterator[tuple[str, Batch | None]]) -> Iterator[Any]:
    """What is told, and the buttons as they are meanwhile and afterwards; an outcome last."""

    def buttons(*, busy: bool) -> tuple[Any, ...]:
        ask, off = gr.Button(interactive=not busy), gr.Button(visible=False)
        return ask, ask, gr.Button(visible=busy), off, off

    last: tuple[str, Batch | None] = ("", None)
    try:
        for number, last in enumerate(told):
            yield last[0], None, token, *([gr.skip()] * 5 if number else buttons(busy=True))
    except Exception:
        yield "", None, None, *buttons(busy=False)
        raise
    yield last[0], Outcome(config, *last), None, *buttons(busy=False)


def rehearsed(page: Page, config: RunConfig, token: str) -> Iterator[str]:
    """How far it is, then what the run will take, as HTML. Raises StudioError."""
    html, progress = CANCELLED, _Meter()
    with closing(page.rehearser.rehearse(config, token=token)) as replies:  # pyright: ignore[reportArgumentType]
        for reply in replies:
            if isinstance(reply, Rehearsal):
                html = f'<p class="ready">{escaped(reply.sentence())}</p>'
            else:
                yield progress.at(reply)
    yield html


def suited(page: Page, config: RunConfig, token: str, *, larger: bool) -> Iterator[tuple[str, Batch | None]]:
    """How far it is, with the batches tried so far; then the one to take. Raises StudioError."""
    trials: list[Trial] = []
    outcome, progress = None, _Meter()
    with closing(page.rehearser.suit(config, larger=larger, token=token)) as replies:  # pyright: ignore[reportArgumentType]
        for reply in replies:
            if isinstance(reply, Suited):
                outcome = reply
            elif isinstance(reply, Trial):
                trials.append(reply)
            else:
                yield progress.at(reply) + _table(trials, None), None
    if outcome is None:
        yield CANCELLED + _table(trials, None), None
        return
    batch = (outcome.rows, outcome.accumulation)
    same = batch == batch_of(config)
    already = " That is what the form says already." if same else ""
    told = f'<p class="ready">{escaped(outcome.sentence() + already)}</p>'
    yield told + _table(trials, outcome.rows), None if same else batch


class _Meter:
    """A bar for the phase at hand; its own time tells what is left of it."""

    def __init__(self) -> None:
        self._doing, self._began = "", 0.0

    def at(self, progress: Progress) -> str:
        if progress.doing != self._doing:
            self._doing, self._began = progress.doing, time.monotonic()
        share = progress.done / progress.total if progress.total else 0.0
        return meter(share, progress.doing, time.monotonic() - self._began)


def _table(trials: Sequence[Trial], taken: int | None) -> str:
    """The batches that were tried, as bars."""
    if not trials:
        return ""
    fastest, most = max(trial.speed for trial in trials) or 1.0, max(trial.memory for trial in trials) or 1
    rows = "".join(
        f'<tr{" class=taken" if trial.rows == taken else ""}><th scope="row">{trial.rows:,}</th>'
        + (_bar(trial.speed / fastest, f"{trial.speed:,.0f}") if trial.fits else "<td>does not fit</td>")
        + _bar(trial.memory / most, ("" if trial.fits else "> ") + size(trial.memory))
        + "</tr>"
        for trial in sorted(trials, key=lambda trial: trial.rows)
    )
    return (
        '<table class="tried"><thead><tr><th scope="col">Batch size</th><th scope="col">Tokens/s</th>'
        f'<th scope="col">Memory</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _bar(share: float, text: str) -> str:
    return f'<td><span class="bar" style="width:{100 * share:.0f}%"></span><span>{text}</span></td>'
