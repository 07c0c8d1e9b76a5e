"""Writes docs/methods.md from the catalog of methods, which state what they are for themselves.

python docs/make_methods.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.methods import ARXIV, FAMILIES, Method, methods, what_it_does

TARGET = Path(__file__).parent / "methods.md"
MEASURED = Path(__file__).parents[1] / "benchmarks" / "results" / "methods.json"

# What benchmarks/methods.py measures, as the table's head says it and how it is written.
COLUMNS = {
    "trainable": ("weights that learn", "{:,}"),
    "share": ("share", "{:.2%}"),
    "peak_memory_gb": ("peak memory, GB", "{:.2f}"),
    "relative_time": ("time of a step, LoRA's = 1", "{:.2f}"),
    "base_loss": ("loss before", "{:.3f}"),
    "final_loss": ("loss after", "{:.3f}"),
    "adapter_mb": ("on disk, MB", "{:.1f}"),
}


def text() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Methods: which weights learn"
    yield ""
    yield "Made by `python docs/make_methods.py` from the classes that declare them; a test keeps it true."
    if MEASURED.is_file():
        yield from _measured(json.loads(MEASURED.read_text(encoding="utf-8")))
    for family, title in FAMILIES.items():
        members = {key: cls for key, cls in methods().items() if cls.family == family}
        if members:
            yield from ("", f"## {title}")
        for key, cls in members.items():
            yield from _about(key, cls)


def _measured(found: dict[str, Any]) -> Iterator[str]:
    yield from ("", "## Measured", "")
    yield "By `python benchmarks/methods.py`: each method trained, was saved, loaded again and answered. The same data,"
    yield "order, steps and seed for all, each at the rate that suits it; held-out loss in nats a token."
    yield f"{found['conditions']} A few steps tell what a method costs and that it learns, not which is best."
    yield ""
    yield "| method | " + " | ".join(head for head, _ in COLUMNS.values()) + " |"
    yield "|---" + "|---:" * len(COLUMNS) + "|"
    for row in found["methods"]:
        cells = [_cell(row.get(key), written) for key, (_, written) in COLUMNS.items()]
        yield f"| {row['title']} | " + " | ".join(cells) + " |"


def _cell(value: float | None, written: str) -> str:
    return "–" if value is None else written.format(value)


def _about(key: str, cls: type[Method]) -> Iterator[str]:
    yield from ("", f"### {cls.title}", "", what_it_does(cls), "")
    yield f"- **Use it.** {cls.when}"
    yield f"- **Cost.** {cls.cost}"
    yield "- **Paper.** " + ARXIV.sub(r"[\g<0>](https://arxiv.org/abs/\1)", cls.paper)
    merges = "Yes, into the model's own weights." if cls.merges else "No, it stays an adapter beside the model."
    yield f"- **Merges.** {merges}"
    yield f"- **Learning rate.** Where none is set {cls.learning_rate:g}, which suits it for text; labels bear more."
    yield f"- **In a config.** `method: {{name: {key}}}`; [its settings](settings.md#method-name-{key})."


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
