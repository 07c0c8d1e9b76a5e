"""`python -m studio.stage`: the first steps of a run, taken for what they show; asked by `studio.rehearsal`."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from studio.child import Reply, serve
from studio.data.tokenised import lengths_of
from studio.errors import ran_out_of_memory
from studio.estimate import disk_bytes
from studio.events import Event, Phase
from studio.job import Job
from studio.models.machine import forget_peak_memory, peak_memory
from studio.pace import Step, Trial, duration
from studio.preparation import StopAsked
from studio.processes import bound, go_first
from studio.rehearsal import device_now, too_long
from studio.training.batching import Rows
from studio.training.trainer import EVALUATIONS, planned_steps
from studio.workspace import RunFolder, Workspace

_LOOKED_AT = 2_000_000  # rows whose order in the run is worked out; what comes later is taken to be like them
_LEAST, _MOST = 6, 12  # steps of a kind that are measured beside a first one; a heap grows for some more than three
_SECONDS = 2.0  # after which no more than the least are taken


class _Watch(TrainerCallback):
    """Measures steps as a run's curves do, and ends the training when there are enough."""

    def __init__(self, told: Any, doing: str, *, least: int = _LEAST) -> None:
        self.steps: list[Step] = []
        self._told, self._doing, self._least = told, doing, least
        self._tokens = 0
        self._began = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return  # the summary at the end
        seconds, tokens = time.perf_counter() - self._began, int(state.num_input_tokens_seen)
        if state.global_step > 1:  # the first one warms up
            self.steps.append(Step(tokens - self._tokens, seconds))
        self._tokens = tokens
        self._told.append(Phase(name=self._doing, done=min(len(self.steps), self._least), total=self._least))
        enough = len(self.steps) >= self._least and sum(step.seconds for step in self.steps) >= _SECONDS
        control.should_training_stop |= enough


class _Told:
    """Stands where a run's job writes its events: passes progress on, and ends what nobody waits for."""

    reply: Reply
    stop: Callable[[], bool]

    def append(self, event: Event) -> None:
        if self.stop():
            raise StopAsked
        if isinstance(event, Phase):
            self.reply(doing=event.name, done=event.done, total=event.total)

    def read_from(self) -> tuple[list[Event], int]:
        """Nothing was told before."""
        return [], 0


