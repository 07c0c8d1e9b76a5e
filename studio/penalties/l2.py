"""L2-SP: stay near the starting point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from studio.methods import Part
from studio.penalties import Penalty, learning
from studio.settings import setting


class StartingPoint(Penalty):
    """alpha / 2 * ||theta - theta*||^2 over the weights that learn; theta* is where they start.

    Li et al. 2018, arXiv:1802.01483, eq. 3. Unlike weight decay it pulls to the pre-trained weights, not to zero,
    and unlike EWC it holds all weights alike and needs no old data. For LoRA, whose B starts at zero, it keeps the
    update small.
    """

    title: ClassVar[str] = "Near the start (L2-SP)"
    about: ClassVar[str] = "Holds all weights near where they started; needs no old data."
    held: ClassVar[int] = 8  # where the weight started, and how far it has moved

    alpha: float = setting(
        0.01,
        "Strength",
        gt=0,
        le=1e6,
        help="Of the pull back. 0.001 to 0.1 is usual.",
        source="Li et al. 2018, arXiv:1802.01483, section 4.2",
    )

    def prepare(self, model: Any, batches: Iterable[Any], loss: Callable[[Any], tuple[Any, int]]) -> Part:
        weights = learning(model)
        start = {name: weight.detach().clone() for name, weight in weights.items()}

        def penalty(_: Any) -> Any:
            moved = ((weight - start[name]).float().square().sum() for name, weight in weights.items())
            return self.alpha / 2 * sum(moved)

        return penalty
