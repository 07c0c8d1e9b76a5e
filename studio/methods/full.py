"""Every weight learns."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from studio.catalog import plain
from studio.methods import Method
from studio.models.flow import Flow
from studio.models.structure import Structure


class Full(Method):
    """Learn all weights of the base model itself, with nothing beside them.

    As in Howard and Ruder 2018, arXiv:1801.06146, and ever since; section 3.2 there says why the rate must
    be low.
    """

    title: ClassVar[str] = "Full fine-tuning"
    about: ClassVar[str] = "Learns every weight of the model; the yardstick for all the others."
    paper: ClassVar[str] = "Howard and Ruder 2018, arXiv:1801.06146"
    when: ClassVar[str] = (
        "With much data that differs from what the model knows, where memory allows it. On little data it "
        "memorises sooner and forgets more than the others."
    )
    cost: ClassVar[str] = (
        "16 bytes of memory a weight for weight, gradient and Adam's two averages, and 2 to 4 more in main memory "
        "for the weight as it was, so that the base can still answer; about one and a half times LoRA's time; "
        "4 bytes a weight on disk."
    )
    family: ClassVar[str] = "weights"
    learning_rate: ClassVar[float] = 5e-5
    dtype: ClassVar[str] = "float32"  # an update of a thousandth of a weight is lost in bfloat16
    learns_tokens: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def trainable(self, structure: Structure) -> int:
        return sum(map(prod, structure.weights.values()))

    def kept(self, structure: Structure) -> float:
        """See Method. Each layer keeps a copy of its own: the stream is float32, and is cast for each."""
        return Flow(structure).inputs(structure.linear(), shared=False)

    def leaner(self, *, gpu: bool) -> str:
        return "lora"

    def only_here(self) -> str:
        return ""

    def peft_config_for(self, structure: Structure, steps: int) -> None:
        return None

    def attach(self, model: Any, steps: int = 0) -> Any:
        from studio.models.own import InPlace

        return InPlace(model.requires_grad_(True), plain(self))

    def notes(self, device: str) -> list[str]:
        where = "memory" if device == "cpu" else "the GPU's memory"
        return [
            f"Full fine-tuning takes about 16 bytes of {where} a weight (weight, gradient, two averages of Adam): "
            "2 GB for a model of 135 million weights, 16 GB for one of a billion; batches come on top."
        ]
