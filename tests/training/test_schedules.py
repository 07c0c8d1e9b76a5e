"""Learning rates, beside transformers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_scheduler

from studio.training.schedules import SHAPES, schedule

STEPS, WARMUP = 20, 4


def theirs(name: str, **options: Any) -> list[float]:
    """Of a run one step longer, less its first step, whose rate is 0 in a warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made: Any = get_scheduler(
        name, optimizer, num_warmup_steps=WARMUP + 1, num_training_steps=STEPS + 1, scheduler_specific_kwargs=options
    )
    return [made.lr_lambdas[0](step + 1) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("ours", "name"), [("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")]
)
def test_the_usual_ones_are_as_in_transformers(ours: Any, name: str) -> None:
    rate = schedule(ours, STEPS, WARMUP, 0.2)
    assert [rate(step) for step in range(STEPS)] == pytest.approx(theirs(name))


def test_a_stable_rate_falls_in_the_last_part_only() -> None:
    rate = schedule("warmup_stable_decay", STEPS, WARMUP, 0.25)
    rates = [rate(step) for step in range(STEPS)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:15] == [1.0] * 11
    # 1 - sqrt(k / 6) for the last five updates, k = 1 ... 5
    assert rates[15:] == pytest.approx([1 - (k / 6) ** 0.5 for k in range(1, 6)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup", [0, 0.3, 1, 30])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_no_update_is_made_at_a_rate_of_nothing(shape: Any, warmup: float, steps: int) -> None:
    rate = schedule(shape, steps, warmup, 0.2)
    assert all(0 < rate(step) <= 1 for step in range(steps))
