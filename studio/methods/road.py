"""Pairs of outputs, rotated and scaled."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from studio.methods._layers import Layers, check_divides
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Road(Targeted):
    """Learn an angle and a length for each pair of a layer's outputs.

    Liao et al. 2024, arXiv:2409.00119, section 3. Angles start at zero and lengths at one, so step 0 is the
    base model.
    """

    title: ClassVar[str] = "RoAd"
    about: ClassVar[str] = "Rotates and scales each layer's outputs in pairs: thirty times fewer weights than LoRA."
    paper: ClassVar[str] = "Liao et al. 2024, arXiv:2409.00119"
    when: ClassVar[str] = "On little data, or where thousands of adapters must fit on one disk, as (IA)³."
    cost: ClassVar[str] = "About LoRA's time; a few hundred KB on disk."
    family: ClassVar[str] = "inserted"
    learning_rate: ClassVar[float] = 1e-2
    kept_inputs: ClassVar[float] = 0
    kept_outputs: ClassVar[float] = 2

    variant: Literal["road_1", "road_2", "road_4"] = setting(
        "road_1",
        "Variant",
        help="Learnt numbers for each output: one, two, or four.",
        source="Liao et al. 2024, arXiv:2409.00119, table 1",
    )
    group_size: int = setting(
        32,
        "Group size",
        ge=2,
        le=1024,
        multiple_of=2,
        advanced=True,
        help="Which outputs make a pair: those half a group apart. It changes speed, hardly what is learnt.",
        source="Liao et al. 2024, arXiv:2409.00119, section 3",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return int(self.variant.removeprefix("road_")) * flow.outputs(layers)

    def check_layers(self, layers: Layers) -> None:
        check_divides("Group size", self.group_size, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import RoadConfig

        return RoadConfig(variant=self.variant, group_size=self.group_size)
