"""Many sets of examples, of which the better halves go on."""

from __future__ import annotations

from typing import ClassVar

from studio.prompts import Bench
from studio.prompts._examples import WithExamples, drawn, race
from studio.settings import setting


class Halving(WithExamples):
    """All sets on a few rows, the better half on twice as many, and so on to all rows.

    Successive halving: Jamieson & Talwalkar 2016, arXiv:1502.07943. That examples help small models more than other
    instructions do: Wan et al. 2024, arXiv:2406.15708.
    """

    title: ClassVar[str] = "Examples, by halves"
    about: ClassVar[str] = "Tries many sets of examples on a few rows, and the better half of them on twice as many."

    sets: int = setting(
        32,
        "Sets",
        ge=2,
        le=10_000,
        help="How many begin. Each doubling of them takes about one more look at all rows by the last few.",
        source="Jamieson & Talwalkar 2016, arXiv:1502.07943",
    )
    few: int = setting(
        4,
        "Rows at first",
        ge=1,
        le=1_000,
        advanced=True,
        help="The first look at all sets takes so many rows or up to twice as many. More of them err less, and cost.",
        source="Jamieson & Talwalkar 2016, arXiv:1502.07943",
    )

    def search(self, bench: Bench) -> None:
        race(bench, list(drawn(bench, self.shots, self.sets)), self.few)
