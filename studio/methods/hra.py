"""A chain of reflections before each layer."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.settings import setting


class Hra(Targeted):
    """Learn W H1 ... Hr with Householder reflections H = 1 - 2 u u' / |u|²: low-rank and orthogonal at once.

    Yuan et al. 2024, arXiv:2405.17484, section 3. Reflections come in equal pairs that undo each other, so
    step 0 is the base model.
    """

    title: ClassVar[str] = "HRA"
    about: ClassVar[str] = "Reflects each layer's inputs a few times: between LoRA and rotations such as OFT."
    paper: ClassVar[str] = "Yuan et al. 2024, arXiv:2405.17484"
    when: ClassVar[str] = "As OFT, where no block size fits the layers or fewer weights should learn."
    cost: ClassVar[str] = "Two to three times LoRA's time; half its room on disk at the same rank."
    learning_rate: ClassVar[float] = 1e-3

    r: int = setting(
        8,
        "Reflections",
        ge=2,
        le=256,
        multiple_of=2,
        help="An even number; each learns one vector a layer.",
        source="Yuan et al. 2024, arXiv:2405.17484, section 3",
    )

    def check_layers(self, layers: Layers) -> None:
        check_rank(self.r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import HRAConfig

        return HRAConfig(r=self.r)
