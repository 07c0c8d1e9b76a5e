"""Random sets of examples."""

from __future__ import annotations

from typing import ClassVar

from studio.prompts import Bench
from studio.prompts._examples import WithExamples, drawn
from studio.settings import setting


class RandomExamples(WithExamples):
    """Each set is scored on all rows of the search.

    Random search over demonstrations, as in Khattab et al. 2023, arXiv:2310.03714, section 3.3, without a teacher:
    the answers shown are the data's own.
    """

    title: ClassVar[str] = "Random examples"
    about: ClassVar[str] = "Tries random sets of examples before the question, each on all rows."

    sets: int = setting(
        16,
        "Sets",
        ge=1,
        le=10_000,
        help="How many are tried, unless the budget ends first.",
        source="Khattab et al. 2023, arXiv:2310.03714",
    )

    def search(self, bench: Bench) -> None:
        for prompt, how in drawn(bench, self.shots, self.sets):
            bench.score(prompt, how=how)
