"""What the loop of every objective does: the rates it learns at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from studio.data.tokens import encode_text, report_on
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.objectives import Prepared
from studio.training.settings import TrainingSettings
from studio.training.supervised import SupervisedTrainer
from studio.training.trainer import arguments

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


class Rates(TrainerCallback):
    """Keeps the rate of each update, before it is made."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def trained(folder: Path, **settings: Any) -> tuple[list[float], bool]:
    """Each update's rate, as a share of the one asked for; whether the weights moved."""
    tokenizer = tiny_tokenizer()
    row = encode_text("a text to learn", tokenizer, 32)
    assert row is not None
    chosen = TrainingSettings.parse({"learning_rate": 1e-2, "per_device_train_batch_size": 1, **settings})
    model, rates = Lora(r=4).attach(tiny_model()), Rates()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    SupervisedTrainer(
        model=model,
        tokenizer=tokenizer,
        prepared=Prepared([row], [], report_on([row], 0)),
        method=Lora(r=4),
        training=chosen,
        listener=rates,
        arguments=arguments(chosen, rows=1, held_out=0, device="cpu", seed=0, output_dir=str(folder)),
    ).train()
    after = dict(model.named_parameters())
    return [rate / 1e-2 for rate in rates.seen], any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_of_one_step_learns(tmp_path: Path) -> None:
    assert trained(tmp_path, max_steps=1) == ([1.0], True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_steps": 4}, [1, 3 / 4, 2 / 4, 1 / 4]),  # 0.05 of 4 steps is none
        ({"max_steps": 4, "warmup_steps": 0.5}, [1 / 3, 2 / 3, 1, 1 / 2]),
        ({"max_steps": 4, "warmup_steps": 1}, [1 / 2, 1, 2 / 3, 1 / 3]),
        ({"max_steps": 3, "warmup_steps": 9}, [1 / 10, 2 / 10, 3 / 10]),
        ({"max_steps": 3, "lr_scheduler_type": "constant"}, [1, 1, 1]),
        ({"max_steps": 2, "lr_scheduler_type": "cosine", "warmup_steps": 0}, [1, 1 / 2]),
    ],
)
def test_no_update_is_made_at_a_rate_of_nothing(
    tmp_path: Path, settings: dict[str, Any], expected: list[float]
) -> None:
    rates, moved = trained(tmp_path, **settings)
    assert rates == pytest.approx(expected)
    assert moved
