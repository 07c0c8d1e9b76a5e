"""Updates made of circular convolutions."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from studio.methods._layers import Layers, check_divides, shared_divisor
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class C3a(Targeted):
    """Learn an update of circulant blocks: each has one row, which is shifted by one to make the next.

    Chen et al. 2024, arXiv:2407.19342, section 3. Blocks start at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "C³A"
    about: ClassVar[str] = "Learns updates of blocks that are circular convolutions: full rank, few weights."
    paper: ClassVar[str] = "Chen et al. 2024, arXiv:2407.19342"
    when: ClassVar[str] = "When the adapter must be small without its rank being low."
    cost: ClassVar[str] = (
        "Two to three times LoRA's time on a CPU, for Fourier transforms; a tenth of its room on disk."
    )
    learning_rate: ClassVar[float] = 1e-1
    kept_inputs: ClassVar[float] = 0
    kept_outputs: ClassVar[float] = 2

    block_size: int | None = setting(
        None,
        "Block size",
        ge=1,
        le=65_536,
        help="Of a block; smaller learns more and costs more. It must divide every adapted layer's widths. "
        "Empty: the largest that does.",
        source="Chen et al. 2024, arXiv:2407.19342, section 3.3",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return sum(map(prod, layers.values())) // (self.block_size or shared_divisor(layers))

    def check_layers(self, layers: Layers) -> None:
        if self.block_size is not None:
            check_divides("Block size", self.block_size, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import C3AConfig

        return C3AConfig(block_size=self.block_size or shared_divisor(layers), init_weights=True)
