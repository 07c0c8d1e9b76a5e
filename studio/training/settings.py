"""How long, how fast and how carefully to train: what every objective shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from studio.settings import Settings, setting
from studio.training.schedules import Shape, schedule

LOGITS_AT_ONCE = (2**24, 2**27)  # numbers, elsewhere and on an NVIDIA GPU; a CPU wants few


class TrainingSettings(Settings):
    """Named after transformers' TrainingArguments, whose meaning they keep."""

    num_train_epochs: float = setting(
        1.0,
        "Epochs",
        gt=0,
        le=1000,
        unit="passes",
        search=(1, 5),
        help="How often every row is seen. One to three is usual; more on small data tends to learn it by heart.",
        source="Muennighoff et al. 2023, arXiv:2305.16264",
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
        search=(1, 64),
        help="Rows looked at together. Larger is steadier and needs more memory.",
        source="McCandlish et al. 2018, arXiv:1812.06162",
    )
    gradient_accumulation_steps: int = setting(
        1,
        "Gradient accumulation",
        ge=1,
        le=1024,
        unit="batches",
        search=(1, 16),
        help="Batches summed before one update: the effect of a larger batch without its memory.",
        source="Ott et al. 2018, arXiv:1806.00187",
        advanced=True,
    )
    num_processes: int = setting(
        1,
        "Devices",
        ge=1,
        le=64,
        unit="devices",
        advanced=True,
        help="Train on so many GPUs of this machine, each with its own copy of the model and its share of the rows: an "
        "update takes as many times the rows. A machine without GPUs starts as many processes on its CPU, which is for "
        "trials only.",
        source="Li et al. 2020, arXiv:2006.15704",
    )
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        gt=0,
        le=1,
        search=(1e-5, 1e-2),
        help="Size of each update; a loss that jumps up wants less. Empty: what suits the method, such as 2e-4 for "
        "LoRA.",
        source="Schulman et al. 2025, LoRA Without Regret: adapters like about 10 x the rate of full fine-tuning",
    )
    lr_scheduler_type: Shape = setting(
        "linear",
        "Schedule",
        advanced=True,
        search=True,
        help="How the learning rate falls after the warm-up: in a straight line, along a cosine, not at all, or only "
        "in the last part of the run.",
        source="Hägele et al. 2024, arXiv:2405.18392 (warm-up, stable, decay)",
    )
    warmup_steps: float = setting(
        0.05,
        "Warm-up",
        ge=0,
        le=100_000,
        advanced=True,
        unit="steps, or share below 1",
        search=(0.0, 0.3),
        help="The learning rate rises over these first steps, so that early noise does no harm.",
        source="Goyal et al. 2017, arXiv:1706.02677, section 2.2",
    )
    decay_steps: float = setting(
        0.2,
        "Decay",
        gt=0,
        le=100_000,
        advanced=True,
        unit="steps, or share below 1",
        help="With the schedule 'warmup_stable_decay': over these last steps the rate falls.",
        source="Hägele et al. 2024, arXiv:2405.18392",
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        ge=0,
        le=1,
        advanced=True,
        search=(0.0, 0.3),
        help="Pulls trained weights towards zero at each update; adapters rarely need it.",
        source="Loshchilov & Hutter 2019, arXiv:1711.05101",
    )
    max_grad_norm: float = setting(
        1.0,
        "Gradient clipping",
        ge=0,
        le=1000,
        advanced=True,
        search=(0.1, 10),
        help="A longer gradient is shortened to this norm; 0 switches it off.",
        source="Pascanu et al. 2013, arXiv:1211.5063",
    )
    neftune_noise_alpha: float = setting(
        0.0,
        "Noise on embeddings",
        ge=0,
        le=100,
        advanced=True,
        search=(0.0, 15),
        help="Makes answers of a chat model freer and longer after little data; 5 is usual, 0 adds none.",
        source="Jain et al. 2023, arXiv:2310.05914 (NEFTune)",
    )
    label_smoothing_factor: float = setting(
        0.0,
        "Label smoothing",
        ge=0,
        lt=1,
        advanced=True,
        search=(0.0, 0.3),
        help="This share of each target is spread over all tokens or classes: the model grows less sure of itself, "
        "which helps where labels are wrong here and there. Held-out rows are scored without it.",
        source="Szegedy et al. 2016, arXiv:1512.00567, section 7",
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
        source="Rhu et al. 2016, arXiv:1602.08124",
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
        source="Kalamkar et al. 2019, arXiv:1905.12322",
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
    early_stopping_patience: int | None = setting(
        None,
        "Stop early after",
        ge=1,
        le=1000,
        advanced=True,
        unit="evaluations",
        help="Ends the run when the loss on held-out rows has not fallen for so many evaluations. Empty: never.",
        source="Prechelt 1998, Early Stopping — But When?",
    )
    load_best_model_at_end: bool = setting(
        False,
        "Keep the best",
        advanced=True,
        help="Saves the weights of the evaluation with the lowest loss on held-out rows rather than the last ones.",
        source="Prechelt 1998, Early Stopping — But When?",
    )
    save_steps: int | None = setting(
        None,
        "Checkpoint every",
        ge=1,
        le=1_000_000,
        advanced=True,
        unit="steps",
        help="A run that is paused, killed or cut off goes on from its last checkpoint. Empty: every minute or so, "
        "whenever held-out rows were scored better than before, and at the end.",
    )
    save_total_limit: int = setting(
        1,
        "Checkpoints to keep",
        ge=1,
        le=1000,
        advanced=True,
        help="So many of the newest, and that of the best evaluation.",
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
    sample_rows: int = setting(
        2,
        "Answers to watch",
        ge=0,
        le=100,
        advanced=True,
        unit="rows",
        help="At each evaluation the model answers so many held-out prompts, always the same: the page shows how its "
        "answers change. 0 leaves that out.",
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

    def schedule(self, steps: int) -> Callable[[int], float]:
        """Update, counted from 0 → factor on the learning rate, in a run of so many."""
        return schedule(self.lr_scheduler_type, steps, self.warmup_steps, self.decay_steps)


def in_smaller_batches(training: TrainingSettings) -> TrainingSettings | None:
    """Batches of half the rows or fewer, and so many of them that an update takes as many; None for single rows."""
    rows, batches = training.per_device_train_batch_size, training.gradient_accumulation_steps
    fewer = next((each for each in range(rows // 2, 0, -1) if rows % each == 0), None)
    return fewer and training.model_copy(  # pyright: ignore[reportReturnType]  # never 0
        update={"per_device_train_batch_size": fewer, "gradient_accumulation_steps": batches * rows // fewer}
    )


def planned_steps(training: TrainingSettings, rows: int) -> int:
    """Optimiser updates that `training` asks for over `rows` rows; max_steps counts before the epochs."""
    per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.num_processes
    return training.max_steps or max(1, math.ceil(math.ceil(rows / per_step) * training.num_train_epochs))
