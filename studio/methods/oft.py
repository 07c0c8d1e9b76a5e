"""Rotations of each layer's inputs."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_divides, chosen_layers
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Oft(Targeted):
    """Learn W R with R orthogonal and block-diagonal: angles between what neurons look for stay as they are.

    Qiu et al. 2023, arXiv:2306.07280; on the inputs' side as in 2025, arXiv:2506.19847. R starts as the
    identity, so step 0 is the base model.
    """

    title: ClassVar[str] = "OFT"
    about: ClassVar[str] = "Rotates each layer's inputs instead of adding to its weights."
    paper: ClassVar[str] = "Qiu et al. 2023, arXiv:2306.07280"
    when: ClassVar[str] = "When the model must keep what it knows: a rotation cannot blow weights up."
    cost: ClassVar[str] = "Three quarters of LoRA's time; half its room on disk."
    learning_rate: ClassVar[float] = 1e-3
    kept_inputs: ClassVar[float] = 0
    kept_outputs: ClassVar[float] = 1

    oft_block_size: int = setting(
        32,
        "Block size",
        ge=2,
        le=1024,
        help="Inputs are rotated in groups of so many. Larger learns more and costs more; it must divide "
        "every adapted layer's widths.",
        source="Qiu et al. 2023, arXiv:2306.07280, section 3.3",
    )

    def kept_whole(self, structure: Structure, product: int) -> int:
        """See Method. Of each rotation, as large as two of its weights that learn, some powers in float32; measured."""
        return 30 * self.count(chosen_layers(self.target_modules, structure.linear()), Flow(structure))

    def count(self, layers: Layers, flow: Flow) -> int:
        return flow.inputs(layers, shared=False) * (self.oft_block_size - 1) // 2

    def check_layers(self, layers: Layers) -> None:
        check_divides("Block size", self.oft_block_size, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import OFTConfig

        return OFTConfig(oft_block_size=self.oft_block_size)
