"""The trainer of every objective that learns from labelled tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from studio.training.batching import Collator, LengthGroupedSampler, Rows
from studio.training.losses import answer_loss, mean_answer_loss

EVALUATIONS = 4  # in a run, where nothing else was asked for


class SupervisedTrainer(Trainer):
    """transformers' Trainer with our batches, our loss and a token-weighted evaluation.

    The first evaluation also scores the model without its adapter, so that a curve can start at
    step 0 without making anyone wait before the first update.
    """

    model: Any
    train_dataset: Any
    eval_dataset: Any
    loss_is_scaled_for_ga = True  # we divide by the labelled tokens of the whole accumulated batch

    def __init__(
        self, *, model: Any, tokenizer: Any, prepared: Any, arguments: TrainingArguments, listener: Any
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Rows(prepared.train),
            eval_dataset=Rows(prepared.validation) if prepared.validation else None,
            data_collator=Collator(tokenizer.pad_token_id),
            processing_class=tokenizer,
            callbacks=[listener],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # so that the labelled tokens are counted for us
        self._base_loss: float | None = None

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(row.input_ids) for row in rows.encoded]
        return LengthGroupedSampler(lengths, self.args.per_device_train_batch_size, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, labelled = answer_loss(model, inputs)
        return loss / max(int(num_items_in_batch if num_items_in_batch is not None else labelled), 1)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Token-weighted mean loss over the held-out rows, and its perplexity exp(loss)."""
        if self.eval_dataset is None:
            return {}
        metrics = self._scores("eval")
        if self._base_loss is None:
            with self.model.disable_adapter():
                base = self._scores("base")
            self._base_loss = base["base_loss"]
            metrics |= base
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _scores(self, name: str) -> dict[str, float]:
        rows = self.eval_dataset
        order = sorted(range(len(rows)), key=lambda row: len(rows.encoded[row].input_ids))
        size = self.args.per_device_eval_batch_size
        total = math.ceil(len(order) / size)
        collate = self.data_collator
        batches = (
            {
                key: value.to(self.args.device)
                for key, value in collate([rows[i] for i in order[at : at + size]]).items()
            }
            for at in range(0, len(order), size)
        )

        def step(done: int) -> None:
            self.callback_handler.on_prediction_step(self.args, self.state, self.control, done=done, total=total)

        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                loss = mean_answer_loss(self.model, batches, step)
        finally:
            self.model.train(was_training)
        return {f"{name}_loss": loss, f"{name}_perplexity": math.exp(min(loss, 50))}


def arguments(training: Any, *, rows: int, held_out: int, device: str, seed: int, output_dir: str) -> TrainingArguments:
    """TrainingArguments for `training` (a TrainingSettings) over `rows` rows, scored on `held_out` others."""
    steps = planned_steps(training, rows)
    return TrainingArguments(
        output_dir=output_dir,
        max_steps=steps,
        per_device_train_batch_size=training.per_device_train_batch_size,
        per_device_eval_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=training.optim,
        gradient_checkpointing=training.gradient_checkpointing,
        eval_strategy="steps" if held_out else "no",
        eval_steps=training.eval_steps or max(1, math.ceil(steps / EVALUATIONS)),
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        include_num_input_tokens_seen="non_padding",
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        disable_tqdm=True,
        report_to="none",
        use_cpu=device == "cpu",
        seed=seed,
    )


def planned_steps(training: Any, rows: int) -> int:
    """Optimiser updates that `training` asks for over `rows` rows; max_steps counts before the epochs."""
    per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return training.max_steps or max(1, math.ceil(math.ceil(rows / per_step) * training.num_train_epochs))
