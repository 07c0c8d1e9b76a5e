"""WHICH weights learn. One file per method; the file name is its key in a config."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

from studio.catalog import Entry, discover
from studio.methods._layers import chosen_layers
from studio.models.flow import Flow
from studio.models.structure import Structure

Part = Callable[[Any], Any]  # model → a scalar tensor that is added to the loss, in nats
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")  # a paper's number, as `paper` holds it

# In the order in which lists show them.
FAMILIES = {
    "usual": "The usual choices",
    "weights": "The model's own weights",
    "inserted": "Layers and scales put in between",
    "prompt": "Learnt prompts",
    "update": "Other updates beside frozen weights",
    "teaching": "To read and learn from",
}


class Method(Entry):
    """Base of all methods: settings, and how they change a loaded model."""

    paper: ClassVar[str]  # who, when, where
    when: ClassVar[str]  # when to choose it, in a sentence or two
    cost: ClassVar[str]  # what it costs beside LoRA: time, memory, size on disk
    family: ClassVar[str] = "update"  # where lists show it: a key of FAMILIES
    picks: ClassVar[str] = "target_modules"  # the setting that names layers, in methods that have it
    learning_rate: ClassVar[float] = 2e-4  # what suits it, where a person sets none
    dtype: ClassVar[str] = "auto"  # number format of the base where a person sets none
    merges: ClassVar[bool] = True  # its update can be written into the base's own weights
    starts_at_base: ClassVar[bool] = True  # before the first step the model is the base
    learns_tokens: ClassVar[bool] = False  # can learn the rows of tokens added to the vocabulary
    writes_only: ClassVar[bool] = False  # cannot learn on a model that only reads, as classification has
    checkpoints: ClassVar[bool] = True  # learns the same where activations are computed anew
    in_place: ClassVar[bool] = False  # the base's own weights learn, and what they were is kept beside them
    pads: ClassVar[bool] = False  # rows cannot lie side by side
    # Numbers that are kept for a backward pass, for each input and each output of a layer that learns. Counted
    # with autograd's hooks on saved tensors, as `studio.estimate` needs them.
    kept_inputs: ClassVar[float] = 1
    kept_outputs: ClassVar[float] = 0
    kept_weights: ClassVar[float] = 0  # the same for each weight of those layers, whatever the tokens

    def quantization(self, dtype: Any = "auto") -> Any | None:
        """The transformers quantization config the base is loaded with, to compute in `dtype`; None: as it is."""
        return None

    def check(self, structure: Structure) -> None:
        """Raise ConfigError where the settings cannot fit a model of that structure. Imports no torch."""

    def pickable(self, structure: Structure) -> list[str]:
        """Full names of the layers that the setting `picks` can name."""
        return list(structure.linear()) if self.picks in type(self).model_fields else []

    def matched(self, structure: Structure) -> list[str]:
        """Full names of the layers, or of the weights, that the settings mean. Raises ConfigError for none."""
        named = getattr(self, self.picks, None)
        return [] if named is None else list(chosen_layers(named, structure.linear()))

    def trainable(self, structure: Structure) -> int | None:
        """How many weights will learn; None: known only once the model is loaded."""
        return None

    def kept(self, structure: Structure) -> float:
        """Numbers a token that a backward pass needs beside those it needs of frozen layers, all blocks together."""
        flow, layers = Flow(structure), self.matched(structure)
        return self.kept_inputs * flow.inputs(layers) + self.kept_outputs * flow.outputs(layers)

    def kept_whole(self, structure: Structure, product: int) -> int:
        """Bytes that a backward pass needs whatever the tokens; `product` is a number's in matrix products."""
        if not self.kept_weights:
            return 0
        layers = structure.linear()
        return round(product * self.kept_weights * sum(prod(layers[name]) for name in self.matched(structure)))

    def first_block(self, structure: Structure) -> int:
        """The first block through which anything is computed backwards."""
        return 0

    def in_front(self) -> int:
        """Tokens that are learnt and stand in front of each row."""
        return 0

    def weight_bytes(self, structure: Structure, each: int) -> int:
        """Of the base, at `each` bytes a weight where the method does not hold it otherwise."""
        return each * sum(map(prod, structure.weights.values()))

    def leaner(self, *, gpu: bool) -> str:
        """Key of a method that learns much the same in less memory; '' for none."""
        return ""

    def check_machine(self) -> None:
        """Raise ConfigError where this machine lacks what the method needs. Imports no torch."""

    def attach(self, model: Any, steps: int = 0) -> Any:
        """Freeze `model` and give it what shall learn. Returns a peft.PeftModel or a `studio.models.own.Own`.

        `model` may write text or, for classification, only read it. `steps` are the optimiser updates the
        run plans; 0: unknown. Raises ConfigError where the settings do not fit the model.
        """
        raise NotImplementedError

    def only_here(self) -> str:
        """What of it other programs lack, in words; '' where `peft_config_for` is all there is to it."""
        return f"{self.title} is the studio's own code"

    def peft_config_for(self, structure: Structure, steps: int) -> Any | None:
        """What peft's `get_peft_model` takes for it; None: all weights of the model learn, and nothing beside them.

        Asked only where nothing is `only_here`.
        """
        raise NotImplementedError

    def rates(self, model: Any) -> dict[str, float]:
        """Parameter name → factor on the learning rate; what is not named learns at the rate itself."""
        return {}

    def parts(self) -> dict[str, Part]:
        """Curve name → what is added to the loss beside the objective's own."""
        return {}

    def after_step(self, model: Any, step: int) -> dict[str, float]:
        """Called after each optimiser update, gradients still there; returns curve name → value."""
        return {}

    def state(self, model: Any) -> dict[str, Any]:
        """What a checkpoint must hold beside the weights that learn: numbers, texts and tensors."""
        return {}

    def restore(self, model: Any, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def notes(self, device: str) -> list[str]:
        """What a person should know before this method runs on `device` ('cpu', 'cuda', 'mps')."""
        return []


def methods() -> dict[str, type[Method]]:
    """Key → settings class of every method there is, families together."""
    found: dict[str, type[Method]] = discover(sys.modules[__name__], Method)  # pyright: ignore[reportAssignmentType]
    order = list(FAMILIES)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1].family)))


def what_it_does(cls: type[Method]) -> str:
    """The first paragraph of a method's docstring."""
    return " ".join(inspect.getdoc(cls).partition("\n\n")[0].split())  # pyright: ignore[reportOptionalMemberAccess]


def task_type(model: Any) -> str:
    """What peft calls the model's purpose: writing text, or handing hidden states to a head."""
    return "CAUSAL_LM" if model.get_output_embeddings() is not None else "FEATURE_EXTRACTION"
