"""`python _competitors.py NAME JOB.json`: one epoch by others, each with the environment it was installed into.

What is set beyond their defaults is said beside it; nothing is set that makes them slower.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from _contender import Job, run_named, tell


def watch() -> Any:
    """A callback of transformers' Trainer that keeps the losses, the real tokens and the time."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.tokens = 0
            self.began = self.ended = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            rows = kwargs["train_dataloader"].dataset
            self.tokens = sum(len(row["input_ids"]) for row in rows)  # no dataset here holds padding
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.ended = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.losses.append(float(logs["loss"]))

        def tell(self, job: Job, *packages: str) -> None:
            tell(job.report, packages, self.losses, [], self.ended - self.began, total=self.tokens)

    return Watch()


def common(job: Job) -> dict[str, Any]:
    """TrainingArguments that all share. `use_cpu`, or bfloat16 is refused without a GPU."""
    return {
        "output_dir": job.output,
        "per_device_train_batch_size": job.batch,
        "num_train_epochs": 1,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "seed": job.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }


def texts(job: Job) -> list[dict[str, str]]:
    return json.loads(Path(job.rows).read_text(encoding="utf-8"))


def adapter(job: Job) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=job.rank, lora_alpha=job.alpha, target_modules="all-linear", task_type="CAUSAL_LM")


# -- TRL -----------------------------------------------------------------------------------------------


def trl(job: Job) -> None:
    """SFTTrainer as it comes: float32 weights under bfloat16 autocast, gradient checkpointing."""
    _trl(job, {})


def trl_packing(job: Job) -> None:
    """SFTTrainer at its best here: rows packed, bfloat16 weights, no checkpointing; as many tokens an update."""
    rows = [row for batch in json.loads(Path(job.batches).read_text(encoding="utf-8")) for row in batch]
    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    _trl(
        job,
        {
            "packing": True,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": max(1, round(job.batch * mean / job.max_length)),
            "bf16": False,
            "gradient_checkpointing": False,
            "model_init_kwargs": {"dtype": "bfloat16"},
        },
    )


def _trl(job: Job, more: dict[str, Any]) -> None:
    from datasets import Dataset  # pyright: ignore
    from trl import SFTConfig, SFTTrainer  # pyright: ignore

    rows = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["answer"]}],
        }
        for row in texts(job)
    ]
    seen = watch()
    trainer = SFTTrainer(
        model=job.model,
        args=SFTConfig(**{**common(job), "max_length": job.max_length, **more}),
        train_dataset=Dataset.from_list(rows),
        peft_config=adapter(job),
        callbacks=[seen],
    )
    trainer.train()
    trainer.save_model(job.output)
    seen.tell(job, "trl", "transformers", "peft", "torch")


# -- LLaMA-Factory -------------------------------------------------------------------------------------


def llamafactory(job: Job) -> None:
    """Batches of 8 rows, padded to the longest."""
    _llamafactory(job, {})


def llamafactory_accumulating(job: Job) -> None:
    """A row at a time, 8 an update: nothing is padded."""
    _llamafactory(job, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": job.batch})


def llamafactory_settings(job: Job, folder: Path) -> dict[str, Any]:
    """What `llamafactory-cli train` takes; its description of the rows is written to `folder`.

    bfloat16 as its own examples have it. Checkpointing, on by default, is off: it only costs time here.
    """
    turns = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["answer"]}]
        for row in texts(job)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps([{"messages": each} for each in turns]), encoding="utf-8")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    about = {"file_name": "rows.json", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": about}), encoding="utf-8")
    return {
        **common(job),
        "model_name_or_path": job.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": job.rank,
        "lora_alpha": job.alpha,
        "lora_target": "all",
        "dataset": "rows",
        "dataset_dir": str(folder),
        "cutoff_len": job.max_length,
        "bf16": True,
        "disable_gradient_checkpointing": True,
    }  # no template: it then takes the tokenizer's own


def _llamafactory(job: Job, more: dict[str, Any]) -> None:
    from llamafactory.train.tuner import run_exp  # pyright: ignore

    seen = watch()
    run_exp({**llamafactory_settings(job, Path(job.output).with_name("llamafactory")), **more}, callbacks=[seen])
    seen.tell(job, "llamafactory", "transformers", "peft", "torch")


# -- transformers alone --------------------------------------------------------------------------------


def plain(job: Job) -> None:
    """transformers' own Trainer and loss: padded to the longest, logits everywhere; rows in the studio's order."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, set_seed

    batches = json.loads(Path(job.batches).read_text(encoding="utf-8"))

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        return {
            "input_ids": pad(ids, batch_first=True),
            "labels": pad([torch.tensor(row["labels"]) for row in rows], batch_first=True, padding_value=-100),
            "attention_mask": pad([torch.ones_like(each) for each in ids], batch_first=True),
        }

    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.bfloat16)
    set_seed(job.seed)
    model = get_peft_model(model, adapter(job))
    seen = watch()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**common(job), train_sampling_strategy="sequential", remove_unused_columns=False),
        train_dataset=[row for batch in batches for row in batch],  # pyright: ignore[reportArgumentType]
        data_collator=collate,
        callbacks=[seen],
    )
    trainer.train()
    trainer.save_model(job.output)
    tokens = [sum(len(row["input_ids"]) for row in batch) for batch in batches]
    tell(job.report, ("transformers", "peft", "torch"), seen.losses, tokens, seen.ended - seen.began)


if __name__ == "__main__":
    run_named(
        {
            "trl": trl,
            "trl-packing": trl_packing,
            "llamafactory-8": llamafactory,
            "llamafactory-1x8": llamafactory_accumulating,
            "plain": plain,
        }
    )
