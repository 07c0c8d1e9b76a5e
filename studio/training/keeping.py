"""When a checkpoint is written, which ones are kept, and which evaluation was the best."""

from __future__ import annotations

import copy
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from studio import checkpoints
from studio.checkpoints import Checkpoint
from studio.errors import RunError, fills_disk
from studio.training import state as kept
from studio.training.settings import TrainingSettings

_LEAST_SECONDS, _SHARE = 60.0, 50  # between two checkpoints, also as a multiple of what one takes to write
_SPARE = 1e6  # bytes that a disk must have left beside two checkpoints, or the run rests: events need room, too


class Keeper(TrainerCallback):
    """Writes a trainer's checkpoints into `folder`, and finds its way back from one."""

    def __init__(self, folder: Path, training: TrainingSettings, fingerprint: str) -> None:
        """`fingerprint` is that of the training rows: their place in the data means something with these alone."""
        self.folder = folder
        self.training = training
        self.fingerprint = fingerprint
        self.trainer: Any = None  # set by the trainer itself
        self.best: tuple[float, int] = (math.inf, 0)  # loss on held-out rows, and the step after which it was scored
        self._full = ""  # why the disk ended training
        self.early = ""  # a sentence, where training ended because nothing got better
        self._scored = 0  # the step of the last evaluation
        self._worse = 0  # evaluations since the best
        self._resting: dict[str, Any] = {}  # what changes between two updates, as it was after the last one
        self._updating = False
        self._kept = -1  # step of the last checkpoint
        self._size = 0  # bytes of the last checkpoint
        self._wrote, self._took = time.monotonic(), 0.0  # when the last was written, and in how many seconds

    # -- what the trainer tells --------------------------------------------------------------------------

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin_update()

    def begin_update(self) -> None:
        """From here to the end of the step, weights and optimizer may be of two minds."""
        self._updating = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._updating = False
        self._rest(state)
        if self._room() < self._size + _SPARE:
            free, size = shutil.disk_usage(self.folder.parent).free / 1e6, self._size / 1e6
            self._full = f"the disk has {free:,.1f} MB left, and a checkpoint takes {size:,.1f} MB"
            control.should_training_stop = True
        elif state.global_step >= state.max_steps or self._due(state.global_step):
            control.should_save = True

    def _rest(self, state: Any) -> None:
        memory = copy.deepcopy(self.trainer.memory())
        self._resting = {"dice": kept.dice(), "tokens": state.num_input_tokens_seen, "trainer": memory}

    def _due(self, step: int) -> bool:
        if self.training.save_steps:
            return step % self.training.save_steps == 0
        return time.monotonic() - self._wrote >= max(_LEAST_SECONDS, _SHARE * self._took)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        self._rest(state)
        self._scored = state.global_step
        loss, patience = metrics.get("eval_loss"), self.training.early_stopping_patience
        if loss is None:
            return
        if loss < self.best[0]:
            self.best, self._worse = (loss, state.global_step), 0
            control.should_save = True
            return
        self._worse += 1
        if patience and self._worse >= patience and state.global_step < state.max_steps:
            what = "the reward on held-out prompts has not risen" if "eval_reward" in metrics else None
            self.early = (
                f"Stopped after step {state.global_step:,}: {what or 'the loss on held-out rows has not fallen'} since "
                f"step {self.best[1]:,}, {self._worse} evaluations ago."
            )
            control.should_training_stop = control.should_save = True

    # -- writing -----------------------------------------------------------------------------------------

    def write(self) -> None:
        """The checkpoint of the last whole update, unless it is there or the disk has no room for it: see `full`.

        Nothing is written amid an update, when weights and optimizer may be of two minds.
        """
        step = self.trainer.state.global_step
        if step in (0, self._kept) or self._updating or self._room() < 0:
            return
        began = time.monotonic()
        try:
            written = checkpoints.write(self.folder, step, self._fill)
        except OSError as error:
            if not fills_disk(error):
                raise
            self._full, self.trainer.control.should_training_stop = "the disk is full", True
            return
        self._kept, self._size = step, written.size()
        self._wrote, self._took = time.monotonic(), time.monotonic() - began
        checkpoints.keep(self.folder, self.training.save_total_limit, {self.best[1]})

    def _room(self) -> float:
        """Bytes that are free beside the next checkpoint."""
        self._size = self._size or 3 * sum(
            weight.numel() * weight.element_size() for weight in kept.learning(self.trainer.model).values()
        )
        return shutil.disk_usage(self.folder.parent).free - self._size

    @property
    def full(self) -> str:
        """Why training ended, in two sentences, where the disk could take no more than the last checkpoint."""
        if not self._full:
            return ""
        last = f"step {self._kept:,}" if self._kept > 0 else "the beginning"
        return f"Paused because {self._full}. Free some space and let it go on; it will from {last}."

    def _fill(self, folder: Path) -> None:
        trainer = self.trainer
        rest = {
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.lr_scheduler.state_dict(),
            "scaler": trainer.accelerator.scaler and trainer.accelerator.scaler.state_dict(),
            "method": trainer.method.state(trainer.model),
            "base": trainer.base,
            "fingerprint": self.fingerprint,
            "seconds": trainer.listener.seconds,
            "best": self.best,
            "worse": self._worse,
            "scored": self._scored,
            "early": self.early,
            **self._resting,
        }
        kept.write(folder, trainer.model, replace(trainer.state, num_input_tokens_seen=self._resting["tokens"]), rest)

    # -- and back ----------------------------------------------------------------------------------------

    def take_up(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Be as after `checkpoint`; what it holds beside weights. Raises RunError where other rows were learnt."""
        rest = kept.read(checkpoint.path)
        if rest["fingerprint"] != self.fingerprint:
            raise RunError(
                "The rows of the data set are others than when this run began.",
                remedy="Bring the old ones back, or start a new run with the form restored from this one.",
            )
        self.best, self._worse, self._scored, self.early = rest["best"], rest["worse"], rest["scored"], rest["early"]
        self._kept, self._size = checkpoint.step, checkpoint.size()
        self._resting = {name: rest.get(name, {}) for name in ("dice", "tokens", "trainer")}
        return rest

    def best_checkpoint(self) -> Checkpoint | None:
        """That of the lowest loss on held-out rows, where it is there and whole."""
        return next(
            (each for each in checkpoints.found(self.folder) if each.step == self.best[1] and not each.damage()), None
        )
