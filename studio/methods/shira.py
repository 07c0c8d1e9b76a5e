"""A few entries of each weight learn."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_fits
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Shira(Targeted):
    """Learn entries of each weight that were drawn at random, one or two in a hundred, and freeze the rest.

    Bhardwaj et al. 2024, arXiv:2406.13175, section 3. Updates start at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "SHiRA"
    about: ClassVar[str] = "Learns a random few of each weight's own entries: a sparse update of high rank."
    paper: ClassVar[str] = "Bhardwaj et al. 2024, arXiv:2406.13175"
    when: ClassVar[str] = "When several adapters are to be added onto one base: they rarely touch the same entries."
    cost: ClassVar[str] = "A fifth more time than LoRA; three times its room on disk."
    learning_rate: ClassVar[float] = 1e-3
    kept_weights: ClassVar[float] = 1

    r: int = setting(
        16,
        "Rank of equal size",
        ge=1,
        le=256,
        help="As many entries learn as a LoRA of this rank has weights.",
        source="Bhardwaj et al. 2024, arXiv:2406.13175, section 3",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.r * sum(map(sum, layers.values()))

    def check_layers(self, layers: Layers) -> None:
        check_fits("Rank of equal size", lambda one, other: self.r * (one + other), layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import ShiraConfig

        return ShiraConfig(r=self.r)
