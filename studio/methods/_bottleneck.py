"""The network that bottleneck adapters put behind a layer. Imports torch: for workers only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.models.own import Wrapper


class Adapter(Wrapper):
    """h + W_up f(W_down h + b_down) + b_up, where h = layer(x) has shape (..., width).

    Houlsby et al. 2019, arXiv:1902.00751, section 2.1 and figure 2. W_down has shape (narrow, width)
    and starts small and random, W_up and the biases start at zero.
    """

    def __init__(self, base_layer: nn.Module, width: int, narrow: int, non_linearity: str) -> None:
        super().__init__(base_layer)
        device = next(base_layer.parameters()).device
        self.down = nn.Linear(width, narrow, device=device, dtype=torch.float32)
        self.up = nn.Linear(narrow, width, device=device, dtype=torch.float32)
        self.non_linearity = getattr(functional, non_linearity)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base_layer(x)
        if not self.speaks:
            return h
        learnt = self.up(self.non_linearity(self.down(h.to(self.down.weight.dtype))))
        return (h + learnt).to(h.dtype)
