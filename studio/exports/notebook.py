"""A run as a notebook that needs no studio."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from studio.exports import Export, Source, Tell
from studio.exports import _texts as texts
from studio.exports._recipe import Part, check, recipe, room, zipped


class Notebook(Export):
    """The script's own code, a cell for each step, with what it does above it."""

    title: ClassVar[str] = "Notebook"
    about: ClassVar[str] = "The same as the script, step by step with explanations, for Jupyter or Colab."
    ending: ClassVar[str] = ".zip"

    def check(self, source: Source) -> None:
        check(source)

    def room(self, source: Source) -> int:
        return room(source)

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
            made = recipe(source, Path(scratch), tell)
            zipped(to, {"train.ipynb": json.dumps(written(made.parts), indent=1, ensure_ascii=False), **made.files})
        return made.told


def written(parts: list[Part]) -> dict[str, Any]:
    """As nbformat 4.5 has it, without outputs."""
    needed, settings, *others = parts
    shown = [
        ("markdown", texts.TITLE),
        *_cells(Part(needed.title, f"{needed.words}\n\n{texts.INSTALL}", texts.filled(needed.code, argparse=""))),
        *_cells(settings),
        *_cells(Part("Where things are", texts.WHERE, texts.HERE_NOTEBOOK + texts.HERE)),
        *(cell for part in others for cell in _cells(part)),
    ]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(at, kind, text) for at, (kind, text) in enumerate(shown)],
    }


def _cells(part: Part) -> list[tuple[str, str]]:
    return [("markdown", f"## {part.title}\n\n{part.words}"), ("code", part.code.strip("\n"))]


def _cell(at: int, kind: str, text: str) -> dict[str, Any]:
    cell = {
        "cell_type": kind,
        "id": hashlib.sha256(f"{at} {kind}".encode()).hexdigest()[:8],
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell
