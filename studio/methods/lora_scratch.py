"""LoRA in our own words, to be read."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.catalog import plain
from studio.methods import Method
from studio.methods._layers import ALL_LINEAR, check_rank, chosen_layers, linear_layers
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class LoraScratch(Method):
    """LoRA without a library: each chosen layer is put into the module in `_lora_linear.py`, which is all of it.

    Hu et al. 2021, arXiv:2106.09685, section 4.1. With the same A and B it gives the outputs and
    gradients of peft's.
    """

    title: ClassVar[str] = "LoRA from scratch"
    about: ClassVar[str] = "LoRA in forty lines that can be read, for learning how it works."
    paper: ClassVar[str] = "Hu et al. 2021, arXiv:2106.09685"
    when: ClassVar[str] = "To understand or to teach LoRA, or to try a change to it. It learns what LoRA learns."
    cost: ClassVar[str] = "As LoRA."
    family: ClassVar[str] = "teaching"

    r: int = setting(
        16, "Rank", ge=1, le=256, help="How many features of its input each layer's update reads, and so writes."
    )
    lora_alpha: float = setting(
        32, "Alpha", gt=0, le=1024, search=(1, 256), help="The update is multiplied by alpha / rank."
    )
    lora_dropout: float = setting(
        0.0,
        "Dropout",
        ge=0.0,
        lt=1.0,
        search=(0.0, 0.3),
        help="Share of the update's inputs left out at random while training.",
        source="Hu et al. 2021, arXiv:2106.09685, appendix D",
    )
    target_modules: str = setting(
        ALL_LINEAR,
        "Adapted layers",
        help="'all-linear' adapts every linear layer but the output. Or names with commas, such as 'q_proj, v_proj'.",
        source="Hu et al. 2021, arXiv:2106.09685, section 7.1",
        min_length=1,
    )

    def check(self, structure: Structure) -> None:
        check_rank(self.r, chosen_layers(self.target_modules, structure.linear()))

    def trainable(self, structure: Structure) -> int:
        chosen = chosen_layers(self.target_modules, structure.linear())
        return sum(self.r * (inputs + outputs) for inputs, outputs in chosen.values())

    def kept(self, structure: Structure) -> float:
        """See Method. Each layer keeps a copy of its own, as it casts its input itself."""
        chosen = chosen_layers(self.target_modules, structure.linear())
        return Flow(structure).inputs(chosen, shared=False) + self.r * len(chosen)

    def attach(self, model: Any, steps: int = 0) -> Any:
        from studio.methods._lora_linear import LoraLinear
        from studio.models.own import Around

        chosen = chosen_layers(self.target_modules, linear_layers(model))
        check_rank(self.r, chosen)
        settings = {"r": self.r, "lora_alpha": self.lora_alpha, "lora_dropout": self.lora_dropout}
        wrappers = {name: LoraLinear(model.get_submodule(name), *shape, **settings) for name, shape in chosen.items()}
        return Around(model, plain(self), wrappers)
