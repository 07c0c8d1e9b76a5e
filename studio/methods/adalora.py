"""LoRA whose ranks are given to the layers that need them."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.errors import ConfigError
from studio.methods import Part
from studio.methods._layers import Layers, check_rank
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting

_FEWEST_STEPS = 4  # below, there is no time to find out what matters
_NEVER = 2**31  # steps; a run of unknown length keeps its ranks
_IMPORTANCE = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # what peft's allocator remembers of each entry


class Adalora(Targeted):
    """Learn W + (alpha / rank) B diag(E) A; while training, the least important entries of E fall to zero.

    Zhang et al. 2023, arXiv:2303.10512, sections 3.1 to 3.3. E starts at zero, so step 0 is the base model.
    A and B are held near orthogonal by a term that is added to the loss.
    """

    title: ClassVar[str] = "AdaLoRA"
    about: ClassVar[str] = "LoRA that takes rank away from layers that do not need it while it trains."
    paper: ClassVar[str] = "Zhang et al. 2023, arXiv:2303.10512"
    when: ClassVar[str] = "When layers differ in how much they must learn, and the run has hundreds of steps or more."
    cost: ClassVar[str] = "LoRA's memory at the rank it begins with, three averages more for each weight that learns."
    family: ClassVar[str] = "update"
    learning_rate: ClassVar[float] = 5e-3

    target_r: int = setting(
        8,
        "Rank at the end",
        ge=1,
        le=255,
        help="On average over the layers; some end with more, some with none.",
        source="Zhang et al. 2023, arXiv:2303.10512, section 3.3",
    )
    init_r: int = setting(
        12,
        "Rank at the start",
        ge=2,
        le=256,
        help="Of every layer. One and a half times the rank at the end is usual.",
        source="Zhang et al. 2023, arXiv:2303.10512, section 4",
    )
    lora_alpha: float = setting(
        32,
        "Alpha",
        gt=0,
        le=1024,
        search=(1, 256),
        help="How strongly the adapter speaks: its output is multiplied by alpha / rank.",
        source="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    )
    warm_up: float = setting(
        0.1,
        "Share before",
        ge=0,
        le=0.5,
        advanced=True,
        help="Share of the run before the first rank is taken.",
        source="Zhang et al. 2023, arXiv:2303.10512, section 3.3",
    )
    fine_tuning: float = setting(
        0.3,
        "Share after",
        ge=0,
        le=0.9,
        advanced=True,
        help="Share of the run, at its end, in which the ranks stay as they are.",
        source="Zhang et al. 2023, arXiv:2303.10512, section 3.3",
    )
    orth_reg_weight: float = setting(
        0.1,
        "Orthogonality",
        ge=0,
        le=10,
        advanced=True,
        help="How much is added to the loss for parts of the update that say the same twice.",
        source="Zhang et al. 2023, arXiv:2303.10512, equation 4",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.init_r * sum(sum(shape) + 1 for shape in layers.values())

    def check_layers(self, layers: Layers) -> None:
        if self.init_r <= self.target_r:
            raise ConfigError(
                f"'Rank at the start' is {self.init_r}, so none could be taken to reach {self.target_r}.",
                remedy=f"Raise it above {self.target_r}, or choose LoRA.",
            )
        if self.warm_up + self.fine_tuning > 0.9:
            raise ConfigError(
                "'Share before' and 'Share after' leave no time to take ranks in.", remedy="Lower one of them."
            )
        check_rank(self.init_r, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import AdaLoraConfig

        before, after = int(steps * self.warm_up), int(steps * self.fine_tuning)
        if steps < _FEWEST_STEPS:
            steps, before, after = _NEVER, _NEVER - 1, 0
        return AdaLoraConfig(
            init_r=self.init_r,
            target_r=self.target_r,
            lora_alpha=self.lora_alpha,  # pyright: ignore[reportArgumentType]  # declared int, used as a factor
            total_step=steps,
            tinit=before,
            tfinal=min(after, steps - before - 2),  # so that there is something to go by when ranks are first taken
            orth_reg_weight=self.orth_reg_weight,
        )

    def only_here(self) -> str:
        return "the studio takes AdaLoRA's ranks in its own way"

    def attach(self, model: Any, steps: int = 0) -> Any:
        attached = super().attach(model, steps)
        for name, weight in attached.named_parameters():
            if ".ranknum." in name:  # a constant, which peft lets learn on a bfloat16 base
                weight.requires_grad_(False)
        attached.kept_ranks = None
        return attached

    def parts(self) -> dict[str, Part]:
        if self.orth_reg_weight == 0:
            return {}
        return {"orthogonality": lambda model: self.orth_reg_weight * _overlap(model)}

    def after_step(self, model: Any, step: int) -> dict[str, float]:
        if model.base_model.peft_config["default"].total_step != _NEVER:
            _allocate(model, step)
        ranks = _ranks(model)
        return {"average_rank": sum(ranks) / len(ranks)}

    def state(self, model: Any) -> dict[str, Any]:
        allocator = model.base_model.rankallocator
        return {"kept_ranks": model.kept_ranks, **{name: getattr(allocator, name) for name in _IMPORTANCE}}

    def restore(self, model: Any, state: dict[str, Any]) -> None:
        model.kept_ranks = state["kept_ranks"]
        for name in _IMPORTANCE:
            setattr(model.base_model.rankallocator, name, state[name])


def _allocate(model: Any, step: int) -> None:
    """Take ranks where it is time to. Entries of E that were taken stay zero, and are saved as such.

    Which ones is kept beside peft's config: with that in its config peft cuts weights when it saves them,
    in some layers to nothing, and does not load them again. An adapter that was loaded keeps its ranks.
    """
    if not hasattr(model, "kept_ranks"):
        return
    config = model.base_model.peft_config["default"]
    config.rank_pattern = model.kept_ranks
    model.base_model.update_and_allocate(step)
    model.kept_ranks, config.rank_pattern = config.rank_pattern, None


def _ranks(model: Any) -> list[int]:
    """The rank that each layer has kept: all of it, however small its E, until the first is taken."""
    loaded = not hasattr(model, "kept_ranks")
    if not loaded and model.kept_ranks:
        return [sum(kept) for kept in model.kept_ranks.values()]
    entries = [weight for name, weight in model.named_parameters() if ".lora_E." in name]
    return [int(weight.count_nonzero()) if loaded else len(weight) for weight in entries]


def _overlap(model: Any) -> Any:
    """Mean over all A and B of |A A' - 1|, Frobenius norm."""
    import torch

    found = []
    for name, weight in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            rows = weight if ".lora_A." in name else weight.T
            found.append(torch.linalg.norm(rows @ rows.T - torch.eye(len(rows), device=rows.device)))
    return torch.stack(found).mean()
