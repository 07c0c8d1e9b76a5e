"""What happens in a trainer, told as events."""

from __future__ import annotations

import math
import time
from statistics import median
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from studio.errors import Diverged
from studio.events import EvalDone, Phase, StepDone
from studio.workspace import RunFolder

_WINDOW = 8  # steps whose median loss counts as the first, or the last, one
_GROWN, _GROWN_BY = 2.0, 4.0  # times the first loss, and nats, by which a loss must have grown to be beyond all hope
PHASE_SECONDS = 0.5  # between two reports of progress within a phase
_KNOWN = (  # what the loop itself logs
    "loss",
    "grad_norm",
    "learning_rate",
    "epoch",
    "num_input_tokens_seen",
    "train_runtime",
    "train_tokens_per_second",
)


class Interrupted(Exception):
    """Somebody wants the run to end or rest, amid a step that takes long and has changed nothing yet."""


class EventCallback(TrainerCallback):
    """Turns a trainer's callbacks into events, and a flag in the run's folder into an end between two steps.

    Of a run that goes on from a checkpoint, what its log already holds is not told again.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.log = folder.events
        self.stop_flag, self.pause_flag = folder.stop_flag, folder.pause_flag
        before, _ = self.log.read_from()
        self.told = max((event.step for event in before if isinstance(event, StepDone)), default=0)
        self._losses = [event.metrics.get("loss", math.nan) for event in before if isinstance(event, StepDone)]
        self._scored = {event.step for event in before if isinstance(event, EvalDone)}
        self.step = 0
        self.seconds = 0.0  # of training so far
        self._process = psutil.Process()
        self._step_started = 0.0
        self._last_tokens: int | None = None
        self._last_progress = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.log.append(Phase(name="Training", done=state.global_step, total=state.max_steps, unit="steps"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_started = time.perf_counter()
        if self._last_tokens is None:  # how many batches were looked at before depends on where it went on
            self._last_tokens = int(state.num_input_tokens_seen)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_if_asked(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        self._end_if_asked(control)

    def asked(self) -> bool:
        """Whether somebody wants the run to end or to rest."""
        return self.stop_flag.exists() or self.pause_flag.exists()

    def _end_if_asked(self, control: Any) -> None:
        if self.stop_flag.exists():
            control.should_training_stop = True
            control.should_evaluate = False
        elif self.pause_flag.exists():  # an evaluation that is due now would be missing for ever
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return  # the summary at the end, which the events before it already tell
        seconds = max(time.perf_counter() - self._step_started, 1e-9)
        self.seconds += seconds
        tokens = int(state.num_input_tokens_seen)
        metrics = {
            "loss": float(logs["loss"]),
            "grad_norm": float(logs.get("grad_norm", 0.0)),
            "learning_rate": float(logs["learning_rate"]),
            "tokens_per_second": (tokens - (self._last_tokens or 0)) / seconds,
            "memory": self._memory(),
            **{name: float(value) for name, value in logs.items() if name not in _KNOWN},
        }
        self._last_tokens = tokens
        self._must_be_a_number("loss", metrics["loss"], state.global_step)
        # Clipping divides by this norm, so that an endless one leaves no weight a number.
        self._must_be_a_number("gradient", metrics["grad_norm"], state.global_step)
        if "reward" not in metrics:  # the loss of a critic grows with the rewards that it has to foresee
            self._must_not_explode(metrics["loss"], state.global_step)
        if state.global_step <= self.told:
            self._progress("Catching up", state.global_step, self.told, "steps")
            return
        self.log.append(
            StepDone(
                step=state.global_step,
                total_steps=state.max_steps,
                seconds=self.seconds,
                tokens=tokens,
                metrics=metrics,
            )
        )

    @staticmethod
    def _must_be_a_number(what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise Diverged(
                f"The {what} is no longer a number at step {step}.",
                remedy="Lower the learning rate (a third is a good start) or choose float32 as 'Number format'.",
            )

    def _must_not_explode(self, loss: float, step: int) -> None:
        if step > len(self._losses):  # not computed again
            self._losses.append(loss)
        if len(self._losses) < 2 * _WINDOW:
            return
        first, last = median(self._losses[:_WINDOW]), median(self._losses[-_WINDOW:])
        if last > first + max(_GROWN * abs(first), _GROWN_BY):
            raise Diverged(
                f"The loss has grown out of all bounds: it was {first:.2f} in the first steps and is {last:.2f} "
                f"at step {step}.",
                remedy="Lower the learning rate; a third is a good start.",
            )

    def _memory(self) -> float:
        """GB held by the run: on the GPU where there is one, else of the worker process."""
        held = torch.cuda.memory_allocated() if torch.cuda.is_available() else self._process.memory_info().rss
        return held / 1e9

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress("Scoring held-out rows", kwargs["done"], kwargs["total"], "batches")

    def _progress(self, name: str, done: int, total: int, unit: str) -> None:
        if time.perf_counter() - self._last_progress >= PHASE_SECONDS:
            self._last_progress = time.perf_counter()
            self.log.append(Phase(name=name, done=done, total=total, unit=unit))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        def scored(step: int, kind: str) -> None:
            found = {
                f"eval_{name.removeprefix(kind + '_')}": value
                for name, value in metrics.items()
                if name.startswith(f"{kind}_")
            }
            for name in found:
                if name.endswith("_loss"):
                    self._must_be_a_number("held-out loss", found[name], step)
            if step not in self._scored:
                self.log.append(EvalDone(step=step, metrics=found))

        if any(name.startswith("base_") for name in metrics):
            scored(0, "base")
        scored(state.global_step, "eval")
        self.log.append(Phase(name="Training", done=state.global_step, total=state.max_steps, unit="steps"))
