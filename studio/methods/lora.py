"""Low-rank adapters beside frozen layers."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods import Method, task_type
from studio.methods._layers import ALL_LINEAR, check_rank, chosen_layers, linear_layers
from studio.models.structure import Structure
from studio.settings import setting


class Lora(Method):
    """Freeze the base model; learn a low-rank update W + (alpha / rank) B A beside chosen layers.

    Hu et al. 2021, arXiv:2106.09685, section 4.1. B starts at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "LoRA"
    about: ClassVar[str] = "Learns a small update beside the frozen weights; the usual choice."
    paper: ClassVar[str] = "Hu et al. 2021, arXiv:2106.09685"
    when: ClassVar[str] = "Start here: nearly as good as full fine-tuning on most data, in a fraction of the memory."
    cost: ClassVar[str] = (
        "A few MB on disk; a third to half of full fine-tuning's memory; about two thirds of its time."
    )

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

    def check(self, structure: Structure) -> None:
        check_rank(self.r, chosen_layers(self.target_modules, structure.linear()))

    def attach(self, model: Any, steps: int = 0) -> Any:
        """See Method. The adapter is float32, whatever the base is: small updates vanish in bfloat16."""
        from peft import LoraConfig, get_peft_model

        chosen = chosen_layers(self.target_modules, linear_layers(model))
        check_rank(self.r, chosen)
        config = LoraConfig(
            task_type=task_type(model),
            r=self.r,
            lora_alpha=self.lora_alpha,  # pyright: ignore[reportArgumentType]  # declared int, used as a factor
            lora_dropout=self.lora_dropout,
            target_modules=ALL_LINEAR if self.target_modules.strip() == ALL_LINEAR else list(chosen),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )
        return get_peft_model(model, config)
