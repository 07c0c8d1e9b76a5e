"""Batches of similar length, in a random order that a seed repeats."""

from __future__ import annotations

import random

import pytest
import torch

from studio.training.batching import EpochSampler, collate, length_grouped, padded, starts

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


@pytest.mark.parametrize("grouped", [True, False])
def test_each_epoch_has_an_order_of_its_own_which_the_seed_repeats(grouped: bool) -> None:
    def orders(seed: int) -> list[list[int]]:
        sampler = EpochSampler(LENGTHS, 8, seed, grouped=grouped)
        assert len(sampler) == len(LENGTHS)
        found = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            found.append(list(sampler))
        return found

    first, second, third = orders(0)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(len(LENGTHS)))
    assert first != second != third
    assert orders(0) == [first, second, third]
    assert (padding(first, 8) < 0.25 * padding(list(range(len(LENGTHS))), 8)) == grouped


ROWS = [
    {"input_ids": [5, 6, 7], "labels": [5, 6, 7]},
    {"input_ids": [8], "labels": [8]},
    {"input_ids": [9, 5, 6, 7], "labels": [-100, 5, 6, 7], "documents": [1, 3]},
]


def test_rows_are_joined_and_the_first_token_of_each_text_has_no_label() -> None:
    batch = collate(ROWS)
    assert batch["input_ids"].tolist() == [5, 6, 7, 8, 9, 5, 6, 7]
    assert batch["labels"].tolist() == [-100, 6, 7, -100, -100, -100, 6, 7]
    assert batch["lengths"].tolist() == [3, 1, 1, 3]
    assert starts(batch["lengths"]).tolist() == [0, 3, 4, 5]


def test_packed_rows_that_stay_whole_have_the_same_labels() -> None:
    whole, apart = collate(ROWS, apart=False), collate(ROWS)
    assert whole["lengths"].tolist() == [3, 1, 4]
    assert whole["labels"].tolist() == apart["labels"].tolist()


def test_padding_stands_on_the_right_and_is_masked() -> None:
    ids, mask = padded(torch.tensor([5, 0, 7, 8]), [3, 1], 0)
    assert ids.tolist() == [[5, 0, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]  # a token like the padding's is none
