"""A run as a model card: what the model is, what it was made of, how good it is and what is not known of it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from studio.exports import Export, Source, Tell
from studio.exports._card import Weights, page
from studio.exports._curves import drawing
from studio.exports._recipe import zipped
from studio.store import Store

README, CURVES = "README.md", "curves.svg"


class Card(Export):
    """README.md with the front matter that the Hub reads, and the curves as a picture beside it."""

    title: ClassVar[str] = "Model card"
    about: ClassVar[str] = (
        "What people must know before they use the model: its data, its settings, its scores and its limits, as a page "
        "for the Hub."
    )
    ending: ClassVar[str] = ".zip"

    def check(self, source: Source) -> None:
        """Any run that has ended has something to tell."""

    def room(self, source: Source) -> int:
        return 2_000_000

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        tell("Writing the card", 0, 1)
        files = model_card(source)
        zipped(to, dict(files))
        return [f"It is {len(files[README].split()):,} words: read it before you publish it."]


def model_card(source: Source, weights: Weights = "adapter") -> dict[str, str]:
    """File name → text, to lie beside such weights. Imports no torch."""
    curves = drawing(Store(source.workspace).points(source.state.id))
    text = page(source, CURVES if curves else "", weights)
    return {README: text, CURVES: curves} if curves else {README: text}
