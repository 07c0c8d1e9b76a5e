"""What every benchmark prints: the machine, then medians with their spread."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version

import psutil


def machine() -> str:
    """A line about where and on what the figures were taken."""
    packages = " ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "gradio"))
    memory = psutil.virtual_memory().total / 1e9
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, {packages}"


def row(name: str, values: Sequence[float], unit: str) -> str:
    """`name` with the median, the least and the most of `values`."""
    middle = statistics.median(values)
    return f"{name:<52} {middle:>9.3g} {unit:<7} (min {min(values):.3g}, max {max(values):.3g}, n={len(values)})"


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median of the ratios pair by pair; the pairs were measured in turn."""
    pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
    return row(name, pairs, "x")
