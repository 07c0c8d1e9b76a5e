"""Learnt keys and values in front of every layer."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._prompts import Prompted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Prefix(Prompted):
    """Learn keys and values that every layer attends to as if they stood in front of the text.

    Li and Liang 2021, arXiv:2101.00190, section 4. They begin at zero rather than at random, which starts
    near the base model: attention to them adds nothing, but takes its share.
    """

    title: ClassVar[str] = "Prefix tuning"
    about: ClassVar[str] = "Learns what every layer remembers before the text begins."
    paper: ClassVar[str] = "Li and Liang 2021, arXiv:2101.00190"
    when: ClassVar[str] = "Where prompt tuning falls short: it reaches into every layer."
    cost: ClassVar[str] = "Less memory and time than LoRA; under a MB on disk. It rules gradient checkpointing out."
    learning_rate: ClassVar[float] = 3e-2
    checkpoints: ClassVar[bool] = False  # transformers drops what stands in front when it recomputes a layer

    prefix_projection: bool = setting(
        False,
        "Projection",
        advanced=True,
        help="Learn the keys and values through a small network: steadier, with a rate of about 1e-3. "
        "Such a run cannot be trained on later.",
        source="Li and Liang 2021, arXiv:2101.00190, section 4.3",
    )
    encoder_hidden_size: int = setting(
        128,
        "Projection's width",
        ge=1,
        le=8192,
        advanced=True,
        help="Of that network's hidden layer; it is left behind once the training is done.",
        source="Li and Liang 2021, arXiv:2101.00190, section 4.3",
    )

    def trainable(self, structure: Structure) -> int:
        """See Method: keys and values, or what a network of two layers with biases makes them from."""
        remembered = Flow(structure).remembered
        if not self.prefix_projection:
            return self.num_virtual_tokens * remembered
        width, narrow = remembered // (2 * max(1, len(structure.blocks()))), self.encoder_hidden_size
        return (self.num_virtual_tokens + narrow) * width + narrow + (narrow + 1) * remembered

    def peft_config(self) -> Any:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.prefix_projection,
            encoder_hidden_size=self.encoder_hidden_size,
            init_weights="zero",
        )
