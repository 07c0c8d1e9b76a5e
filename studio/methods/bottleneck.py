"""Small networks behind frozen layers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from studio.catalog import plain
from studio.errors import ConfigError
from studio.methods import Method
from studio.methods._layers import Layers, linear_layers
from studio.models.structure import Structure, leads_back
from studio.settings import setting

Where = Literal["both", "feed_forward", "attention"]


class Bottleneck(Method):
    """Freeze the base model; learn h + W_up f(W_down h) behind each block's attention and feed-forward.

    Houlsby et al. 2019, arXiv:1902.00751, section 2.1: h is the output of the sub-layer, projected back
    to the model's width, before it is added to the stream. W_up starts at zero, so step 0 is the base
    model; the paper starts near it.
    """

    title: ClassVar[str] = "Bottleneck adapters"
    about: ClassVar[str] = "Learns two small networks in every block; the first of all adapters."
    paper: ClassVar[str] = "Houlsby et al. 2019, arXiv:1902.00751"
    when: ClassVar[str] = (
        "For encoders and classification, where they were measured first, or where an update that is not linear "
        "is wanted. LoRA is as good on most data, and can be merged."
    )
    cost: ClassVar[str] = (
        "LoRA's memory and time while training; a few MB on disk. It cannot be merged, so every answer pays for "
        "it: about a tenth more time."
    )
    family: ClassVar[str] = "inserted"
    learning_rate: ClassVar[float] = 1e-3
    merges: ClassVar[bool] = False  # no matrix computes what a nonlinearity does
    kept_inputs: ClassVar[float] = 0

    reduction_factor: int = setting(
        16,
        "Reduction",
        ge=1,
        le=1024,
        help="The layer's width divided by the bottleneck's: 16 makes 36 of 576. Lower learns more and costs more.",
        source="Houlsby et al. 2019, arXiv:1902.00751, section 3.2: 64 of 1,024",
    )
    non_linearity: Literal["gelu", "relu", "silu", "tanh"] = setting(
        "gelu",
        "Nonlinearity",
        advanced=True,
        help="What bends the bottleneck's values; it matters little.",
        source="Houlsby et al. 2019, arXiv:1902.00751, figure 2",
    )
    where: Where = setting(
        "both",
        "Behind",
        advanced=True,
        help="Which part of each block gets one. 'feed_forward' alone has half the weights and is nearly as good.",
        source="Pfeiffer et al. 2021, arXiv:2005.00247, section 2.2.2",
    )

    def check(self, structure: Structure) -> None:
        self.matched(structure)

    def matched(self, structure: Structure) -> list[str]:
        return _places(self.where, structure.linear(), structure.blocks())

    def trainable(self, structure: Structure) -> int:
        layers = structure.linear()
        widths = [_width(name, layers[name]) for name in self.matched(structure)]
        return sum(2 * width * narrow + narrow + width for width in widths for narrow in [self._narrow(width)])

    def attach(self, model: Any, steps: int = 0) -> Any:
        """See Method. The adapters are float32, whatever the base is: small updates vanish in bfloat16."""
        from studio.methods._bottleneck import Adapter
        from studio.models.own import Around

        layers = linear_layers(model)
        blocks = Structure({f"{name}.weight": shape for name, shape in layers.items()}).blocks()
        places = _places(self.where, layers, blocks)
        wrappers = {}
        for name in places:
            width = layers[name][1]
            wrappers[name] = Adapter(model.get_submodule(name), width, self._narrow(width), self.non_linearity)
        return Around(model, plain(self), wrappers)

    def _narrow(self, width: int) -> int:
        return max(1, width // self.reduction_factor)


def _places(where: Where, layers: Layers, blocks: list[str]) -> list[str]:
    """Names of the layers to put an adapter behind. Raises ConfigError where a block has none."""
    wanted = {"both": (True, False), "attention": (True,), "feed_forward": (False,)}[where]
    found = []
    for block in blocks or ["the model"]:
        for attention in wanted:
            here = [
                layer
                for layer in layers
                if layer.startswith(block) and leads_back(layer[len(block) :], attention=attention)
            ]
            if not here:
                part = "attention" if attention else "feed-forward part"
                raise ConfigError(
                    f"No linear layer behind the {part} of {block.rstrip('.')} was found.",
                    remedy="Set 'Behind' to the other part, or choose LoRA, which needs none.",
                )
            found += here
    return found


def _width(layer: str, shape: tuple[int, int]) -> int:
    """How many outputs a layer has. GPT-2's c_proj holds its weight as (inputs, outputs), the rest the other way."""
    return min(shape) if layer.endswith("c_proj") else shape[0]
