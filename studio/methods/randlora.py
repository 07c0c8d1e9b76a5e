"""Full-rank updates as sums of random low-rank ones."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.settings import setting


class Randlora(Targeted):
    """Learn how to scale and sum random low-rank matrices, frozen and shared by all layers, to a full rank.

    Albert et al. 2025, arXiv:2502.00987, section 4. Scales start at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "RandLoRA"
    about: ClassVar[str] = "Learns to mix random matrices: full rank from LoRA's number of weights or fewer."
    paper: ClassVar[str] = "Albert et al. 2025, arXiv:2502.00987"
    when: ClassVar[str] = "When raising LoRA's rank still helps, and there is data enough to use it."
    cost: ClassVar[str] = "More time than LoRA; the random matrices, a few MB, are saved along."
    learning_rate: ClassVar[float] = 1e-4

    r: int = setting(
        32,
        "Rank",
        ge=1,
        le=1024,
        help="Of each random matrix. A lower one means more of them, and more weights that learn.",
        source="Albert et al. 2025, arXiv:2502.00987, section 4",
    )
    randlora_alpha: int = setting(
        640,
        "Alpha",
        ge=1,
        le=20_480,
        advanced=True,
        help="How strongly the adapter speaks. Twenty times the rank is usual.",
        source="Albert et al. 2025, arXiv:2502.00987, appendix",
    )

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import RandLoraConfig

        return RandLoraConfig(r=self.r, randlora_alpha=self.randlora_alpha)
