"""One run, from its config to its adapter: the only place that composes data, model, method and objective."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import psutil

from studio.catalog import key_of
from studio.checkpoints import Checkpoint, found, newest
from studio.config import RunConfig
from studio.data.kept import Kept
from studio.distributed import rank, ranks
from studio.errors import Diverged, explain, ran_out_of_memory
from studio.events import (
    Continued,
    DataReady,
    ModelReady,
    Note,
    Phase,
    Ready,
    Saved,
    Shrunk,
    StepDone,
    VocabularyExtended,
)
from studio.old_data import guard
from studio.training.settings import TrainingSettings, in_smaller_batches
from studio.workspace import RunFolder, Workspace

HELD_OUT_KEPT = 200  # rows kept for the chat
_SIZES = ("per_device_train_batch_size", "gradient_accumulation_steps")


class StopAsked(Exception):
    """A person asked the run to end."""


class Rest(Exception):
    """The run rests until somebody lets it go on; the text says why, where nobody asked for it."""


class AnewInSmaller(Exception):
    """Memory ran out: a fresh process goes on from the last checkpoint, as the last `Shrunk` says."""


class Job:
    """One run, from its config to its adapter. The only place that composes data, model and objective."""

    def __init__(self, folder: RunFolder, workspace: Workspace) -> None:
        self.folder = folder
        self.workspace = workspace
        self.events = folder.events
        self.config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8"))).settled()
        before, _ = self.events.read_from()
        self.step = max((event.step for event in before if isinstance(event, StepDone)), default=0)
        shrunk = [event for event in before if isinstance(event, Shrunk)]
        self.shrunk = shrunk[-1] if shrunk else None
        self.training = as_shrunk(self.config.training, self.shrunk)
        self._last_progress = 0.0
        self._terms: list[str] = []  # that became tokens of their own
        self.measured: Sequence[Any] = []  # rows of old data that the penalty may measure
        self._kept = Kept(workspace.tokens)
        self._fingerprint = ""  # of the training rows
        self._last_lap = 0.0
        self._seconds: dict[str, float] = {}  # what took how long before the first step

    def run(self) -> None:
        """Everything, phase by phase. Raises StopAsked between phases, StudioError for what people can mend."""
        model, loaded, prepared = self.prepare()
        self._train(model, loaded, prepared)
        if rank():
            return
        self._save(model)
        if self.folder.stop_flag.exists():
            raise StopAsked
        self._compare(model, loaded.tokenizer, prepared)

    def prepare(self) -> tuple[Any, Any, Any]:
        """The model with its method, how it was loaded, and the rows as tokens: all that training needs."""
        self._last_lap = time.perf_counter()
        train, held_out, mapping = self._read_data()
        self.config.objective.check_rows(train, mapping)
        self._lap("data")
        loaded = self._load_model()
        self._lap("model")
        self._extend_vocabulary(loaded, train, mapping)
        prepared = self._tokenise(train, held_out, mapping, loaded.tokenizer)
        del train, held_out  # training needs their tokens only
        self._lap("data")
        model = self._attach(loaded, prepared)
        self._lap("method")
        return model, loaded, prepared

    # -- phases ----------------------------------------------------------------------------------

    def _read_data(self) -> tuple[Any, Any, Any]:
        from studio.data.library import divided, open_source

        self._phase("Preparing data")
        chosen = self.config.dataset
        opened = open_source(chosen.source, self.workspace, chosen.mapping(), chosen.version)
        shares = (chosen.validation_share, chosen.test_share)
        sides = divided(opened, shares, self.config.seed, chosen.split, chosen.split_column)
        self._keep_held_out(sides.validation, opened.mapping)
        for row in sides.train.set_aside[:5]:
            self.events.append(Note(text=f"Line {row.line} of {opened.title} was left out: {row.reason}"))
        if sides.test is not None:
            self.events.append(Note(text=f"{len(sides.test.rows):,} rows are set apart for a last score."))
        return sides.train, sides.validation, opened.mapping

    def _keep_held_out(self, held_out: Any, mapping: Any) -> None:
        from studio.data.templates import to_messages

        if rank():
            return
        with self.folder.held_out.open("w", encoding="utf-8") as file:
            for row in (held_out.rows if held_out else [])[:HELD_OUT_KEPT]:
                if messages := to_messages(row, mapping):
                    file.write(json.dumps(messages, ensure_ascii=False) + "\n")

    def _load_model(self) -> Any:
        from studio.models.base import load, placement
        from studio.models.catalog import locate

        located = locate(self.config.model, self.workspace.models, self._fetched)
        self._phase(f"Loading {located.title}")
        place = placement(self.config.number_format)
        for text in self.config.method.notes(place.device):
            self.events.append(Note(text=text))
        return load(located, place, self.config.method.quantization(place.dtype), writes=self.config.objective.writes)

    def _fetched(self, name: str, done: float, total: float) -> None:
        self.progress(name, done / 1e6, total / 1e6, "MB")

    def _extend_vocabulary(self, loaded: Any, train: Any, mapping: Any) -> None:
        """Make frequent terms of the training rows tokens of their own, where that was asked for."""
        from studio.data.vocabulary import propose, texts_of
        from studio.models.vocabulary import extend

        asked, phase = self.config.vocabulary, "Looking for new tokens"
        if not asked.new_tokens:
            return
        self._phase(phase)
        found = propose(
            texts_of(train.rows, mapping),
            loaded.tokenizer,
            asked.new_tokens,
            asked.min_count,
            lambda done, total: self.progress(phase, done, total, "texts"),
        )
        if not found.terms:
            self.events.append(
                Note(text=f"No term that takes several tokens occurs {asked.min_count:,} times; the vocabulary stays.")
            )
            return
        self._terms = [each.term for each in found.terms]
        extend(loaded.model, loaded.tokenizer, self._terms)
        terms = [asdict(each) for each in found.terms]
        self.events.append(
            VocabularyExtended(terms=terms, tokens_before=found.tokens_before, tokens_after=found.tokens_after)
        )

    def _tokenise(self, train: Any, held_out: Any, mapping: Any, tokenizer: Any) -> Any:
        self._phase("Preparing data")
        training = self.config.training
        if held_out is not None and self.config.objective.writes:  # labels are cheap: all count in the last score
            held_out = replace(held_out, rows=held_out.rows[: training.eval_rows])
        prepared = self.config.objective.prepare(
            train,
            held_out,
            mapping,
            tokenizer,
            lambda done, total: self.progress("Preparing data", done, total, "rows"),
            self._kept,
        )
        guarded = guard(
            self.config,
            self.workspace,
            prepared,
            tokenizer,
            lambda done, total: self.progress("Preparing old data", done, total, "rows"),
            self._kept,
        )
        prepared, self.measured = guarded.prepared, guarded.measured
        for text in prepared.notes:
            self.events.append(Note(text=text))
        report, self._fingerprint = prepared.report, train.fingerprint
        self.events.append(
            DataReady(
                train_rows=len(prepared.train),
                validation_rows=len(prepared.validation),
                truncated_rows=report.truncated,
                skipped_rows=report.skipped,
                tokens=report.tokens,
                trained_tokens=report.trained_tokens,
                fingerprint=train.fingerprint,
            )
        )
        return prepared

    def _attach(self, loaded: Any, prepared: Any) -> Any:
        from transformers import set_seed

        from studio.training.trainer import planned_steps

        set_seed(self.config.seed)
        model = self.config.method.attach(loaded.model, planned_steps(self.config.training, len(prepared.train)))
        model = self.config.objective.assemble(model, prepared)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.events.append(
            ModelReady(
                name=loaded.located.title,
                parameters=loaded.parameters,
                trainable_parameters=trainable,
                device=loaded.placement.device,
                dtype=loaded.placement.dtype,
                reason=f"{loaded.placement.reason} {self._products(loaded.placement)[1]}".rstrip(),
            )
        )
        return model

    def _train(self, model: Any, loaded: Any, prepared: Any) -> None:
        from studio.training.callbacks import EventCallback
        from studio.training.keeping import Keeper

        listener = EventCallback(self.folder)
        keeper = Keeper(self.folder.checkpoints, self.training, self._fingerprint)
        prepared = replace(prepared, validation=prepared.validation[: self.training.eval_rows])
        trainer = self.trainer(model, loaded, prepared, listener, self.training, keeper)
        trainer.sample = None if rank() else self._sampler(loaded.tokenizer)
        if trainer.route.reason:
            self.events.append(Note(text=f"Rows are padded to the longest of their batch: {trainer.route.reason}."))
        self._heed()
        self._tell_ready()
        checkpoint = self._last_whole()
        problem = self._steps(trainer, checkpoint)
        # Not what the log holds: a process that was killed may have told more than it kept.
        self.step = max(trainer.state.global_step, checkpoint.step if checkpoint else 0)
        if rank():
            if problem is not None:
                raise problem
            return
        if problem is not None:
            self._recover(trainer, problem)
        keeper.write()
        if keeper.full:
            raise Rest(keeper.full)
        if self.folder.pause_flag.exists() and not self.folder.stop_flag.exists():
            raise Rest
        if keeper.early:
            self.events.append(Note(text=keeper.early))
        self._take_best(model, keeper)

    def trainer(
        self, model: Any, loaded: Any, prepared: Any, listener: Any, training: TrainingSettings, keeper: Any = None
    ) -> Any:
        """What trains on the rows of `prepared` as `training` says; `listener` is told of each step."""
        from studio.training.trainer import arguments

        trainer = self.config.objective.trainer()(
            model=model,
            tokenizer=loaded.tokenizer,
            prepared=prepared,
            training=training,
            listener=listener,
            method=self.config.method,
            keeper=keeper,
            group_size=self.config.training.per_device_train_batch_size if keeper else None,
            compute=self._products(loaded.placement)[0],
            arguments=arguments(
                training,
                rows=len(prepared.train),
                held_out=len(prepared.validation or prepared.old),
                device=loaded.placement.device,
                seed=self.config.seed,
                output_dir=str(self.folder.checkpoints),
            ),
        )
        self._hold_back(trainer)
        return trainer

    def _products(self, place: Any) -> tuple[Any, str]:
        from studio.models.base import products

        return products(place, exact=self.config.training.dtype != "auto")

    def _sampler(self, tokenizer: Any) -> Any:
        """What has a few held-out prompts answered amid training; None where there is nothing to answer."""
        from studio.training.sampling import Sampler

        conversations = self._conversations(self.training.sample_rows) if self.config.objective.writes else []
        stop = self.folder.stop_flag.exists
        longest = self.training.max_new_tokens
        return Sampler(self.events, tokenizer, conversations, longest, stop) if conversations else None

    def _conversations(self, most: int) -> list[Any]:
        """The first held-out ones."""
        with self.folder.held_out.open(encoding="utf-8") as file:
            return [json.loads(line) for line in islice(file, most)]

    def _hold_back(self, trainer: Any) -> None:
        """Add the penalty's part to the loss."""
        from studio.training.batching import Rows

        penalty = self.config.penalty
        rows = self.measured[: penalty.rows()]

        def told() -> Iterator[Any]:
            for done, batch in enumerate(trainer.batches([row] for row in Rows(rows)), 1):
                self.progress(penalty.measures, done, len(rows), "rows")
                yield batch

        if rows:
            self._phase(penalty.measures)
        with trainer.route.running():
            part = penalty.prepare(trainer.model, told(), trainer.summed_loss)
        if part is not None:
            trainer.parts[key_of(penalty)] = part

    def _save(self, model: Any) -> None:
        from studio.adapter import save
        from studio.models.vocabulary import remembered

        self.progress("Saving what was learnt", always=True)
        size = save(model, self.folder.adapter, remembered(self._terms))
        self.events.append(Saved(step=self.step, size=size, peak_memory=peak_memory()))

    def _compare(self, model: Any, tokenizer: Any, prepared: Any) -> None:
        from studio.objectives import Ending

        training = self.training
        conversations = self._conversations(training.answer_rows)
        ending = Ending(
            tokenizer=tokenizer,
            prepared=prepared,
            conversations=conversations,
            training=training,
            stop=self.folder.stop_flag.exists,
            progress=lambda done, total: self.progress("Comparing answers", done, total, "answers"),
        )
        try:
            outcome = self.config.objective.compare(model, ending)
        except (StopAsked, Rest):
            raise
        except Exception as error:  # the adapter is saved: a comparison that fails must not fail the run
            traceback.print_exc()
            self.events.append(Note(text=f"The answers were not compared. {explain(error)}"))
            return
        self._heed()
        if outcome is not None:
            self.events.append(outcome)

    # -- from checkpoint to checkpoint -------------------------------------------------------------------

    def _last_whole(self) -> Checkpoint | None:
        """The checkpoint to go on from; None: from the beginning."""
        if not self.step and not found(self.folder.checkpoints):
            return None
        self.progress("Looking for the last checkpoint", always=True)
        checkpoint, skipped = newest(self.folder.checkpoints)
        if checkpoint or skipped or self.step:
            self.events.append(Continued(step=checkpoint.step if checkpoint else 0, skipped=skipped))
        return checkpoint

    def _steps(self, trainer: Any, checkpoint: Checkpoint | None) -> Exception | None:
        """Train to the end, or to where a flag ends it. What memory or the numbers end is returned."""
        from studio.training.tracking import Tracking

        try:
            with Tracking(self.config.trackers, self.folder, self.workspace.trackers) as tracking:
                trainer.add_callback(tracking)
                if checkpoint is None:
                    trainer.train()
                else:
                    trainer.resume(checkpoint)
        except Exception as error:
            if not isinstance(error, Diverged) and not ran_out_of_memory(error):
                raise
            traceback.print_exc()
            # Its frames hold on to whatever the step had allocated.
            return error.with_traceback(None)
        return None

    def _recover(self, trainer: Any, problem: Exception) -> NoReturn:
        """Keep what was learnt before `problem`. Raises AnewInSmaller where smaller batches may help, or it."""
        from studio.training.state import load_weights

        if isinstance(problem, Diverged):
            checkpoint = trainer.keeper.best_checkpoint() or newest(self.folder.checkpoints)[0]
            if checkpoint:
                load_weights(checkpoint.path, trainer.model)
                self.step = checkpoint.step
                self._save(trainer.model)
                self.events.append(
                    Note(text=f"The weights of step {checkpoint.step:,} were saved, the last good ones.")
                )
            raise problem
        smaller = shrink(self.config.training, self.shrunk, self.step)
        if smaller is None or ranks() > 1:
            raise problem
        gc.collect()
        trainer.keeper.write()
        self.events.append(smaller)
        raise AnewInSmaller

    def _take_best(self, model: Any, keeper: Any) -> None:
        """Put the weights of the best evaluation into `model`, where they are wanted."""
        from studio.training.state import load_weights

        if not self.training.load_best_model_at_end or keeper.best[1] in (0, self.step):
            return
        if best := keeper.best_checkpoint():
            load_weights(best.path, model)
            self.step = best.step
            loss = f"its loss on held-out rows, {keeper.best[0]:.3f}, was the lowest"
            self.events.append(Note(text=f"The weights of step {best.step:,} are saved: {loss}."))

    # -- telling -----------------------------------------------------------------------------------

    def _lap(self, what: str) -> None:
        """The time since the last lap went into `what`."""
        now = time.perf_counter()
        self._seconds[what] = self._seconds.get(what, 0.0) + now - self._last_lap
        self._last_lap = now

    def _tell_ready(self) -> None:
        self._lap("trainer")
        self.events.append(Ready(seconds=self._seconds, rows_found=self._kept.found, rows_made=self._kept.made))

    def _phase(self, name: str) -> None:
        self._heed()
        self.progress(name, always=True)

    def progress(self, name: str, done: float = 0, total: float = 0, unit: str = "", *, always: bool = False) -> None:
        """Report progress, at most twice a second. A stop asked for meanwhile ends the run here."""
        now = time.monotonic()
        if always or now - self._last_progress >= 0.5:
            self._last_progress = now
            self.events.append(Phase(name=name, done=done, total=total, unit=unit))
            if not always:
                self._heed()

    def _heed(self) -> None:
        """End here where somebody asked for it."""
        if rank():  # the first decides for all
            return
        if self.folder.stop_flag.exists():
            raise StopAsked
        if self.folder.pause_flag.exists():
            raise Rest


def as_shrunk(training: TrainingSettings, shrunk: Shrunk | None) -> TrainingSettings:
    """`training` in the batches that memory has room for."""
    return training.model_copy(update={name: getattr(shrunk, name) for name in _SIZES}) if shrunk else training


def shrink(training: TrainingSettings, shrunk: Shrunk | None, step: int) -> Shrunk | None:
    """What is to be told where memory runs out after `step`; None where a batch is a single row already."""
    smaller = in_smaller_batches(as_shrunk(training, shrunk))
    return smaller and Shrunk(step=step, **{name: getattr(smaller, name) for name in _SIZES})


def peak_memory() -> float:
    """GB held at most so far: on the GPU where there is one, else of this process; 0 where nothing tells."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    with suppress(OSError):  # not getrusage: that counts the parent's memory, too
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return getattr(psutil.Process().memory_info(), "peak_wset", 0) / 1e9
