"""A base model with weights of a method of ours, in peft's manner: saved alone, switched off, merged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Own(nn.Module):
    """What a method of ours returns from `attach`: `base` with everything frozen but what shall learn.

    A subclass says how it is switched off and on again, and, where it can be, how it is merged. Its
    learnt weights are the parameters that require a gradient when it is made; they are named as in
    `base` itself, and `save_pretrained` writes only them. What is not here is asked of `base`.
    """

    def __init__(self, base: nn.Module, method: dict[str, Any]) -> None:
        """`method` is the method as a config holds it (`studio.catalog.plain`)."""
        super().__init__()
        self.base_model = base
        self.method = method
        self.learnt = [name for name, weight in base.named_parameters() if weight.requires_grad]
        self.speaks = True  # whether the learnt weights are switched on

    # -- what subclasses say -------------------------------------------------------------------------

    def switch(self, on: bool) -> None:
        """Let the learnt weights speak, or let the base answer as if they were not there."""
        raise NotImplementedError

    def merge_and_unload(self) -> Any:
        """The plain base model, the update written into its weights. Raises NotImplementedError where none can be."""
        raise NotImplementedError

    # -- what peft's models do ------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.generate(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def get_base_model(self) -> Any:
        return self.base_model

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """As the base does, without asking for a gradient at its inputs.

        Only reentrant checkpointing needs one; frozen blocks would compute theirs for nothing.
        """
        base: Any = self.base_model
        base.activation_checkpointing_enable(*args, **kwargs)
        base.disable_input_require_grads()

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the base answers. May be nested."""
        spoke, self.speaks = self.speaks, False
        if spoke:
            self.switch(False)
        try:
            yield
        finally:
            if spoke:
                self.switch(True)
            self.speaks = spoke

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
            # Not there yet, or a protocol such as copying, which is for this object and not for its base.
            if name == "base_model" or name.startswith("__"):
                raise
            return getattr(self.base_model, name)


class InPlace(Own):
    """The base's own weights learn; what they were is kept in main memory, so that the base can still answer.

    Most published weights are bfloat16: a copy in that format loses nothing then, and takes 2 bytes a
    weight; otherwise it takes what the weight does.
    """

    def __init__(self, base: nn.Module, method: dict[str, Any]) -> None:
        super().__init__(base, method)
        self.aside = {name: _compact(weight) for name, weight in self.learnt_weights().items()}

    def switch(self, on: bool) -> None:
        # Answers are written in inference mode; a tensor made there could take no part in training.
        with torch.inference_mode(False), torch.no_grad():
            for name, weight in self.learnt_weights().items():
                other, self.aside[name] = self.aside[name], _compact(weight)
                weight.copy_(other)

    def merge_and_unload(self) -> Any:
        return self.base_model


def _compact(weight: Tensor) -> Tensor:
    """A copy in main memory: bfloat16 where that loses nothing, else in the weight's own format."""
    short = weight.detach().to(torch.bfloat16, copy=True)
    return short.cpu() if torch.equal(short.to(weight.dtype), weight) else weight.detach().to("cpu", copy=True)


class Wrapper(nn.Module):
    """A frozen layer with weights of a method around it; `speaks` says whether they count."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.speaks = True

    @property
    def weight(self) -> Any:
        """The frozen layer's: some models look at it to know its number format."""
        return self.base_layer.weight

    def merged(self) -> nn.Module:
        """The layer alone, the update written into its weights. Raises NotImplementedError where none can be."""
        raise NotImplementedError("What is learnt here is no update of a weight.")


class Around(Own):
    """Some of the base's layers are put into a Wrapper each, everything else is frozen."""

    def __init__(self, base: nn.Module, method: dict[str, Any], wrappers: Mapping[str, Wrapper]) -> None:
        """`wrappers`: full name of a layer within `base` → the Wrapper around it."""
        base.requires_grad_(False)
        for name, wrapper in wrappers.items():
            base.set_submodule(name, wrapper)
        super().__init__(base, method)

    def _wrappers(self) -> dict[str, Wrapper]:
        return {name: each for name, each in self.base_model.named_modules() if isinstance(each, Wrapper)}

    def switch(self, on: bool) -> None:
        for each in self._wrappers().values():
            each.speaks = on

    def merge_and_unload(self) -> Any:
        for name, each in self._wrappers().items():
            self.base_model.set_submodule(name, each.merged())
        return self.base_model
