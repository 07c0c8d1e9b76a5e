"""One learnt factor for each output of chosen layers."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers
from studio.methods._targeted import Targeted
from studio.models.flow import Flow


class Ia3(Targeted):
    """Learn l in l * (W x): each output of the chosen layers grows or shrinks.

    Liu et al. 2022, arXiv:2205.05638, section 3.3, which scales keys, values and the feed-forward part
    within; here every chosen layer. l starts at one, so step 0 is the base model.
    """

    title: ClassVar[str] = "(IA)³"
    about: ClassVar[str] = "Learns to turn each output of the layers up or down: thirty times fewer weights than LoRA."
    paper: ClassVar[str] = "Liu et al. 2022, arXiv:2205.05638"
    when: ClassVar[str] = "On a few dozen rows, or where thousands of adapters must fit on one disk."
    cost: ClassVar[str] = "Less time and memory than LoRA; a few hundred KB on disk."
    family: ClassVar[str] = "inserted"
    learning_rate: ClassVar[float] = 1e-2
    kept_inputs: ClassVar[float] = 0
    kept_outputs: ClassVar[float] = 1

    def count(self, layers: Layers, flow: Flow) -> int:
        return flow.outputs(layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import IA3Config

        return IA3Config(feedforward_modules=[])
