"""How long, how fast and how carefully to train: what every objective shares."""

from __future__ import annotations

import math
from typing import Literal

from studio.settings import Settings, setting

LOGITS_AT_ONCE = (2**24, 2**27)  # numbers, elsewhere and on an NVIDIA GPU; a CPU wants few


class TrainingSettings(Settings):
    """Named after transformers' TrainingArguments, whose meaning they keep."""

    num_train_epochs: float = setting(
        1.0,
        "Epochs",
        gt=0,
        le=1000,
        unit="passes",
        help="How often every row is seen. One to three is usual; more on small data tends to learn it by heart.",
    )
    max_steps: int | None = setting(
        None,
        "Steps",
        ge=1,
        le=10_000_000,
        unit="steps",
        help="Exactly this many updates; rows come again when they run out. Empty: the epochs decide.",
    )
    per_device_train_batch_size: int = setting(
        8,
        "Batch size",
        ge=1,
        le=1024,
        unit="rows",
        help="Rows looked at together. Larger is steadier and needs more memory.",
    )
    gradient_accumulation_steps: int = setting(
        1,
        "Gradient accumulation",
        ge=1,
        le=1024,
        unit="batches",
        help="Batches summed before one update: the effect of a larger batch without its memory.",
        advanced=True,
    )
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        gt=0,
        le=1,
        help="Size of each update; a loss that jumps up wants less. Empty: what suits the method, such as 2e-4 for "
        "LoRA.",
        source="Schulman et al. 2025, LoRA Without Regret: adapters like about 10 x the rate of full fine-tuning",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = setting(
        "linear",
        "Schedule",
        advanced=True,
        help="How the learning rate falls after the warm-up: in a straight line, along a cosine, or not at all.",
    )
    warmup_steps: float = setting(
        0.05,
        "Warm-up",
        ge=0,
        le=100_000,
        advanced=True,
        unit="steps, or share below 1",
        help="The learning rate rises over these first steps, so that early noise does no harm.",
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        ge=0,
        le=1,
        advanced=True,
        help="Pulls trained weights towards zero at each update; adapters rarely need it.",
        source="Loshchilov & Hutter 2019, arXiv:1711.05101",
    )
    max_grad_norm: float = setting(
        1.0,
        "Gradient clipping",
        ge=0,
        le=1000,
        advanced=True,
        help="A longer gradient is shortened to this norm; 0 switches it off.",
        source="Pascanu et al. 2013, arXiv:1211.5063",
    )
    optim: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit"] = setting(
        "adamw_torch_fused",
        "Optimizer",
        advanced=True,
        help="AdamW in one pass over all weights; the 8-bit ones (bitsandbytes) keep their state in a quarter "
        "of the memory.",
        source="Dettmers et al. 2022, arXiv:2110.02861",
    )
    gradient_checkpointing: bool = setting(
        False,
        "Gradient checkpointing",
        advanced=True,
        help="Recomputes activations instead of keeping them: a third slower, far less memory on long rows.",
        source="Chen et al. 2016, arXiv:1604.06174",
    )
    activation_offloading: bool = setting(
        False,
        "Activation offloading",
        advanced=True,
        help="With gradient checkpointing on a GPU: what is kept of each block waits in main memory. For very long "
        "rows.",
    )
    use_liger_kernel: bool = setting(
        True,
        "Liger kernels",
        advanced=True,
        help="On an NVIDIA GPU, and where the package liger-kernel is installed: norms, rotations and gates in one "
        "kernel each.",
        source="Hsu et al. 2024, arXiv:2410.10989",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = setting(
        "auto",
        "Number format",
        advanced=True,
        help="Of the frozen weights. 'auto' takes bfloat16 where the machine computes it natively, and says so.",
    )
    eval_steps: int | None = setting(
        None,
        "Evaluate every",
        ge=1,
        le=1_000_000,
        advanced=True,
        unit="steps",
        help="Scores the held-out rows this often. Empty: four times in the run.",
    )
    eval_rows: int = setting(
        48,
        "Held-out rows for the loss",
        ge=1,
        le=100_000,
        advanced=True,
        unit="rows",
        help="At most this many held-out rows are scored at each evaluation.",
    )
    answer_rows: int = setting(
        16,
        "Held-out rows to answer",
        ge=0,
        le=10_000,
        advanced=True,
        unit="rows",
        help="At the end the base and the tuned model each answer this many held-out prompts and are compared. "
        "0 leaves that out.",
    )
    max_new_tokens: int = setting(
        64,
        "Answer length at most",
        ge=1,
        le=4096,
        advanced=True,
        unit="tokens",
        help="Where those answers are cut.",
    )


def planned_steps(training: TrainingSettings, rows: int) -> int:
    """Optimiser updates that `training` asks for over `rows` rows; max_steps counts before the epochs."""
    per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return training.max_steps or max(1, math.ceil(math.ceil(rows / per_step) * training.num_train_epochs))
