"""Low-rank adapters beside frozen layers."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.errors import ConfigError
from studio.methods import Method
from studio.settings import setting

ALL_LINEAR = "all-linear"


class Lora(Method):
    """Freeze the base model; learn a low-rank update W + (alpha / rank) B A beside chosen layers.

    Hu et al. 2021, arXiv:2106.09685, section 4.1. B starts at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "LoRA"
    about: ClassVar[str] = "Learns a small update beside the frozen weights; the usual choice."

    r: int = setting(
        16,
        "Rank",
        ge=1,
        le=256,
        help="How much can be learnt. The adapter's memory grows linearly with it; 8 to 32 is plenty for most data.",
        source="Hu et al. 2021, arXiv:2106.09685, section 7.2",
    )
    lora_alpha: float = setting(
        32,
        "Alpha",
        gt=0,
        le=1024,
        help="How strongly the adapter speaks: its output is multiplied by alpha / rank. Twice the rank is usual.",
        source="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    )
    lora_dropout: float = setting(
        0.0,
        "Dropout",
        ge=0.0,
        lt=1.0,
        help="Share of the adapter's inputs left out at random while training. 0.05 to 0.1 helps on small data.",
        source="Hu et al. 2021, arXiv:2106.09685, appendix D",
    )
    target_modules: str = setting(
        ALL_LINEAR,
        "Adapted layers",
        help="'all-linear' adapts every linear layer but the output. Or names with commas, such as 'q_proj, v_proj'.",
        source="Dettmers et al. 2023, arXiv:2305.14314, section 4",
        min_length=1,
    )
    use_rslora: bool = setting(
        False,
        "Rank-stabilised",
        advanced=True,
        help="Multiply by alpha / sqrt(rank) instead, so that high ranks go on learning.",
        source="Kalajdzievski 2023, arXiv:2312.03732",
    )
    use_dora: bool = setting(
        False,
        "DoRA",
        advanced=True,
        help="Learn the length of each weight column apart from its direction. Often better at low rank, and slower.",
        source="Liu et al. 2024, arXiv:2402.09353",
    )

    def attach(self, model: Any) -> Any:
        """See Method. The adapter is float32, whatever the base is: small updates vanish in bfloat16."""
        from peft import LoraConfig, get_peft_model

        chosen = self._chosen(linear_layers(model))
        self._check_rank(chosen)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.r,
            lora_alpha=self.lora_alpha,  # pyright: ignore[reportArgumentType]  # declared int, used as a factor
            lora_dropout=self.lora_dropout,
            target_modules=ALL_LINEAR if self.target_modules.strip() == ALL_LINEAR else list(chosen),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )
        return get_peft_model(model, config)

    def _chosen(self, layers: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Those of `layers` that 'target_modules' names, by their full name or its end."""
        if self.target_modules.strip() == ALL_LINEAR:
            return layers
        wanted = [name.strip() for name in self.target_modules.split(",") if name.strip()]
        missing = [name for name in wanted if not any(_ends_with(layer, name) for layer in layers)]
        if missing or not wanted:
            there = sorted({layer.rpartition(".")[2] for layer in layers})
            raise ConfigError(
                f"The model has no linear layer named {' or '.join(map(repr, missing)) or 'so'}.",
                remedy=f"Under 'Adapted layers' choose from: {', '.join(there)}; or {ALL_LINEAR!r}.",
            )
        return {layer: width for layer, width in layers.items() if any(_ends_with(layer, name) for name in wanted)}

    def _check_rank(self, chosen: dict[str, tuple[int, int]]) -> None:
        """A rank above a layer's width learns nothing more than the width itself would."""
        narrowest = min(chosen, key=lambda layer: min(chosen[layer]))
        width = min(chosen[narrowest])
        if self.r > width:
            raise ConfigError(
                f"'Rank' is {self.r}, but {narrowest} is only {width} wide.", remedy=f"Lower it to {width} or less."
            )


def linear_layers(model: Any) -> dict[str, tuple[int, int]]:
    """Name → (inputs, outputs) of each linear layer, quantised ones too; the output layer left out."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if module is output:
            continue
        if isinstance(module, nn.Linear):  # bitsandbytes' layers are subclasses, with packed weights
            found[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # GPT-2's linear layer
            found[name] = tuple(module.weight.shape)
    if not found:
        raise ConfigError("The model has no linear layer that could be adapted.", remedy="Choose another model.")
    return found


def _ends_with(layer: str, name: str) -> bool:
    return layer == name or layer.endswith(f".{name}")
