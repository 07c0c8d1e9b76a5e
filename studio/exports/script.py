"""A run as a script that needs no studio."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path
from typing import ClassVar

from studio.exports import Export, Source, Tell
from studio.exports import _texts as texts
from studio.exports._recipe import Part, check, recipe, room, zipped

_WIDE = 100  # of the lines that part it


class Script(Export):
    """One file to read from top to bottom, and to run, with the rows beside it."""

    title: ClassVar[str] = "Python script"
    about: ClassVar[str] = (
        "The run as one readable file of transformers, peft and torch, with its rows: it gives the same losses without "
        "the studio."
    )
    ending: ClassVar[str] = ".zip"

    def check(self, source: Source) -> None:
        check(source)

    def room(self, source: Source) -> int:
        return room(source)

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
            made = recipe(source, Path(scratch), tell)
            zipped(to, {"train.py": written(made.parts), **made.files})
        return made.told


def written(parts: list[Part]) -> str:
    """The program as one file."""
    needed, settings, *others = parts
    where = Part("Where things are", texts.WHERE, texts.HERE_SCRIPT + texts.HERE)
    imports = texts.filled(needed.code, argparse="import argparse\n")
    return texts.HEAD + "\n".join([imports, *map(_stretch, (settings, where, *others))])


def _stretch(part: Part) -> str:
    wrapped = (textwrap.wrap(paragraph, texts.WIDE) for paragraph in part.words.split("\n\n"))
    lines = "\n\n".join(map("\n".join, wrapped)).splitlines()
    said = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return f"\n# -- {part.title} {'-' * (_WIDE - len(part.title))}\n{said}\n{part.code}"
