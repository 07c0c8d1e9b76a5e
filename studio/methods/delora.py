"""Low-rank updates of bounded strength."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.settings import setting


class Delora(Targeted):
    """Learn W + lambda |W| / rank * sum of b a' / (|b| |a|): directions apart from one strength a layer.

    Bini et al. 2025, arXiv:2503.18225, section 3. What the update begins with is taken off again, so step 0
    is the base model.
    """

    title: ClassVar[str] = "DeLoRA"
    about: ClassVar[str] = "LoRA whose strength is bounded and learnt apart from its directions: hard to derail."
    paper: ClassVar[str] = "Bini et al. 2025, arXiv:2503.18225"
    when: ClassVar[str] = "When LoRA's loss jumps, or rates and lengths of runs cannot be tried out."
    cost: ClassVar[str] = "A little more time than LoRA; its room on disk."
    learning_rate: ClassVar[float] = 1e-3

    r: int = setting(
        16,
        "Rank",
        ge=1,
        le=256,
        help="How much can be learnt. The adapter's memory grows linearly with it.",
        source="Bini et al. 2025, arXiv:2503.18225, section 3",
    )
    delora_lambda: int = setting(
        15,
        "First strength",
        ge=1,
        le=1000,
        advanced=True,
        help="What lambda begins as: how far weights can move at first.",
        source="Bini et al. 2025, arXiv:2503.18225, section 4",
    )

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import DeloraConfig

        return DeloraConfig(r=self.r, delora_lambda=self.delora_lambda)
