"""A model that writes, and beside it what tells how well an answer is going."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_SCALING = 2.0  # of the critic's own updates: alpha / rank, as LoRA is begun with


class Valued(nn.Module):
    """`backbone`, with its method attached, and a linear layer over its last hidden states.

    With `r` 0 the layer looks at the states of the model that answers, without a gradient, so that learning values
    leaves the answers alone. Above, the critic has low-rank updates of its own: the states are those of the backbone
    with these, the method switched off, which takes a pass of its own (`valuing`). Either way the backbone is there
    once, and values start at zero. All else, such as `generate` or `disable_adapter`, is the backbone's; what is
    saved of a run is the backbone's, too: values serve training alone.
    """

    is_quantized = False  # as for a PeftModel: what learns is not

    def __init__(self, backbone: Any, r: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        weight = backbone.get_input_embeddings().weight
        self.value_head = nn.Linear(backbone.config.get_text_config().hidden_size, 1, device=weight.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self._valuing = False
        self.value_adapter = nn.ModuleList(self._update(layer, r) for layer in _linear(backbone)) if r else None

    def _update(self, layer: nn.Module, r: int) -> _Update:
        """What is added to that layer's output while values are asked for."""
        update = _Update(layer, r)

        def add(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return (output + update(given[0])).to(output.dtype) if self._valuing else output

        layer.register_forward_hook(add)
        return update

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.backbone(*args, **kwargs)

    def values(self, states: Tensor) -> Tensor:
        """What is still to be expected at each token, in units of reward; `states` of shape (tokens, width)."""
        states = states if self.value_adapter else states.detach()
        return self.value_head(states.float()).squeeze(-1)

    @contextlib.contextmanager
    def valuing(self) -> Iterator[None]:
        """Inside, hidden states are the critic's own, and nothing but the critic gets a gradient.

        A backward belongs inside, too: where activations are computed anew for it, they must be the same.
        """
        learning = [weight for weight in self.backbone.parameters() if weight.requires_grad]
        self._valuing = True
        try:
            with self.backbone.disable_adapter():
                for weight in learning:
                    weight.requires_grad_(False)
                yield
        finally:
            self._valuing = False
            for weight in learning:
                weight.requires_grad_(True)

    def save_pretrained(self, folder: str, **options: Any) -> None:
        self.backbone.save_pretrained(folder, **options)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "backbone":  # not there yet
                raise
            return getattr(self.backbone, name)


class _Update(nn.Module):
    """The critic's LoRA (Hu et al. 2021, arXiv:2106.09685) beside one layer; zero at first."""

    def __init__(self, layer: nn.Module, r: int) -> None:
        super().__init__()
        inputs, outputs = _shape(_inmost(layer))
        device = next(layer.parameters()).device
        self.lora_A = nn.Linear(inputs, r, bias=False, device=device, dtype=torch.float32)
        self.lora_B = nn.Linear(r, outputs, bias=False, device=device, dtype=torch.float32)
        nn.init.normal_(self.lora_A.weight, std=inputs**-0.5)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        return _SCALING * self.lora_B(self.lora_A(x.float()))


def _linear(backbone: Any) -> list[nn.Module]:
    """The linear layers, each with what a method has put around it; the output layer left out."""
    found: dict[str, nn.Module] = {}
    for name, module in backbone.named_modules():
        within = any(name.startswith(f"{other}.") for other in found)
        inner = _inmost(module)
        if not within and isinstance(inner, nn.Linear | Conv1D) and inner is not backbone.get_output_embeddings():
            found[name] = module
    return list(found.values())


def _inmost(module: nn.Module) -> nn.Module:
    """The base model's own layer within what a method has put around it."""
    inner = getattr(module, "base_layer", None)
    return _inmost(inner) if isinstance(inner, nn.Module) else module


def _shape(layer: Any) -> tuple[int, int]:
    """Its inputs and outputs."""
    if isinstance(layer, Conv1D):  # GPT-2's linear layer
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.in_features, layer.out_features
