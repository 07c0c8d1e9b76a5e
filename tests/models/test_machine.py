"""What fits on a machine."""

from __future__ import annotations

from studio.models.machine import fits, free_memory


def test_the_verdict_follows_its_stated_formula() -> None:
    # 1.5 x 135 M x 2 bytes + 0.8 GB = 1.205 GB
    assert fits(135_000_000, 18_000_000_000, 2) == "fits: needs about 1.2 GB, 18 GB free"
    assert fits(135_000_000, 1_300_000_000, 2) == "tight: needs about 1.2 GB, 1.3 GB free"
    assert fits(4_000_000_000, 8_000_000_000, 2) == "too large: needs about 13 GB, 8.0 GB free"


def test_float32_needs_more() -> None:
    assert fits(10**9, 4_000_000_000, 2).startswith("tight")
    assert fits(10**9, 4_000_000_000, 4).startswith("too large")


def test_there_is_some_memory() -> None:
    assert 0 < free_memory() < 2**50
