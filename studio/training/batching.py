"""Which rows go into a batch together, and how they become tensors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

POOL = 16  # batches; rows are sorted by length inside pools of so many, so that the order stays random


def length_grouped(lengths: Sequence[int], batch_size: int, seed: int) -> list[int]:
    """A random order in which every `batch_size` consecutive rows are of similar length.

    Padding is work thrown away: on mixed data sorting this way trains nearly three times as many
    real tokens per second. Batches are shuffled afterwards, for the loss curve of rows sorted from
    long to short is a saw.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = POOL * batch_size
    batches = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    # Only the last pool can end in a short batch; it stays last, or all behind it would be misaligned.
    tail = (
        [batches.pop(next(i for i, batch in enumerate(batches) if len(batch) < batch_size))]
        if (len(order) % batch_size)
        else []
    )
    rng.shuffle(batches)
    return [row for batch in batches + tail for row in batch]


class LengthGroupedSampler(Sampler[int]):
    """`length_grouped`, in a new order each epoch."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(length_grouped(self.lengths, self.batch_size, self.seed + self.epoch))


class Rows(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Encoded rows as a torch data set."""

    def __init__(self, encoded: Sequence[Any]) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row = self.encoded[index]
        return {"input_ids": row.input_ids, "labels": row.labels}


class Collator:
    """Pads to the longest row of the batch, on the right.

    Gives input_ids, attention_mask and labels, each of shape (rows, longest); labels are -100 where
    nothing is learnt.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), longest)
        input_ids = torch.full(shape, self.pad_token_id, dtype=torch.long)
        labels = torch.full(shape, -100, dtype=torch.long)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        for i, row in enumerate(rows):
            length = len(row["input_ids"])
            input_ids[i, :length] = torch.tensor(row["input_ids"])
            labels[i, :length] = torch.tensor(row["labels"])
            attention_mask[i, :length] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
