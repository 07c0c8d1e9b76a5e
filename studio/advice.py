"""What a run's curves say of it, in plain words: what they show, why that matters, and what to change.

Thresholds are such that a healthy curve brings forth no word: advice that is often wrong is read by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.store import Point, State
from studio.training.schedules import part

LEAST_STEPS = 20  # fewer tell noise from a tendency in no way
WINDOW = 20  # train losses are averaged over this part of a run, or LEAST_WINDOW steps: single batches jump about
LEAST_WINDOW = 5  # steps
PATIENCE = 2  # evaluations that must be worse than the best: the one after it may be chance
WORSE = 0.02  # so much worse, as a share: evaluations of the same few rows waver by less
WORSE_BY = 0.01  # and in nats, since of a loss near zero any share is small
LEFT = ("no longer a number", "out of all bounds")  # how the trainer says that a run has left the numbers
RISE, RISE_BY = 0.2, 0.3  # of a train loss above its best that is no wavering, as a share and in nats
RISE_NOISE = 6  # and in standard errors of an average: the best is the luckiest of many
FALL, FALL_TRAIN = 0.01, 0.02  # of the held-out and the train loss over a run that is hardly any, as shares
FALL_NOISE = 2  # or, of the train loss, in standard errors
LEARNT = 0.1  # nats; below, there is little left to learn
STEADY = 2  # the gradient's norm changes by no larger factor where the model stays as it was
LONG_WARMUP = 1 / 3  # of a run; the usual is 3 to 10 %
NEAR_ZERO = 0.05  # nats a token: even fluent models are less sure of text that they have not seen
FEW_ROWS = 100  # in which nobody learns a task so well; easy ones took more than twice as many
BELOW, BELOW_BY = 0.5, 0.5  # of held-out rows beside train rows, as a share and in nats: rows of one kind differ less
FEW_HELD_OUT = 10  # rows whose loss may be anything by chance
CUT = 0.1  # of the rows: a few long ones may lose their end, many mean that answers are learnt without it
CLIPPED = 0.9  # of the steps: clipping is for the odd one
GAP, GAP_BY = 0.3, 0.5  # of held-out rows above train rows at the end, as a share and in nats
ENOUGH = 0.5  # of a run's steps, before which its end is not judged
DROPOUT = 0.1  # usual where little data is learnt by heart


@dataclass(frozen=True)
class Advice:
    """One thing that the curves show."""

    key: str  # which rule says it
    text: str  # what is seen
    because: str  # what it means, and what helps
    steps: list[int] = field(default_factory=list)  # at which the loss shows it
    change: dict[str, Any] | None = None  # group → field → value, as in a RunConfig


@dataclass(frozen=True)
class _Seen:
    """A run as the rules look at it. Losses are in nats where its model writes."""

    state: State
    config: RunConfig  # with its learning rate
    points: Sequence[Point]

    @cached_property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """(Steps, losses) of its updates."""
        return self._curve("loss")

    @cached_property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """(Steps, losses) of its evaluations; step 0 is the base model."""
        return self._curve("eval_loss")

    @cached_property
    def norms(self) -> np.ndarray:
        """Of the gradients, before they were clipped."""
        return self._curve("grad_norm")[1]

    def _curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        found = sorted((point.step, point.metrics[name]) for point in self.points if name in point.metrics)
        return np.array([step for step, _ in found], dtype=int), np.array([value for _, value in found])

    @property
    def few(self) -> bool:
        return len(self.train[0]) < LEAST_STEPS

    @property
    def early(self) -> bool:
        """Whether it is too early to judge its end."""
        return self.few or self.state.step < ENOUGH * self.state.total_steps

    @cached_property
    def window(self) -> int:
        """Steps."""
        return max(LEAST_WINDOW, len(self.train[0]) // WINDOW)

    @cached_property
    def smooth(self) -> np.ndarray:
        """Train losses, each the average of the `window` steps that end with it; the first such window comes first."""
        return np.convolve(self.train[1], np.ones(self.window) / self.window, "valid")

    @cached_property
    def noise(self) -> float:
        """How far a single train loss lies from the curve: the median jump between neighbours, as of a normal one."""
        jumps = np.abs(np.diff(self.train[1]))
        return float(np.median(jumps)) / (0.6745 * 2**0.5)

    def train_at(self, step: int) -> float:
        """The smoothed train loss there, or where the first whole window ends."""
        place = int(np.searchsorted(self.train[0], step, "right")) - self.window
        return float(self.smooth[max(0, place)])

    @property
    def rows_a_step(self) -> int:
        training = self.config.training
        return training.per_device_train_batch_size * training.gradient_accumulation_steps

    @property
    def comparable(self) -> bool:
        """Whether train and held-out loss measure the same thing."""
        training = self.config.training
        return not (training.label_smoothing_factor or training.neftune_noise_alpha or self.config.old.replay_share)

    def slower(self) -> dict[str, Any]:
        return _training(learning_rate=_rounded(self._rate() / 3))

    def faster(self) -> dict[str, Any]:
        return _training(learning_rate=_rounded(min(1.0, self._rate() * 3)))

    def _rate(self) -> float:
        return self.config.training.learning_rate or 0.0  # a settled config has one

    def shorter(self, share: float) -> dict[str, Any]:
        """This share of its steps."""
        training = self.config.training
        if training.max_steps:
            return _training(max_steps=max(1, round(training.max_steps * share)))
        return _training(num_train_epochs=_rounded(training.num_train_epochs * share))


def advise(state: State, points: Sequence[Point]) -> list[Advice]:
    """What is to be said of a run so far; nothing of one whose config this studio cannot read."""
    try:
        config = RunConfig.parse(state.config).settled()
    except ConfigError:
        return []
    if config.objective.rewarded:  # a policy's loss swings around 0, whatever it learns
        return []
    seen = _Seen(state, config, points)
    return [advice for rule in RULES if (advice := rule(seen))]


def changed(config: dict[str, Any], advice: Advice) -> dict[str, Any]:
    """The config of a run that follows `advice`."""
    groups = advice.change or {}
    return config | {group: config.get(group, {}) | fields for group, fields in groups.items()}


def _training(**fields: Any) -> dict[str, Any]:
    return {"training": fields}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


# -- rules -------------------------------------------------------------------------------------------------


def diverging(seen: _Seen) -> Advice | None:
    """The train loss climbs, or has left the numbers."""
    because = (
        "Updates are too large: each undoes what those before it learnt. A third of the learning rate usually helps."
    )
    state = seen.state
    if state.status == "failed" and any(said in state.problem for said in LEFT):
        return Advice("diverging", state.problem, because, [state.step], seen.slower())
    if seen.few:
        return None
    steps, _ = seen.train
    best, last = int(seen.smooth.argmin()), float(seen.smooth[-1])
    lowest = float(seen.smooth[best])
    if last - lowest <= max(RISE * lowest, RISE_BY, RISE_NOISE * seen.noise / seen.window**0.5):
        return None
    since = int(steps[best + seen.window - 1])
    text = f"The training loss climbs: it was {lowest:.3f} at step {since:,} and is {last:.3f} now."
    return Advice("diverging", text, because, [since, int(steps[-1])], seen.slower())


def overfitting(seen: _Seen) -> Advice | None:
    """Held-out rows got worse while train rows got better."""
    if (best := _turned(seen)) is None:
        return None
    steps, losses = seen.held_out
    since, lowest, last = int(steps[best]), float(losses[best]), float(losses[-1])
    change = _best_kept(seen) if since else seen.slower()
    if not change:
        return None  # the run sees to it by itself
    text = (
        f"Overfitting since step {since:,}: the loss on held-out rows was lowest there, {lowest:.3f}, and is "
        f"{last:.3f} now, while that on training rows went on falling."
    )
    because = (
        "It learns its rows by heart rather than what they have in common. Stop early and keep the best weights, or "
        "take fewer epochs or more data."
    )
    return Advice("overfitting", text, because, [since, int(steps[-1])], change)


def _turned(seen: _Seen) -> int | None:
    """Number of the best evaluation where the last ones are all worse and the train loss has fallen since."""
    steps, losses = seen.held_out
    best = int(losses.argmin()) if len(losses) else 0
    if len(losses) <= best + PATIENCE or len(seen.train[0]) < LEAST_WINDOW:
        return None
    worse = (losses[-PATIENCE:] > losses[best] * (1 + WORSE) + WORSE_BY).all()
    return best if worse and seen.train_at(int(steps[-1])) < seen.train_at(int(steps[best])) else None


def _best_kept(seen: _Seen) -> dict[str, Any]:
    training, wanted = seen.config.training, {"load_best_model_at_end": True, "early_stopping_patience": PATIENCE}
    missing = {name: value for name, value in wanted.items() if not getattr(training, name)}
    return _training(**missing) if missing else {}


def gap(seen: _Seen) -> Advice | None:
    """Held-out rows end far above train rows, though they need not have got worse."""
    steps, losses = seen.held_out
    if seen.early or not seen.comparable or not len(steps) or not steps[-1] or _turned(seen) is not None:
        return None
    train, last = seen.train_at(int(steps[-1])), float(losses[-1])
    if last - train <= max(GAP_BY, GAP * train):
        return None
    text = f"The loss on held-out rows, {last:.3f}, lies far above that on training rows, {train:.3f}."
    because = (
        "Much of what it learnt holds for its own rows only. More data helps most; fewer epochs or some dropout keep "
        "it from learning them by heart."
    )
    return Advice("gap", text, because, [int(steps[-1])], _held_back(seen))


def _held_back(seen: _Seen) -> dict[str, Any] | None:
    """Half the steps where rows come more than once, else dropout where the method has it."""
    data = seen.state.data
    if data and seen.state.total_steps * seen.rows_a_step > data.train_rows:
        return seen.shorter(0.5)
    dropout = getattr(seen.config.method, "lora_dropout", DROPOUT)
    return {"method": {"lora_dropout": DROPOUT}} if dropout < DROPOUT else None


def long_warmup(seen: _Seen) -> Advice | None:
    """Much of the run goes by before the learning rate is what was asked for."""
    total = seen.state.total_steps
    rising = min(total, part(seen.config.training.warmup_steps, total))
    if total < LEAST_STEPS or rising <= LONG_WARMUP * total:
        return None
    text = f"The warm-up takes {rising:,} of {total:,} steps."
    because = "Until it ends the learning rate is smaller than what was asked for. A twentieth of the run is enough."
    return Advice("warm-up", text, because, [rising], _training(warmup_steps=0.05))


def hardly_learning(seen: _Seen) -> Advice | None:
    """Neither loss has moved, nor has the gradient."""
    if seen.early or long_warmup(seen) or not _steady(seen.norms):
        return None
    losses = seen.train[1]
    first, last = losses[: max(LEAST_WINDOW, len(losses) // WINDOW)], losses[-len(losses) // 4 :]
    begin, end = float(first.mean()), float(last.mean())
    error = seen.noise * (1 / len(first) + 1 / len(last)) ** 0.5
    if end < LEARNT or abs(begin - end) > max(FALL_TRAIN * begin, FALL_NOISE * error):
        return None
    evaluated = seen.held_out[1]
    if len(evaluated) and abs(evaluated[0] - evaluated[-1]) > FALL * evaluated[0]:
        return None
    text = f"It hardly learns: the training loss began at {begin:.3f} and is {end:.3f} after {seen.state.step:,} steps."
    because = (
        "The updates seem too small for the model to move. Three times the learning rate is worth a try, unless the "
        "model could do this before."
    )
    return Advice("slow", text, because, [int(seen.train[0][-1])], seen.faster())


def _steady(norms: np.ndarray) -> bool:
    quarter = len(norms) // 4
    if not quarter:
        return False
    first, last = float(np.median(norms[:quarter])), float(np.median(norms[-quarter:]))
    return first / STEADY <= last <= first * STEADY and first > 0


def leak(seen: _Seen) -> Advice | None:
    """A loss that text which was not seen before cannot have."""
    if not seen.config.objective.writes:
        return None  # labels may well be as easy
    if found := _too_early(seen) or _too_low(seen):
        text, step = found
        because = (
            "Such a loss is had where rows come twice, where held-out rows also stand among those trained on, or "
            "where the answer can be read from its prompt; or where the task is very easy. Look for duplicates and "
            "leakage under Quality in the Dataset tab."
        )
        return Advice("leak", text, because, [step])
    return None


def _too_early(seen: _Seen) -> tuple[str, int] | None:
    """Near zero after few rows; and at which step."""
    rows = min(FEW_ROWS, seen.state.data.train_rows if seen.state.data else FEW_ROWS)
    steps, losses = seen.held_out
    known = steps[(losses < NEAR_ZERO) & (steps * seen.rows_a_step <= rows)]
    if len(known):
        return f"The loss on held-out rows is near zero after {known[0] * seen.rows_a_step:,} rows.", int(known[0])
    steps, losses = seen.train
    within = steps * seen.rows_a_step <= rows
    if within.sum() >= LEAST_WINDOW and losses[within][-LEAST_WINDOW:].mean() < NEAR_ZERO:
        step = int(steps[within][-1])
        return f"The training loss is near zero after {step * seen.rows_a_step:,} rows.", step
    return None


def _too_low(seen: _Seen) -> tuple[str, int] | None:
    """Held-out rows far below train rows, in the last evaluations; and at which step."""
    steps, losses = seen.held_out
    data = seen.state.data
    known = data is not None and data.validation_rows >= FEW_HELD_OUT
    if not known or seen.few or not seen.comparable or np.count_nonzero(steps) < PATIENCE:
        return None
    train = np.array([seen.train_at(int(step)) for step in steps[-PATIENCE:]])
    last = losses[-PATIENCE:]
    if ((last < BELOW * train) & (train - last > BELOW_BY)).all():
        text = f"The loss on held-out rows, {last[-1]:.3f}, lies far below that on training rows, {train[-1]:.3f}."
        return text, int(steps[-1])
    return None


def cut_off(seen: _Seen) -> Advice | None:
    """Many rows lose their end."""
    data, longest = seen.state.data, seen.config.objective.max_length
    if not data or data.truncated_rows <= CUT * data.train_rows:
        return None
    text = f"{data.truncated_rows:,} of {data.train_rows:,} rows are longer than the cut-off of {longest:,} tokens."
    because = "Their end is never learnt, and answers that end amid a sentence are. Twice the length takes more memory."
    return Advice("cut off", text, because, change={"objective": {"max_length": 2 * longest}})


def clipped(seen: _Seen) -> Advice | None:
    """The gradient is shortened nearly always."""
    limit, norms = seen.config.training.max_grad_norm, seen.norms
    if not limit or len(norms) < LEAST_STEPS or (share := float((norms > limit).mean())) <= CLIPPED:
        return None
    text = (
        f"The gradient was clipped at {100 * share:.0f} % of the steps: its norm is about {np.median(norms):.2g}, and "
        f"{limit:g} is let through."
    )
    because = (
        "Clipping is meant for the odd step; at every step it makes all updates alike, however sure the gradient is. "
        "Let the usual norm through, or lower the learning rate where the loss is restless."
    )
    wanted = _rounded(min(1000.0, 1.5 * float(np.quantile(norms, CLIPPED))))
    return Advice("clipped", text, because, change=_training(max_grad_norm=wanted))


RULES = (diverging, overfitting, gap, long_warmup, hardly_learning, leak, cut_off, clipped)
