"""Low-rank updates of shared random matrices."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, chosen_layers
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Vera(Targeted):
    """Learn W + diag(b) B diag(d) A, where all layers share the random, frozen A and B.

    Kopiczko et al. 2023, arXiv:2310.11454, section 3. b starts at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "VeRA"
    about: ClassVar[str] = "Learns two vectors a layer that scale random matrices: ten times fewer weights than LoRA."
    paper: ClassVar[str] = "Kopiczko et al. 2023, arXiv:2310.11454"
    when: ClassVar[str] = "When many adapters are kept for one base, or little data asks for few weights."
    cost: ClassVar[str] = "About LoRA's time at its higher rank; the random matrices, a few MB, are saved along."
    learning_rate: ClassVar[float] = 1e-2
    kept_outputs: ClassVar[float] = 2

    r: int = setting(
        256,
        "Rank",
        ge=1,
        le=4096,
        help="Of the random matrices. It costs next to no weights, so it may be high.",
        source="Kopiczko et al. 2023, arXiv:2310.11454, section 4",
    )
    d_initial: float = setting(
        0.1,
        "First scale",
        gt=0,
        le=1,
        advanced=True,
        search=(1e-7, 1),
        help="What d begins as. The paper found 0.1 and 1e-7 good, each on other tasks.",
        source="Kopiczko et al. 2023, arXiv:2310.11454, section 4.6",
    )

    def kept_whole(self, structure: Structure, product: int) -> int:
        """See Method. Each layer makes its own copy of its share of the matrices where products are not float32."""
        layers = chosen_layers(self.target_modules, structure.linear())
        return product * self.r * sum(map(sum, layers.values())) if product < 4 else 0

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.r * len(layers) + flow.outputs(layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import VeraConfig

        return VeraConfig(r=self.r, d_initial=self.d_initial, save_projection=True)
