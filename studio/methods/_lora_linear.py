"""LoRA in one module, written to be read. Imports torch: for workers only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from studio.models.own import Wrapper


class LoraLinear(Wrapper):
    """y = W x + b + (alpha / r) B A x, with W and b frozen, A and B learnt.

    Hu et al. 2021, arXiv:2106.09685, section 4.1. The update B A of W, which is as large as W, has at
    most rank r, so it is held in r (inputs + outputs) numbers instead of inputs x outputs.

        x            (..., inputs)
        A, lora_A    (r, inputs)     random at first: reads r features of the input
        B, lora_B    (outputs, r)    zero at first: writes them into the output
        y            (..., outputs)
    """

    def __init__(
        self, base_layer: nn.Module, inputs: int, outputs: int, *, r: int, lora_alpha: float, lora_dropout: float
    ) -> None:
        super().__init__(base_layer)
        device = next(base_layer.parameters()).device
        # float32, whatever the base is: small updates vanish in bfloat16.
        self.lora_A = nn.Linear(inputs, r, bias=False, device=device, dtype=torch.float32)
        self.lora_B = nn.Linear(r, outputs, bias=False, device=device, dtype=torch.float32)
        self.dropout = nn.Dropout(lora_dropout)
        # Dividing by r leaves the update's size as it is when the rank changes, and so the learning rate.
        self.scaling = lora_alpha / r
        # Gaussian, as wide as keeps A x as large as x. B A = 0 makes step 0 the base model; were both
        # zero, each would keep the other's gradient at zero, too.
        nn.init.normal_(self.lora_A.weight, std=inputs**-0.5)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        if not self.speaks:
            return y
        update = self.lora_B(self.lora_A(self.dropout(x.to(self.lora_A.weight.dtype))))
        return (y + self.scaling * update).to(y.dtype)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """W + (alpha / r) B A in one layer: the same y, at no cost."""
        update = self.scaling * self.lora_B.weight @ self.lora_A.weight  # (outputs, inputs)
        if isinstance(self.base_layer, Conv1D):  # GPT-2's linear layer holds W the other way round
            update = update.T
        weight = self.weight
        weight.copy_(weight.to(update.dtype) + update)  # added up in float32, rounded once
        return self.base_layer
