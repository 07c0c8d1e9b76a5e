"""Batches of similar length, in a random order that a seed repeats."""

from __future__ import annotations

import random

import pytest

from studio.training.batching import length_grouped

_LENGTHS = random.Random(0)
LENGTHS = [_LENGTHS.randint(10, 400) for _ in range(203)]


def padding(order: list[int], batch_size: int) -> int:
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return sum(max(LENGTHS[r] for r in batch) * len(batch) - sum(LENGTHS[r] for r in batch) for batch in batches)


@pytest.mark.parametrize("batch_size", [1, 4, 8, 203, 500])
def test_every_row_comes_once(batch_size: int) -> None:
    assert sorted(length_grouped(LENGTHS, batch_size, 0)) == list(range(203))


def test_it_pads_far_less_than_a_random_order() -> None:
    shuffled = list(range(203))
    random.Random(1).shuffle(shuffled)
    assert padding(length_grouped(LENGTHS, 8, 0), 8) < 0.25 * padding(shuffled, 8)


def test_long_and_short_batches_are_mixed() -> None:
    order = length_grouped(LENGTHS, 8, 0)
    means = [sum(LENGTHS[r] for r in order[i : i + 8]) / 8 for i in range(0, 200, 8)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_the_seed_decides() -> None:
    assert length_grouped(LENGTHS, 8, 3) == length_grouped(LENGTHS, 8, 3)
    assert length_grouped(LENGTHS, 8, 3) != length_grouped(LENGTHS, 8, 4)
