"""Low-rank updates that multiply the frozen weights."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Hira(Targeted):
    """Learn W + W * (B A), elementwise: the update has the rank of the weight itself.

    Huang et al. 2025, ICLR, openreview.net/forum?id=TwJrTz9cRS, section 3. B starts at zero, so step 0 is
    the base model.
    """

    title: ClassVar[str] = "HiRA"
    about: ClassVar[str] = "Multiplies the frozen weights with a low-rank update: a high rank for LoRA's weights."
    paper: ClassVar[str] = "Huang et al. 2025, ICLR, openreview.net/forum?id=TwJrTz9cRS"
    when: ClassVar[str] = "On harder tasks, such as reasoning, where LoRA's rank is too low."
    cost: ClassVar[str] = "About twice LoRA's time, as each update is built whole; twice its room on disk."
    learning_rate: ClassVar[float] = 3e-3
    kept_weights: ClassVar[float] = 1

    r: int = setting(
        32,
        "Rank",
        ge=1,
        le=1024,
        help="Of the two factors. The adapter's memory grows linearly with it.",
        source="Huang et al. 2025, section 4",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.r * sum(map(sum, layers.values()))

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import HiraConfig

        return HiraConfig(r=self.r)
