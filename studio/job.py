"""One run, from its config to its adapter: the only place that composes data, model, method and objective."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, NoReturn

from studio.catalog import key_of
from studio.checkpoints import Checkpoint, found, newest
from studio.distributed import rank, ranks
from studio.errors import Diverged, RewardError, explain, ran_out_of_memory
from studio.events import Continued, Note, Ready, Saved, Shrunk, StepDone
from studio.made import gather
from studio.models.machine import peak_memory
from studio.preparation import Preparation, Rest, StopAsked
from studio.redaction import print_fault
from studio.rewards import Combined, Tools
from studio.training.settings import TrainingSettings, in_smaller_batches
from studio.workspace import RunFolder, Workspace

_SIZES = ("per_device_train_batch_size", "gradient_accumulation_steps")


class AnewInSmaller(Exception):
    """Memory ran out: a fresh process goes on from the last checkpoint, as the last `Shrunk` says."""


class Job(Preparation):
    """One run, from its config to its adapter. The only place that composes data, model and objective."""

    def __init__(self, folder: RunFolder, workspace: Workspace) -> None:
        super().__init__(folder, workspace)
        before, _ = self.events.read_from()
        self.step = max((event.step for event in before if isinstance(event, StepDone)), default=0)
        shrunk = [event for event in before if isinstance(event, Shrunk)]
        self.shrunk = shrunk[-1] if shrunk else None
        self.training = as_shrunk(self.config.training, self.shrunk)

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

    def _train(self, model: Any, loaded: Any, prepared: Any) -> None:
        from studio.training.callbacks import EventCallback
        from studio.training.keeping import Keeper

        listener = EventCallback(self.folder)
        keeper = Keeper(self.folder.checkpoints, self.training, self._fingerprint)
        prepared = replace(prepared, validation=prepared.validation[: self.training.eval_rows])
        trainer = self.trainer(model, loaded, prepared, listener, self.training, keeper)
        trainer.sample = None if rank() else self.sampler(loaded.tokenizer)
        trainer.asked = listener.asked
        if trainer.route.reason:
            self.events.append(Note(text=f"Rows are padded to the longest of their batch: {trainer.route.reason}."))
        self._tell_made(loaded.placement, trainer.route.reason)
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
        if not self.step:  # it was left amid its first step
            self._heed()
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
        if self.config.objective.rewarded:
            trainer.combined = Combined(self.config.rewards, Tools(self.workspace, model, loaded.tokenizer))
        return trainer

    def sampler(self, tokenizer: Any) -> Any:
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
            print_fault()
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
        from studio.training.callbacks import Interrupted
        from studio.training.tracking import Tracking

        try:
            with Tracking(self.config.trackers, self.folder, self.workspace.trackers) as tracking:
                trainer.add_callback(tracking)
                if checkpoint is None:
                    trainer.train()
                else:
                    trainer.resume(checkpoint)
        except Interrupted:
            return None
        except Exception as error:
            if not isinstance(error, (Diverged, RewardError)) and not ran_out_of_memory(error):
                raise
            print_fault()
            # Its frames hold on to whatever the step had allocated.
            return error.with_traceback(None)
        return None

    def _recover(self, trainer: Any, problem: Exception) -> NoReturn:
        """Keep what was learnt before `problem`. Raises AnewInSmaller where smaller batches may help, or it."""
        from studio.training.state import load_weights

        if isinstance(problem, (Diverged, RewardError)):
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
            if self.config.objective.rewarded:
                loss = f"its reward on held-out prompts, {-keeper.best[0]:.3f}, was the highest"
            self.events.append(Note(text=f"The weights of step {best.step:,} are saved: {loss}."))

    # -- telling -----------------------------------------------------------------------------------

    def _tell_made(self, place: Any, padded: str) -> None:
        products = str(self._products(place)[0] or "").removeprefix("torch.")
        self.events.append(gather(*self._read, products=products, padded=padded))

    def _tell_ready(self) -> None:
        self._lap("trainer")
        self.events.append(Ready(seconds=self._seconds, rows_found=self._kept.found, rows_made=self._kept.made))


def as_shrunk(training: TrainingSettings, shrunk: Shrunk | None) -> TrainingSettings:
    """`training` in the batches that memory has room for."""
    return training.model_copy(update={name: getattr(shrunk, name) for name in _SIZES}) if shrunk else training


def shrink(training: TrainingSettings, shrunk: Shrunk | None, step: int) -> Shrunk | None:
    """What is to be told where memory runs out after `step`; None where a batch is a single row already."""
    smaller = in_smaller_batches(as_shrunk(training, shrunk))
    return smaller and Shrunk(step=step, **{name: getattr(smaller, name) for name in _SIZES})
