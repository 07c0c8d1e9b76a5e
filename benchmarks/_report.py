"""What every benchmark prints: the machine, then medians with their spread."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

# (workspace, options of the command line) → what was measured, by name, and the lines that say it
Part = Callable[[Any, argparse.Namespace], tuple[dict[str, Any], list[str]]]


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


def keep(results: Path, part: str, values: dict[str, Any], lines: list[str]) -> None:
    """Put what was measured in the place of what an earlier run measured of the same `part`, and print it.

    `results` names a .json with all values and a .txt with the lines.
    """
    print("\n".join(lines), flush=True)
    path = results.with_suffix(".json")
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    earlier[part] = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "text": lines, **values}
    path.write_text(json.dumps(earlier, indent=1) + "\n", encoding="utf-8")
    text = [line for each in earlier.values() for line in [*each["text"], ""]]
    results.with_suffix(".txt").write_text("\n".join(text), encoding="utf-8")


def measure(results: Path, parts: Mapping[str, Part], parser: argparse.ArgumentParser) -> None:
    """Run the parts that `--only` names, in `--workspace` or a temporary one, and keep what each measured."""
    from studio.workspace import Workspace

    parser.add_argument("--only", default=",".join(parts), help="names, with commas")
    parser.add_argument("--workspace", type=Path)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(options.workspace or Path(scratch) / "workspace").create()
        for part in options.only.split(","):
            keep(results, part, *parts[part](workspace, options))
