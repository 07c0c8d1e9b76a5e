"""TRL 1.12's PPOTrainer, in an environment that has it; prints {"seconds": ..., "peak": ...}.

    python benchmarks/_trl_ppo.py MODEL_FOLDER PROMPTS ANSWER_TOKENS < prompts, lists of token ids as JSON

LoRA on the same layers, the reference being the adapter switched off. Its critic is a second model, as it asks for; its
reward model is one of a few weights, so that no time is counted against it that ours does not spend.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset  # pyright: ignore[reportMissingImports]
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer  # pyright: ignore[reportMissingImports]

UPDATES = 4


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_, **__) -> None:
        self.times.append(time.perf_counter())


def main() -> None:
    folder, prompts, answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 - its end of a turn would be masked otherwise
    rows = Dataset.from_list([{"input_ids": ids} for ids in json.load(sys.stdin)[: prompts * (UPDATES + 1)]])
    small = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    small.num_labels = 1
    critic = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    critic.config.pad_token_id = tokenizer.pad_token_id
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        trainer = PPOTrainer(
            args=PPOConfig(
                output_dir=out,
                per_device_train_batch_size=prompts,
                gradient_accumulation_steps=1,
                num_mini_batches=1,
                num_ppo_epochs=2,
                response_length=answer,
                total_episodes=prompts * UPDATES,
                stop_token="eos",  # noqa: S106
                num_sample_generations=0,
                report_to="none",
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                local_rollout_forward_batch_size=prompts,
                bf16=False,
            ),
            processing_class=tokenizer,
            model=AutoModelForCausalLM.from_pretrained(folder),
            ref_model=None,
            reward_model=LlamaForSequenceClassification(small),
            value_model=critic,
            train_dataset=rows,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock],
        )
        trainer.train()
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    peak = next(int(line.split()[1]) * 1024 / 1e9 for line in status if line.startswith("VmHWM:"))
    seconds = statistics.median(b - a for a, b in itertools.pairwise(clock.times))
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()
