"""What methods that learn a prompt have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods import Method
from studio.models.structure import Structure
from studio.settings import setting


class Prompted(Method):
    """Base of methods that freeze the whole model and learn what stands in front of every text.

    Step 0 is not the base model: whatever stands in front changes what comes after.
    """

    family: ClassVar[str] = "prompt"
    merges: ClassVar[bool] = False  # nothing of it is a weight's update
    starts_at_base: ClassVar[bool] = False
    writes_only: ClassVar[bool] = True  # peft cannot switch a prompt off in a model that only reads
    pads: ClassVar[bool] = True

    num_virtual_tokens: int = setting(
        20,
        "Virtual tokens",
        ge=1,
        le=1000,
        unit="tokens",
        help="Length of the learnt prompt. 20 to 100 is usual; each costs the time of a token in every row.",
        source="Lester et al. 2021, arXiv:2104.08691, section 3.2",
    )

    def in_front(self) -> int:
        return self.num_virtual_tokens

    def peft_config(self) -> Any:
        """The peft config; its task is filled in later."""
        raise NotImplementedError

    def only_here(self) -> str:
        return ""

    def peft_config_for(self, structure: Structure, steps: int) -> Any:
        config = self.peft_config()
        config.task_type = "CAUSAL_LM"
        return config

    def attach(self, model: Any, steps: int = 0) -> Any:
        from peft import get_peft_model

        return get_peft_model(model, self.peft_config_for(Structure({}), steps))
