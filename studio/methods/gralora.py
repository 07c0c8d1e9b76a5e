"""Many small LoRAs, one for each block of a weight."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.errors import ConfigError
from studio.methods._layers import Layers, check_divides, check_rank
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Gralora(Targeted):
    """Cut each weight into k x k blocks and learn a LoRA of rank r / k for each.

    Jung et al. 2025, arXiv:2505.20355, section 3. Every B starts at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "GraLoRA"
    about: ClassVar[str] = "Gives each block of a weight its own small LoRA: a higher rank for LoRA's weights."
    paper: ClassVar[str] = "Jung et al. 2025, arXiv:2505.20355"
    when: ClassVar[str] = "At ranks of 32 and more, where LoRA's gain ends."
    cost: ClassVar[str] = "About LoRA's time and memory; twice its room on disk."
    learning_rate: ClassVar[float] = 2e-4
    kept_outputs: ClassVar[float] = 1.25

    r: int = setting(
        32,
        "Rank",
        ge=1,
        le=256,
        help="As many weights learn as in a LoRA of this rank. 'Blocks' must divide it.",
        source="Jung et al. 2025, arXiv:2505.20355, section 3",
    )
    alpha: int = setting(
        64,
        "Alpha",
        ge=1,
        le=1024,
        help="How strongly the adapter speaks: its output is multiplied by alpha / rank.",
        source="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    )
    gralora_k: int = setting(
        2,
        "Blocks",
        ge=1,
        le=64,
        advanced=True,
        help="Along each side of a weight. 2 up to rank 32, 4 above.",
        source="Jung et al. 2025, arXiv:2505.20355, section 4",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.r * sum(map(sum, layers.values()))

    def check_layers(self, layers: Layers) -> None:
        if self.r % self.gralora_k:
            raise ConfigError(
                f"'Blocks' is {self.gralora_k}, which does not divide 'Rank', {self.r}.", remedy="Set it to 2 or 4."
            )
        check_divides("Blocks", self.gralora_k, layers)
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import GraloraConfig

        return GraloraConfig(r=self.r, alpha=self.alpha, gralora_k=self.gralora_k)
