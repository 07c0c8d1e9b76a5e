"""The trainer of every objective: transformers' loop with our batches, losses, evaluation and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from studio.checkpoints import Checkpoint
from studio.data.tokenised import lengths_of
from studio.distributed import rank, ranks
from studio.methods import Method, Part
from studio.training.batching import Batch, EpochSampler, Rows
from studio.training.keeping import Keeper
from studio.training.noise import noisy
from studio.training.route import Route, choose
from studio.training.sampling import Sampler
from studio.training.settings import TrainingSettings, planned_steps
from studio.training.state import load_weights, set_dice
from studio.training.together import Agreement, average_gradients, share

EVALUATIONS = 4  # in a run, where nothing else was asked for


class StudioTrainer(Trainer):
    """A subclass says how rows become a batch, what the loss is, and how held-out rows are scored.

    The first evaluation also scores the model without its adapter, so that a curve can start at
    step 0 without making anyone wait before the first update.
    """

    model: Any
    train_dataset: Any
    eval_dataset: Any
    loss_is_scaled_for_ga = True  # we divide by the labelled items of the whole accumulated batch
    base_counts = True  # whether the model without its adapter can be scored too

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any,
        prepared: Any,
        arguments: TrainingArguments,
        training: TrainingSettings,
        listener: Any,
        method: Method,
        keeper: Keeper | None = None,
        compute: torch.dtype | None = None,
        group_size: int | None = None,
    ) -> None:
        """`prepared` is what the objective made of the rows. Its loss can be added to: see `parts`.

        `compute` is the format of matrix products, where it is another than the weights'. `group_size` is how many
        rows are drawn together, where batches were made smaller since.
        """
        self.method = method
        self.training = training
        self.rate = training.schedule(arguments.max_steps)
        self.prepared = prepared
        scored = prepared.validation or prepared.old
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Rows(prepared.train),
            eval_dataset=Rows(scored) if scored else None,
            data_collator=self.collator(),
            processing_class=tokenizer,
            callbacks=[
                _AfterStep(self),
                listener,
                *([keeper] if keeper else []),
                *([Agreement()] if ranks() > 1 else []),
            ],
        )
        if ranks() > 1:  # batches go through the model's parts, past what would wrap it; see `training_step`
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)
        self.listener, self.keeper = listener, keeper
        self.sample: Sampler | None = None  # where answers are to be watched
        self.asked: Callable[[], bool] = lambda: False  # whether to leave a step that takes long and changes nothing
        if keeper:
            keeper.trainer = self
        self.group_size = group_size or arguments.per_device_train_batch_size
        self.route = self.routed(model, compute)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # so that the labelled items are counted for us
        self.parts: dict[str, Part] = method.parts()  # curve name → what is added to the loss
        self.extras: dict[str, float] = {}  # curves beside the loss, of the step at hand
        self.base: dict[str, float] | None = None  # scores of the model without its adapter, once they are known

    # -- what subclasses say ---------------------------------------------------------------------------

    def routed(self, model: Any, compute: torch.dtype | None) -> Route:
        """How batches go through `model`."""
        return choose(model, compute)

    def collator(self) -> Callable[[list[Any]], Batch]:
        """Rows → a batch; beside its tokens it holds 'labels', -100 where nothing is learnt."""
        raise NotImplementedError

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """The loss summed over the labelled items of `batch`, in nats, and how many there are."""
        raise NotImplementedError

    def scores(self, batches: Iterator[Batch], step: Callable[[int], None]) -> dict[str, float]:
        """Curve name → value over held-out batches, 'loss' among them; `step(done)` counts batches."""
        raise NotImplementedError

    def memory(self) -> dict[str, Any]:
        """What a checkpoint is to keep beside weights, optimizer and dice: numbers, texts and tensors."""
        return {}

    def remember(self, kept: dict[str, Any]) -> None:
        """Be as when `memory` gave that."""

    def rates(self) -> dict[str, float]:
        """Parameter name → factor on the learning rate, as `Method.rates` has it."""
        return self.method.rates(self.model)

    # -- training --------------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        lengths = lengths_of(rows.encoded)
        grouped = bool(self.route.reason)
        return EpochSampler(lengths, self.group_size, self.args.seed, grouped=grouped)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if ranks() > 1:
            share(self.model)
        with self.route.running():
            return super().train(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if ranks() > 1 and self.accelerator.sync_gradients:
            average_gradients(self.model)
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        with noisy(self.route.inner.get_input_embeddings(), self.training.neftune_noise_alpha, inputs["lengths"]):
            loss, labelled = self.summed_loss(inputs)
        # The items are those of all ranks, and the mean over ranks is taken later.
        loss = loss * ranks() / max(int(num_items_in_batch if num_items_in_batch is not None else labelled), 1)
        for name, part in self.parts.items():
            # Once an update, however many batches it sums.
            added = part(self.model) / self.current_gradient_accumulation_steps
            self.extras[name] = self.extras.get(name, 0.0) + float(added.detach())
            loss = loss + added
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The objective's own loss, and beside it what was added to it."""
        if "loss" in logs:
            logs["loss"] -= sum(self.extras.get(name, 0.0) for name in self.parts)
            logs |= self.extras
            self.extras = {}
        super().log(logs, *args, **kwargs)

    def create_optimizer(self, model: Any = None) -> Any:
        """As transformers does, but each parameter at its method's own rate."""
        if self.optimizer is None:
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = cls(self._groups(), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The run's own schedule, the same for all parameters."""
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, self.rate)
        return self.lr_scheduler

    def _groups(self) -> list[dict[str, Any]]:
        rates, decayed = self.rates(), set(self.get_decay_parameter_names(self.model))
        groups: dict[tuple[bool, float], list[Any]] = {}
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                groups.setdefault((name in decayed, rates.get(name, 1.0)), []).append(weight)
        return [
            {
                "params": weights,
                "weight_decay": self.args.weight_decay if decays else 0.0,
                "lr": self.args.learning_rate * factor,
            }
            for (decays, factor), weights in groups.items()
        ]

    # -- from checkpoint to checkpoint -----------------------------------------------------------------

    def resume(self, checkpoint: Checkpoint) -> None:
        """Train on as if nothing had happened since `checkpoint`. Raises RunError where it is of other rows."""
        assert self.keeper
        self._left = self.keeper.take_up(checkpoint)
        self.base, self.listener.seconds = self._left["base"], self._left["seconds"]
        self.args.eval_on_start = False
        self.state.global_step = checkpoint.step
        if self._due(checkpoint.step):
            self._load_from_checkpoint(str(checkpoint.path))
            with self.route.running():
                self.evaluate()
        if checkpoint.step < self.args.max_steps and not self.keeper.early:
            self.train(resume_from_checkpoint=str(checkpoint.path))
        else:  # the loop would take a step before it looks at what is left
            self._load_from_checkpoint(str(checkpoint.path))

    def _due(self, step: int) -> bool:
        """Whether an evaluation after `step` was missed: by a stop, or where memory ran out in its midst."""
        wanted = self.args.eval_strategy == "steps" and step % int(self.args.eval_steps or 1) == 0
        return wanted and self._left["scored"] < step

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.keeper and not rank():
            self.keeper.write()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(Path(resume_from_checkpoint), self.model)
        self.method.restore(self.model, self._left["method"])
        self.remember(self._left.get("trainer", {}))  # which older checkpoints have not

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint:
            assert self.optimizer is not None
            self.optimizer.load_state_dict(self._left["optimizer"])
            self.create_scheduler(0).load_state_dict(self._left["scheduler"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint and self._left["scaler"]:
            scaler: Any = self.accelerator.scaler
            scaler.load_state_dict(self._left["scaler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint:
            set_dice(self._left["dice"])

    # -- evaluation ------------------------------------------------------------------------------------

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores over the held-out rows, and over old data where a run guards any ('old_' in front)."""
        if self.eval_dataset is None:
            return {}
        metrics = {f"eval_{name}": value for name, value in self._score_all().items()}
        first = self.base is None
        if self.base is None:
            base: dict[str, float] = {}
            if self.base_counts:
                with self.model.disable_adapter():
                    base = self._score_all()
            self.base = base
            metrics |= {f"base_{name}": value for name, value in base.items()}
        if self.sample:
            with self.route.resting():
                if first:
                    self.sample(self.model, 0, adapter=False)
                self.sample(self.model, self.state.global_step)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _score_all(self) -> dict[str, float]:
        kinds = {"": self.prepared.validation, "old_": self.prepared.old}
        return {
            f"{kind}{name}": value
            for kind, rows in kinds.items()
            if rows
            for name, value in self._scores(Rows(rows)).items()
        }

    def _scores(self, rows: Any) -> dict[str, float]:
        lengths = lengths_of(rows.encoded)
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        size = self.args.per_device_eval_batch_size
        total = math.ceil(len(order) / size)
        batches = self.batches([rows[i] for i in order[at : at + size]] for at in range(0, len(order), size))

        def step(done: int) -> None:
            self.callback_handler.on_prediction_step(self.args, self.state, self.control, done=done, total=total)

        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.scores(batches, step)
        finally:
            self.model.train(was_training)

    def batches(self, groups: Iterable[list[Any]]) -> Iterator[Batch]:
        """A batch of each group of rows, where the model is."""
        collate: Any = self.data_collator
        for rows in groups:
            yield self._prepare_inputs(collate(rows))


class _AfterStep(TrainerCallback):
    """Lets the method have its word after each update, gradients still there."""

    def __init__(self, trainer: StudioTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer.extras |= trainer.method.after_step(trainer.model, state.global_step + 1)


def arguments(
    training: TrainingSettings, *, rows: int, held_out: int, device: str, seed: int, output_dir: str
) -> TrainingArguments:
    """TrainingArguments for `training` (a TrainingSettings) over `rows` rows, scored on `held_out` others."""
    steps = planned_steps(training, rows)
    return TrainingArguments(
        output_dir=output_dir,
        max_steps=steps,
        per_device_train_batch_size=training.per_device_train_batch_size,
        per_device_eval_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=training.learning_rate,  # pyright: ignore[reportArgumentType]  # a run's config has one
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=training.optim,
        activation_checkpointing=training.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False, "offload": training.activation_offloading},
        # Norms, rotations and gates in one kernel each; the loss is ours.
        use_liger_kernel=device == "cuda" and training.use_liger_kernel and find_spec("liger_kernel") is not None,
        liger_kernel_config={"cross_entropy": False, "fused_linear_cross_entropy": False},
        eval_strategy="steps" if held_out else "no",
        eval_steps=training.eval_steps or max(1, math.ceil(steps / EVALUATIONS)),
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        include_num_input_tokens_seen="all",
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        disable_tqdm=True,
        report_to="none",
        use_cpu=device == "cpu",
        seed=seed,
    )
