"""Low-rank adapters beside frozen layers."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from studio.errors import ConfigError
from studio.methods._layers import ALL_LINEAR, Layers, check_rank, chosen_layers
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.models.structure import Structure
from studio.settings import setting


class Lora(Targeted):
    """Freeze the base model; learn a low-rank update W + (alpha / rank) B A beside chosen layers.

    Hu et al. 2021, arXiv:2106.09685, section 4.1. Whatever the start, step 0 is the base model.
    """

    title: ClassVar[str] = "LoRA"
    about: ClassVar[str] = "Learns a small update beside the frozen weights; the usual choice."
    paper: ClassVar[str] = "Hu et al. 2021, arXiv:2106.09685"
    when: ClassVar[str] = "Start here: nearly as good as full fine-tuning on most data, in a fraction of the memory."
    cost: ClassVar[str] = (
        "A few MB on disk; a third to half of full fine-tuning's memory; about two thirds of its time."
    )
    family: ClassVar[str] = "usual"
    learns_tokens: ClassVar[bool] = True

    r: int = setting(
        16,
        "Rank",
        ge=1,
        le=256,
        search=(1, 128),
        help="How much can be learnt. The adapter's memory grows linearly with it; 8 to 32 is plenty for most data.",
        source="Hu et al. 2021, arXiv:2106.09685, section 7.2",
    )
    lora_alpha: float = setting(
        32,
        "Alpha",
        gt=0,
        le=1024,
        search=(1, 256),
        help="How strongly the adapter speaks: its output is multiplied by alpha / rank. Twice the rank is usual.",
        source="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    )
    lora_dropout: float = setting(
        0.0,
        "Dropout",
        ge=0.0,
        lt=1.0,
        search=(0.0, 0.3),
        help="Share of the adapter's inputs left out at random while training. 0.05 to 0.1 helps on small data.",
        source="Hu et al. 2021, arXiv:2106.09685, appendix D",
    )
    init_lora_weights: Literal["default", "gaussian", "orthogonal", "pissa", "olora"] = setting(
        "default",
        "Start",
        advanced=True,
        help="What A and B begin as. 'pissa' begins with the main components of each weight, 'olora' with its QR "
        "decomposition: faster at first, and twice the room, as what they begin with must be taken off again.",
        source="Meng et al. 2024, arXiv:2404.02948; Büyükakyüz 2024, arXiv:2406.01775",
    )
    rank_pattern: str = setting(
        "",
        "Ranks by layer",
        advanced=True,
        max_length=2000,
        help="Other ranks for some layers, such as 'q_proj=8, down_proj=32'. Alpha / rank stays the same; where "
        "rank-stabilised, alpha does.",
        source="Biderman et al. 2024, arXiv:2405.09673, section 5: which layers need more",
    )
    loraplus_lr_ratio: float = setting(
        1.0,
        "LoRA+ ratio",
        ge=1,
        le=256,
        advanced=True,
        help="B learns so many times faster than A. 1 is plain LoRA; 4 to 16 learns faster, with a lower rate.",
        source="Hayou et al. 2024, arXiv:2402.12354, section 4",
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

    def check_layers(self, layers: Layers) -> None:
        others: Layers = {}
        for name, rank in self._ranks(layers).items():
            matched = chosen_layers(name, layers)
            check_rank(rank, matched)
            others |= matched
        check_rank(self.r, {layer: shape for layer, shape in layers.items() if layer not in others})
        if self.init_lora_weights == "orthogonal" and any(rank % 2 for rank in (self.r, *self._ranks(layers).values())):
            raise ConfigError("An orthogonal start needs an even rank.", remedy="Raise 'Rank' by one.")
        if self._halves == 2 and self.use_dora:
            raise ConfigError(
                f"DoRA cannot begin with {self.init_lora_weights}.",
                remedy="Set 'Start' to default, or choose LoRA.",
            )

    def trainable(self, structure: Structure) -> int | None:
        if structure.experts():
            return None  # peft lets those of some models learn, too
        layers = chosen_layers(self.target_modules, structure.linear())
        ranks = dict.fromkeys(layers, self.r)
        for name, rank in reversed(self._ranks(layers).items()):  # the first that means a layer has its say
            ranks |= dict.fromkeys(chosen_layers(name, layers), rank)
        # The shape's first entry is the layer's outputs, of which DoRA learns the lengths.
        return sum(ranks[name] * sum(shape) + self.use_dora * shape[0] for name, shape in layers.items())

    def kept(self, structure: Structure) -> float:
        """See Method. B keeps what A gives it; dropout an input and a mask for each layer; DoRA two outputs."""
        flow, layers = Flow(structure), chosen_layers(self.target_modules, structure.linear())
        dropped = 1.5 * flow.inputs(layers, shared=False) if self.lora_dropout else flow.inputs(layers)
        return dropped + self._halves * self.r * len(layers) + 2 * self.use_dora * flow.outputs(layers)

    def leaner(self, *, gpu: bool) -> str:
        return "qlora" if gpu and self._halves == 1 and find_spec("bitsandbytes") else ""

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import LoraConfig

        halves = self._halves
        alpha = self.lora_alpha * halves ** (0.5 if self.use_rslora else 1)  # the scale is that of one half
        ranks = {re.escape(name): halves * rank for name, rank in self._ranks(layers).items()}
        scaled = {} if self.use_rslora else ranks  # there alpha stays, and each rank's root divides it
        start: Any = True if self.init_lora_weights == "default" or halves == 2 else self.init_lora_weights
        return LoraConfig(
            r=halves * self.r,
            lora_alpha=alpha,  # pyright: ignore[reportArgumentType]  # declared int, used as a factor
            lora_dropout=self.lora_dropout,
            init_lora_weights=start,
            rank_pattern=ranks,
            alpha_pattern={name: alpha * rank / (halves * self.r) for name, rank in scaled.items()},
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )

    def only_here(self) -> str:
        if self._halves == 2:
            return f"a start with {self.init_lora_weights} beside a base that stays whole is the studio's own code"
        return "rates of LoRA+ are the studio's own code" if self.loraplus_lr_ratio != 1 else ""

    def attach(self, model: Any, steps: int = 0) -> Any:
        attached = super().attach(model, steps)
        if self._halves == 2:
            from studio.methods._start import begin

            begin(attached, self.init_lora_weights)
        return attached

    def rates(self, model: Any) -> dict[str, float]:
        if self.loraplus_lr_ratio == 1:
            return {}
        return {name: self.loraplus_lr_ratio for name, _ in model.named_parameters() if ".lora_B." in name}

    @property
    def _halves(self) -> int:
        """2 where an adapter also holds, with the opposite sign, what it begins with."""
        return 2 if self.init_lora_weights in ("pissa", "olora") else 1

    def _ranks(self, layers: Layers) -> dict[str, int]:
        """'Ranks by layer' as a mapping. Raises ConfigError for what is no rank, or names no layer."""
        ranks = {}
        for entry in filter(None, map(str.strip, self.rank_pattern.split(","))):
            name, _, rank = (part.strip() for part in entry.partition("="))
            if not (name and name != ALL_LINEAR and rank.isdecimal() and int(rank) > 0):
                raise ConfigError(
                    f"'Ranks by layer' holds {entry!r}, which is no 'name=rank'.",
                    remedy="Write it like 'q_proj=8, down_proj=32'.",
                )
            chosen_layers(name, layers)
            ranks[name] = int(rank)
        return ranks
