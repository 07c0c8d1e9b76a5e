"""Writes train.jsonl beside this file from the modules in code/, the same bytes every time.

    python -m assets.samples.code_folder.make

The modules are read as text. Their docstrings hold examples that can be checked with doctest.
"""

from __future__ import annotations

from pathlib import Path

from assets.samples.shared.grammar import Row, write

FOLDER = Path(__file__).resolve().parent


def make() -> list[Row]:
    """A row for each module, by name."""
    paths = sorted((FOLDER / "code").glob("*.py"))
    return [{"path": path.name, "language": "python", "text": path.read_text(encoding="utf-8")} for path in paths]


if __name__ == "__main__":
    write(FOLDER / "train.jsonl", make())
