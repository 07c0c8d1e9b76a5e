"""A learnt prompt of embeddings."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.errors import ConfigError
from studio.methods._prompts import Prompted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Prompt(Prompted):
    """Learn the embeddings of a few virtual tokens in front of every text; freeze the model.

    Lester et al. 2021, arXiv:2104.08691, section 2. They begin as those of a text, or of tokens drawn at
    random from the vocabulary.
    """

    title: ClassVar[str] = "Prompt tuning"
    about: ClassVar[str] = "Learns a prompt that no words could say; the model itself stays as it is."
    paper: ClassVar[str] = "Lester et al. 2021, arXiv:2104.08691"
    when: ClassVar[str] = "With large models, of billions of weights; on small ones it falls well short of LoRA."
    cost: ClassVar[str] = "Less memory than LoRA and a few KB on disk; each virtual token costs time in every row."
    learning_rate: ClassVar[float] = 3e-2

    prompt_tuning_init_text: str = setting(
        "",
        "First text",
        max_length=2000,
        help="What the prompt begins as, such as 'Answer in one polite sentence.'; cut or repeated to its length. "
        "Empty: tokens drawn at random.",
        source="Lester et al. 2021, arXiv:2104.08691, section 3.2",
    )

    def trainable(self, structure: Structure) -> int:
        return self.num_virtual_tokens * Flow(structure).hidden

    def only_here(self) -> str:
        return "a first text is put in by the studio's own code" if self.prompt_tuning_init_text.strip() else ""

    def peft_config(self) -> Any:
        from peft import PromptTuningConfig

        # The text is put in below: peft would ask for the tokenizer again whenever the adapter is loaded.
        return PromptTuningConfig(num_virtual_tokens=self.num_virtual_tokens, prompt_tuning_init="SAMPLE_VOCAB")

    def attach(self, model: Any, steps: int = 0) -> Any:
        """See Method. A first text needs the model's tokenizer as `model.tokenizer`."""
        rows = self._first_rows(model)
        attached = super().attach(model, steps)
        if rows is not None:
            attached.prompt_encoder["default"].embedding.weight.data.copy_(rows)
        return attached

    def _first_rows(self, model: Any) -> Any | None:
        import torch

        if not self.prompt_tuning_init_text.strip():
            return None
        ids = model.tokenizer(self.prompt_tuning_init_text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ConfigError("'First text' holds no token.", remedy="Write a sentence, or leave it empty.")
        repeated = (ids * self.num_virtual_tokens)[: self.num_virtual_tokens]
        return model.get_input_embeddings().weight[torch.tensor(repeated)]
