"""What people bring, tried before it is kept: an adapter on its base, a model by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from studio import foreign
from studio.errors import ModelError, StudioError
from studio.intake import Brought, Tell
from studio.proof import ADAPTER_WEIGHTS
from studio.workspace import Workspace

_WORDS = "The quick brown fox jumps over the lazy dog."  # what base and adapter are asked to read


def put_onto(
    workspace: Workspace, base: str, adapter: foreign.Adapter, brought: Brought, writes: bool, tell: Tell
) -> tuple[Any, Any, list[str]]:
    """The base, the adapter on it, and what was compared. Raises ModelError where the two do not belong together."""
    import torch

    from studio.adapter import attach_saved
    from studio.models.base import load, placement
    from studio.models.catalog import locate
    from studio.models.vocabulary import restore

    located = locate(base, workspace.models, tell)
    tell(f"Loading {located.title}", 0, 0)
    loaded = load(located, replace(placement(), device="cpu"), writes=writes)  # a GPU may be training
    tell("Attaching the adapter", 0, 0)
    restore(loaded.model, loaded.tokenizer, brought.folder)
    count = _without_copies(loaded.model, adapter, brought.folder / ADAPTER_WEIGHTS)
    foreign.try_patterns(adapter.config, [name for name, _ in loaded.model.named_modules()])
    try:
        attached = attach_saved(loaded.model, brought.folder)
    except StudioError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"The adapter cannot be put onto {located.title} ({type(error).__name__}: {said[:200]}).",
            remedy="Choose the base that it was trained on; if it is that one, update PEFT.",
        ) from error
    wrong = [name for name, weight in attached.named_parameters() if not torch.isfinite(weight).all()]
    if wrong:
        raise ModelError(
            f"{len(wrong)} weights hold no numbers, such as {wrong[0]}: the training that made them failed.",
            remedy="Bring an earlier checkpoint of it.",
        )
    return loaded, attached, [f"Names and shapes of all {count:,} weights are those of {located.title}."]


def _without_copies(model: Any, adapter: foreign.Adapter, path: Path) -> int:
    """Take the base's own embeddings out of an adapter, which peft saves beside those that sit on them.

    Returns how many weights are left. Raises ModelError where they are not the base's: then the adapter needs its own.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights, base = load_file(path), dict(model.named_parameters(remove_duplicate=False))
    learnt = set(map(str, adapter.config.get("modules_to_save") or []))
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    places = {name for name, module in model.named_modules() if module in layers}
    copies = {}
    for name in weights:
        place = name.removeprefix("base_model.model.").removesuffix(".weight").removesuffix(".base_layer")
        if adapter.kind != foreign.OWN and place in places and not learnt.intersection(place.split(".")):
            copies[name] = base[f"{place}.weight"]
    for name, own in copies.items():
        if weights[name].shape != own.shape or not torch.equal(weights[name].to(own.dtype), own):
            raise ModelError(
                "The adapter brings embeddings of its own: it was trained with another vocabulary than its base has.",
                remedy="Merge it into its base where it was trained, and bring the whole model.",
            )
    if copies:
        kept = {name: weight for name, weight in weights.items() if name not in copies}
        save_file(kept, path, metadata={"format": "pt"})
    return len(weights) - len(copies)


def changes(attached: Any, tokenizer: Any) -> list[str]:
    """Whether its model reads a sentence at all and otherwise than the base. Raises ModelError where it does not."""
    import torch

    ids = torch.tensor([tokenizer(_WORDS)["input_ids"][:32] or [0]])
    mask = torch.ones_like(ids)

    def read() -> Any:
        said = attached(input_ids=ids, attention_mask=mask)
        return torch.cat([each.flatten() for each in _tensors(said)]).float()

    with torch.inference_mode():
        tuned = read()
        if not torch.isfinite(tuned).all():
            raise ModelError(
                "With the adapter the model computes no numbers any more.", remedy="Bring an earlier checkpoint of it."
            )
        with attached.disable_adapter():
            base = read()
    same = base.shape == tuned.shape and torch.equal(base, tuned)
    return ["It changes nothing: the model reads as its base does. Perhaps it was never trained."] if same else []


def _tensors(said: Any) -> list[Any]:
    if isinstance(said, list):
        return said
    return [said.logits if hasattr(said, "logits") else said.last_hidden_state]


def linear(attached: Any) -> dict[str, Any]:
    """Names of the base's linear layers, as peft has left them: those that it sits on are under their own names."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    base = attached.get_base_model()
    output, found = base.get_output_embeddings(), {}
    for name, module in base.named_modules():
        inner = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        beneath = ".base_layer" in name or any(name.startswith(f"{each}.") for each in found)
        if isinstance(inner, (nn.Linear, Conv1D)) and inner is not output and module is not output and not beneath:
            found[name] = inner
    return found


def read_by(brought: Brought, title: str, writes: bool, tell: Tell) -> str:
    """A model loaded by itself reads a sentence; in words. Raises ModelError where it does not."""
    import torch

    from studio.models.base import load, placement
    from studio.models.catalog import Located

    tell(f"Loading {title}", 0, 0)
    located = Located(brought.folder, title, "folder")
    loaded = load(located, replace(placement(), device="cpu"), writes=writes)
    ids = torch.tensor([loaded.tokenizer(_WORDS)["input_ids"][:32] or [0]])
    with torch.inference_mode():
        said = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    if not all(torch.isfinite(each).all() for each in _tensors(said)):
        raise ModelError("The model computes no numbers: its weights are damaged.", remedy="Bring it again.")
    return "It was loaded, all its weights were there, and it read a sentence."
