"""Noise on embeddings: its size depends on the row alone, however rows lie beside one another."""

from __future__ import annotations

import torch

from studio.training.noise import noisy

WIDTH, ALPHA = 64, 5.0


def change(ids: torch.Tensor, lengths: list[int], alpha: float = ALPHA) -> torch.Tensor:
    torch.manual_seed(0)
    embeddings = torch.nn.Embedding(100, WIDTH)
    with noisy(embeddings, alpha, torch.tensor(lengths)):
        loud = embeddings(ids)
    return (loud - embeddings(ids)).detach()


def test_a_short_row_gets_more_than_a_long_one() -> None:
    """alpha / sqrt(L width), the highest of many uniform numbers."""
    lengths = [4, 100]
    flat = change(torch.arange(104)[None] % 100, lengths)[0]
    padded = change(torch.arange(200).reshape(2, 100) % 100, lengths)
    for row, length in enumerate(lengths):
        most = ALPHA / (length * WIDTH) ** 0.5
        begin = sum(lengths[:row])
        for part in (flat[begin : begin + length], padded[row, :length]):
            assert 0.9 * most < part.abs().max() <= most
            assert abs(float(part.mean())) < 0.1 * most


def test_none_is_added_where_none_is_asked_for_nor_outside() -> None:
    assert not change(torch.arange(10)[None], [10], alpha=0.0).any()
    embeddings = torch.nn.Embedding(100, WIDTH)
    with noisy(embeddings, ALPHA, torch.tensor([3])):
        pass
    ids = torch.arange(3)[None]
    assert torch.equal(embeddings(ids), embeddings(ids))
