"""Updates that are Kronecker products."""

from __future__ import annotations

from math import isqrt
from typing import Any, ClassVar

from studio.methods._layers import Layers
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Lokr(Targeted):
    """Learn W + (alpha / rank) C x (B A), a Kronecker product of a small matrix and a low-rank one.

    Yeh et al. 2023, arXiv:2309.14859, section 3.2. One factor starts at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "LoKr"
    about: ClassVar[str] = "Learns a small pattern and how it repeats over each weight: very few weights, full rank."
    paper: ClassVar[str] = "Yeh et al. 2023, arXiv:2309.14859"
    when: ClassVar[str] = "When the adapter must be tiny; best known from image models."
    cost: ClassVar[str] = "About twice LoRA's time; a tenth of its room on disk."
    learning_rate: ClassVar[float] = 3e-3
    kept_weights: ClassVar[float] = 1

    r: int = setting(
        16,
        "Rank",
        ge=1,
        le=256,
        help="Of the larger factor; where that factor is small it is learnt whole.",
        source="Yeh et al. 2023, arXiv:2309.14859, section 3.2",
    )
    alpha: int = setting(
        16,
        "Alpha",
        ge=1,
        le=1024,
        help="How strongly the adapter speaks: its output is multiplied by alpha / rank.",
        source="Yeh et al. 2023, arXiv:2309.14859, section 3",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return sum(self._count(*shape) for shape in layers.values())

    def _count(self, one: int, other: int) -> int:
        (small, large), (narrow, wide) = _factors(one), _factors(other)
        whole = 2 * self.r >= max(large, wide)
        return small * narrow + (large * wide if whole else self.r * (large + wide))

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import LoKrConfig

        return LoKrConfig(r=self.r, alpha=self.alpha)


def _factors(width: int) -> tuple[int, int]:
    """The two nearest to each other whose product is `width`, the smaller first; as peft chooses them."""
    small = next(each for each in range(isqrt(width), 0, -1) if width % each == 0)
    return small, width // small
