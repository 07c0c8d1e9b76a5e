"""A base model with weights of a method of ours, in peft's manner: saved alone, switched off, merged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Own(nn.Module):
    """What a method of ours returns from `attach`: `base` with everything frozen but what shall learn.

    A subclass says how it is switched off and on again, and, where it can be, how it is merged. Its
    learnt weights are the parameters that require a gradient when it is made; they are named as in
    `base` itself, and `save_pretrained` writes only them.
    """

    def __init__(self, base: nn.Module, method: dict[str, Any]) -> None:
        """`method` is the method as a config holds it (`studio.catalog.plain`)."""
        super().__init__()
        self.base_model = base
        self.method = method
        self.learnt = [name for name, weight in base.named_parameters() if weight.requires_grad]

    # -- what subclasses say -------------------------------------------------------------------------

    def switch(self, on: bool) -> None:
        """Let the learnt weights speak, or let the base answer as if they were not there."""
        raise NotImplementedError

    def merge_and_unload(self) -> Any:
        """The plain base model, the update written into its weights. Raises NotImplementedError."""
        raise NotImplementedError(f"{self.method['name']} cannot be merged")

    # -- what peft's models do ------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.generate(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def get_base_model(self) -> Any:
        return self.base_model

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the base answers."""
        self.switch(False)
        try:
            yield
        finally:
            self.switch(True)

    def learnt_weights(self) -> dict[str, Tensor]:
        """Name → weight of what this method learns; the tensors themselves."""
        weights = dict(self.base_model.named_parameters())
        return {name: weights[name] for name in self.learnt}

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Write the learnt weights and the method that they belong to."""
        from safetensors.torch import save_file

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        weights = {name: each.detach().cpu().contiguous() for name, each in self.learnt_weights().items()}
        save_file(weights, path / WEIGHTS, metadata={"format": "pt"})
        about = {"peft_type": "STUDIO", "method": self.method, "base_model_name_or_path": self.base_model.name_or_path}
        (path / CONFIG).write_text(json.dumps(about, indent=2), encoding="utf-8")

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy saved weights in; names and shapes must have been compared before."""
        for name, weight in self.learnt_weights().items():
            weight.copy_(weights[name])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_model":  # not there yet
                raise
            return getattr(self.base_model, name)
