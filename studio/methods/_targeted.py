"""What peft's methods that change chosen linear layers have in common."""

from __future__ import annotations

from typing import Any

from studio.errors import ConfigError
from studio.methods import Method, task_type
from studio.methods._layers import ALL_LINEAR, Layers, chosen_layers, linear_layers
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Targeted(Method):
    """Base of peft's methods that put something beside chosen layers. Weights that learn are float32.

    Small updates vanish in bfloat16, so that they are, whatever the base is.
    """

    target_modules: str = setting(
        ALL_LINEAR,
        "Adapted layers",
        help="'all-linear' adapts every linear layer but the output. Or names with commas, such as 'q_proj, v_proj'.",
        source="Dettmers et al. 2023, arXiv:2305.14314, section 4",
        min_length=1,
    )

    def peft_config(self, layers: Layers, steps: int) -> Any:
        """The peft config for the chosen `layers` and a run of `steps`; what all methods share is filled in later."""
        raise NotImplementedError

    def check_layers(self, layers: Layers) -> None:
        """Raise ConfigError where the settings do not fit the chosen `layers`."""

    def count(self, layers: Layers, flow: Flow) -> int:
        """How many weights learn beside the chosen `layers`."""
        raise NotImplementedError

    def trainable(self, structure: Structure) -> int | None:
        return self.count(chosen_layers(self.target_modules, structure.linear()), Flow(structure))

    def check(self, structure: Structure) -> None:
        self.check_layers(chosen_layers(self.target_modules, structure.linear()))

    def only_here(self) -> str:
        return ""

    def peft_config_for(self, structure: Structure, steps: int) -> Any:
        config = self._whole_config(chosen_layers(self.target_modules, structure.linear()), steps)
        config.task_type = "CAUSAL_LM"
        return config

    def attach(self, model: Any, steps: int = 0) -> Any:
        """See Method. Raises ConfigError for kinds of layers that peft's method does not know, too."""
        from peft import get_peft_model

        layers = chosen_layers(self.target_modules, linear_layers(model))
        self.check_layers(layers)
        config = self._whole_config(layers, steps)
        config.task_type = task_type(model)
        if self.learns_tokens and (added := getattr(model, "new_token_ids", None)):
            config.trainable_token_indices = list(added)
        try:
            return get_peft_model(model, config)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigError(
                f"{self.title} cannot change the layers of this model ({str(error).split('. ')[0][:200].rstrip('.')}).",
                remedy="Choose LoRA, which can, or other layers.",
            ) from error

    def _whole_config(self, layers: Layers, steps: int) -> Any:
        config = self.peft_config(layers, steps)
        config.target_modules = ALL_LINEAR if self.target_modules.strip() == ALL_LINEAR else set(layers)
        return config
