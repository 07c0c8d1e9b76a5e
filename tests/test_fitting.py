"""Steps that make a run fit: in order of least harm, no more than are needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.fitting import make_fit
from studio.models.machine import Room

LENGTHS = np.array([100] * 96 + [500] * 4)


def room(free: int, *, gpu: bool = False) -> Room:
    return Room(gpu, free, free, halves=True)


def config(**changes: Any) -> RunConfig:
    training = {"per_device_train_batch_size": 8, **changes.pop("training", {})}
    return RunConfig.parse({"model": "tiny", "training": training, **changes})


def total(asked: RunConfig) -> int:
    """A formula to work by hand: 100 for the weights, a byte for each 10 tokens of the batch, a byte a rank."""
    training = asked.training
    tokens = training.per_device_train_batch_size * min(500, asked.objective.max_length)
    return 100 + tokens // (40 if training.gradient_checkpointing else 10) + getattr(asked.method, "r", 900)


def test_no_step_where_it_fits() -> None:
    found = make_fit(config(), total, LENGTHS, room(10_000))
    assert (found.changes, found.fits) == ([], True)


def test_batches_are_halved_just_as_often_as_needed_and_updates_see_the_same_rows() -> None:
    found = make_fit(config(), total, LENGTHS, room(400))  # 516 are needed, 320 usable; batches of 4 take 316
    (only,) = found.changes
    training = only.config.training
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (4, 2)
    assert only.saves == 516 - 316
    assert (found.fits, found.total) == (True, 316)


def test_what_lies_beyond_a_bound_is_not_proposed() -> None:
    rows = config(training={"per_device_train_batch_size": 64, "gradient_accumulation_steps": 32})
    (first, *_) = make_fit(rows, total, LENGTHS, room(140)).changes
    training = first.config.training
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (2, 1024)


def test_steps_come_in_order_of_harm() -> None:
    found = make_fit(config(), total, LENGTHS, room(140))  # 112 usable
    assert [each.what.split(" ")[0] for each in found.changes] == ["Batches", "Gradient", "Cut-off", "Rank"]
    last = found.changes[-1].config
    assert last.training.per_device_train_batch_size == 1
    assert last.training.gradient_accumulation_steps == 8
    assert last.objective.max_length == 112  # 96 of 100 rows have 100 tokens
    assert "4 of 100 rows" in found.changes[2].costs
    assert last.method.model_dump()["lora_alpha"] / last.method.model_dump()["r"] == 2
    assert found.total == total(last)


def test_blocks_of_joined_rows_are_not_cut() -> None:
    found = make_fit(config(), total, None, room(150))
    assert not any(each.what.startswith("Cut-off") for each in found.changes)


def test_a_leaner_method_takes_over_what_it_knows() -> None:
    (*_, last) = make_fit(
        config(method={"name": "full"}, training={"learning_rate": 1e-5}), total, None, room(300)
    ).changes
    assert last.config.method_name == "lora"
    assert last.config.training.learning_rate is None  # the old one suited the other method
    lora = config(method={"name": "lora", "r": 64, "lora_alpha": 8})
    kinds = {
        gpu: [each.config.method_name for each in make_fit(lora, packed, None, room(60, gpu=gpu)).changes]
        for gpu in (True, False)
    }
    assert "qlora" in kinds[True]
    assert "qlora" not in kinds[False]


def packed(asked: RunConfig) -> int:
    return total(asked) - (50 if asked.method_name == "qlora" else 0)


def test_a_later_step_makes_an_earlier_one_needless() -> None:
    found = make_fit(config(method="full"), total, LENGTHS, room(700))  # 560 usable, and LoRA alone takes 516
    assert [each.what for each in found.changes] == ["LoRA instead of Full fine-tuning"]
    assert found.changes[0].config.training.per_device_train_batch_size == 8


def test_what_cannot_fit_is_said() -> None:
    found = make_fit(config(), total, LENGTHS, room(90))
    assert not found.fits
    assert found.total > 90


def test_a_config_that_cannot_be_is_passed_over() -> None:
    def picky(asked: RunConfig) -> int:
        if asked.training.per_device_train_batch_size == 4:
            raise ConfigError("Not four.", remedy="Another number.")
        return total(asked)

    found = make_fit(config(), picky, LENGTHS, room(400))
    assert found.changes[0].config.training.per_device_train_batch_size == 2
