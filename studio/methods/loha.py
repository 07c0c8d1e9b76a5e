"""Updates that are the elementwise product of two low-rank matrices."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Loha(Targeted):
    """Learn W + (alpha / rank) (B1 A1) * (B2 A2), elementwise: a rank of up to rank² for twice LoRA's weights.

    Hyeon-Woo et al. 2021, arXiv:2108.06098, section 2.2. One factor starts at zero, so step 0 is the base.
    """

    title: ClassVar[str] = "LoHa"
    about: ClassVar[str] = "Multiplies two low-rank updates with each other: a high rank from few weights."
    paper: ClassVar[str] = "Hyeon-Woo et al. 2021, arXiv:2108.06098"
    when: ClassVar[str] = "When LoRA of the same size seems too narrow; best known from image models."
    cost: ClassVar[str] = "Two to three times LoRA's time, as each update is built whole; LoRA's room on disk."
    learning_rate: ClassVar[float] = 3e-3
    kept_weights: ClassVar[float] = 1

    r: int = setting(
        8,
        "Rank",
        ge=1,
        le=256,
        help="Of each of the two factors; the update's own rank is up to its square.",
        source="Hyeon-Woo et al. 2021, arXiv:2108.06098, proposition 2",
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
        return 2 * self.r * sum(map(sum, layers.values()))

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import LoHaConfig

        return LoHaConfig(r=self.r, alpha=self.alpha)
