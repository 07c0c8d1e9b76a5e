"""A learnt prompt that a small network writes."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._prompts import Prompted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Ptuning(Prompted):
    """Learn a prompt's embeddings through a small network, so that they move together; freeze the model.

    Liu et al. 2021, arXiv:2103.10385, section 2. Only the finished prompt is kept, not the network.
    """

    title: ClassVar[str] = "P-tuning"
    about: ClassVar[str] = "Prompt tuning whose prompt comes from a small network; learns faster at first."
    paper: ClassVar[str] = "Liu et al. 2021, arXiv:2103.10385"
    when: ClassVar[str] = "As prompt tuning, where that learns too slowly. It cannot be trained on later."
    cost: ClassVar[str] = "Less memory than LoRA and a few KB on disk; each virtual token costs time in every row."
    learning_rate: ClassVar[float] = 1e-3

    encoder_hidden_size: int = setting(
        128,
        "Network's width",
        ge=1,
        le=8192,
        help="Of its hidden layers.",
        source="Liu et al. 2021, arXiv:2103.10385, section 2.2",
    )

    def trainable(self, structure: Structure) -> int:
        """See Method: the prompt, and a network of three layers with biases."""
        width, narrow = Flow(structure).hidden, self.encoder_hidden_size
        return self.num_virtual_tokens * width + narrow * (2 * width + narrow + 2) + width

    def peft_config(self) -> Any:
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            num_virtual_tokens=self.num_virtual_tokens, encoder_hidden_size=self.encoder_hidden_size
        )