class _Answers:
    """One run, made ready at the first request and kept until the process ends, with the right to the device."""

    def __init__(self) -> None:
        self._told = _Told()
        self._stage: Stage | None = None

    def __call__(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        self._told.reply, self._told.stop = reply, stop
        if self._stage is None:
            go_first()
            if not torch.cuda.is_available():
                bound(request["limit"])
            folder, workspace = RunFolder(Path(request["folder"])), Workspace(Path(request["workspace"]))
            self._stage = Stage(folder, workspace, request["limit"], self._told)
        rows = request.get("rows")
        if rows is None:
            reply(rehearsal=self._stage.rehearse())
        elif rows:
            reply(trial=asdict(self._stage.trial(rows)))
        else:
            lengths = self._stage.lengths
            reply(tokens=list(accumulate(lengths[place] for place in self._stage.longest)))


class Stage:
    """A run as far as before its first step, by the worker's own code."""

    def __init__(self, folder: RunFolder, workspace: Workspace, limit: int, told: Any) -> None:
        """`told` takes the job's events."""
        self.told, self.limit = told, limit
        self.job = Job(folder, workspace)
        self.job.events = told
        self._device = device_now(workspace)  # until the process ends
        self.model, self.loaded, self.prepared = self.job.prepare()
        self.job.measured = self.job.measured[:2]  # a penalty holds as much after two rows as after all
        self.rows, self.training = self.prepared.train, self.job.config.training
        self.lengths = list(lengths_of(self.rows))
        self.longest = sorted(range(len(self.rows)), key=lambda place: -self.lengths[place])
        # More batches an update take no more memory than two: from the second on gradients are held.
        self.batches = min(2, self.training.gradient_accumulation_steps)

    def trial(self, rows: int) -> Trial:
        """A few steps on the `rows` longest rows."""
        places = self.longest[:rows]
        tokens = sum(self.lengths[place] for place in places)
        watch = _Watch(self.told, f"Trying batches of {rows:,}", least=2)
        forget_peak_memory()
        try:
            self._trainer([self.rows[place] for place in places] * self.batches, rows, watch).train()
            seconds = min(step.seconds for step in watch.steps) / self.batches
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            seconds = 0.0
        memory = _peak()
        _let_go()
        if not seconds or memory > self.limit:  # where the system knows no bound, nothing failed at it
            return Trial(rows, tokens, max(memory, self.limit))
        return Trial(rows, tokens, memory, seconds)

    def rehearse(self) -> dict[str, Any]:
        """What `Rehearsal` holds, but for the free memory."""
        size, steps = self.training.per_device_train_batch_size, planned_steps(self.training, len(self.rows))
        usual = _Watch(self.told, "Taking some steps of the run")
        trainer = self._trainer(self.rows, size, usual)
        each_epoch = ceil(len(self.rows) / size)
        batches = ceil(steps * each_epoch / ceil(each_epoch / self.training.gradient_accumulation_steps))
        sampler, padded = trainer._get_train_sampler(), bool(trainer.route.reason)
        places, tokens = drawn(sampler, self.lengths, size, batches, padded=padded)
        heavy = _Watch(self.told, "Taking steps over the largest batch", least=2)
        try:
            self._trainer([self.rows[place] for place in places] * self.batches, size, heavy).train()
            _let_go()
            scoring = self._scoring(trainer, steps)  # amid training, as in a run: memory is dealt out anew
            trainer.train()
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            lengths = [self.lengths[place] for place in places]
            raise too_long(len(places), sum(lengths), max(lengths), self.limit, self._remedy()) from error
        if self.job.config.objective.rewarded:  # the answers are not among the rows
            tokens = sum(step.tokens for step in usual.steps) / len(usual.steps) * batches / self.batches
        training = duration([*heavy.steps, *usual.steps], batches / self.batches, tokens)
        return {
            "device": self.loaded.placement.device,
            "peak": _peak(),
            "step": training.likely / steps,
            "tokens_per_second": tokens / training.likely,
            "steps": steps,
            "seconds": asdict(training.plus(scoring)),
            "disk": disk_bytes(self._learnt(), self.training),
        }

    def _trainer(self, rows: Sequence[Any], size: int, watch: _Watch) -> Any:
        """A run's own trainer, of a few steps."""
        few = {
            "max_steps": 1 + _MOST,
            "per_device_train_batch_size": size,
            "gradient_accumulation_steps": self.batches,
        }
        prepared = replace(self.prepared, train=rows, validation=[], old=[])
        return self.job.trainer(self.model, self.loaded, prepared, watch, self.training.model_copy(update=few))

    def _scoring(self, trainer: Any, steps: int) -> float:
        """Seconds that all evaluations of the run will take, answers to watch among them.

        Found from one over a batch of its held-out rows.
        """
        held_out = [*self.prepared.validation[: self.training.eval_rows], *self.prepared.old]
        if not held_out:
            return 0.0
        size = self.training.per_device_train_batch_size
        held_out.sort(key=lambda row: -len(row.input_ids))
        some = held_out[:: ceil(len(held_out) / size)]  # the longest among them
        began = time.perf_counter()
        trainer._scores(Rows(some))
        seconds = (time.perf_counter() - began) * sum(lengths_of(held_out)) / sum(lengths_of(some))
        if sample := self.job.sampler(self.loaded.tokenizer):
            began = time.perf_counter()
            with trainer.route.resting():
                sample(self.model, step=0)
            seconds += time.perf_counter() - began
        return seconds * (1 + steps // (self.training.eval_steps or ceil(steps / EVALUATIONS)))  # one of the base

    def _learnt(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)

    def _remedy(self) -> str:
        lengths = sorted(self.lengths)
        cut_off = lengths[len(lengths) * 9 // 10]
        cut = sum(length > cut_off for length in lengths)
        smaller = "Lower 'Batch size' and raise 'Gradient accumulation' to make up for it. "
        shorter = f"A 'Cut-off length' of {cut_off:,} would cut {cut:,} of {len(lengths):,} rows."
        return (smaller if self.training.per_device_train_batch_size > 1 else "") + (shorter if cut else "")


def drawn(sampler: Any, lengths: Sequence[int], size: int, batches: int, *, padded: bool) -> tuple[list[int], float]:
    """Places of the rows in the heaviest of the batches that a run will draw, and the tokens of all of them."""
    import numpy

    known = numpy.asarray(lengths)
    heaviest: list[int] = []
    weight = tokens = seen = epoch = 0
    while seen < batches and (not seen or seen * size < _LOOKED_AT):
        sampler.set_epoch(epoch)
        order = numpy.fromiter(sampler, numpy.int64)
        begins = numpy.arange(0, len(order), size)[: batches - seen]
        held = known[order[: (len(begins)) * size]]
        sums = numpy.add.reduceat(held, begins)
        weights = size * numpy.maximum.reduceat(held, begins) if padded else sums
        if weights.max() > weight:
            weight, at = weights.max(), begins[weights.argmax()]
            heaviest = order[at : at + size].tolist()
        tokens, seen, epoch = tokens + int(sums.sum()), seen + len(begins), epoch + 1
    return heaviest, tokens * batches / seen


def _peak() -> int:
    """Bytes held at most: on a GPU with what torch keeps for later, which no other program can take."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return int(1e9 * peak_memory()) or psutil.Process().memory_info().rss  # macOS tells no more


def _let_go() -> None:
    """Give back what a trainer held, its optimizer above all."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if hasattr(os, "nice"):
        os.nice(10)
    serve(_Answers())


if __name__ == "__main__":
    main()
