"""One shared update for shards of each layer's inputs."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Miss(Targeted):
    """Learn one matrix D of rank x outputs a layer; inputs are summed in shards of `rank` and go through it.

    Kang and Yin 2024, arXiv:2409.15371, section 3 (MiSS, once called Bone). D starts at zero, so step 0 is
    the base model.
    """

    title: ClassVar[str] = "MiSS"
    about: ClassVar[str] = "Learns one matrix a layer in place of LoRA's two; begins fast."
    paper: ClassVar[str] = "Kang and Yin 2024, arXiv:2409.15371"
    when: ClassVar[str] = "As LoRA, when it should learn faster in the first steps."
    cost: ClassVar[str] = "Three quarters of LoRA's time; half its room on disk at the same rank."
    learning_rate: ClassVar[float] = 2e-4
    kept_inputs: ClassVar[float] = 0.5

    r: int = setting(
        16,
        "Rank",
        ge=1,
        le=1024,
        help="Rows of the matrix. The adapter's memory grows linearly with it.",
        source="Kang and Yin 2024, arXiv:2409.15371, section 3",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.r * flow.outputs(layers)

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import MissConfig

        return MissConfig(r=self.r)
