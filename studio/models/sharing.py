"""Two models in memory over one set of frozen weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from studio.models.base import Placement, public_name
from studio.models.catalog import Located


def shared_body(model: Any, located: Located, place: Placement, adapter: Path) -> Any | None:
    """What `load` gives of `located` where no text is to be written, over the weights that `model` has in memory.

    `model` has an adapter that learns, the one in the folder `adapter` is to be attached to what is returned. None
    where the two are not of one base, where that learns, or where either adapter might change it: then only a copy
    of its own will do.
    """
    from transformers import MODEL_MAPPING

    if not hasattr(model, "peft_config") or not _only_beside(adapter):
        return None
    inner = model.get_base_model()
    same = inner.name_or_path == public_name(located) and str(inner.dtype) == f"torch.{place.dtype}"
    if not same or getattr(inner, "is_quantized", False):
        return None
    body = inner.base_model
    if type(body) is not MODEL_MAPPING.get(type(body.config), None):
        return None
    twin = _twin(body)
    return twin if twin is not None and not any(each.requires_grad for each in twin.parameters()) else None


def _only_beside(adapter: Path) -> bool:
    """Whether what was learnt is low-rank updates beside the base and nothing else, by its config."""
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever attaches it says what is wrong
        return False
    others = ("modules_to_save", "trainable_token_indices", "layer_replication")
    plain = config.get("peft_type") == "LORA" and config.get("bias") == "none" and not any(map(config.get, others))
    return plain and isinstance(config.get("init_lora_weights"), bool)


def _twin(body: Any) -> Any | None:
    """The same modules anew, without their adapter, over the same weights; None where some are kept twice."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    if any(isinstance(module, AuxiliaryTrainingWrapper) for module in body.modules()):
        return None
    # To copy.deepcopy all of these have been copied already.
    known = {id(each): each for each in (*body.parameters(), *body.buffers())}
    known |= {id(each): each.get_base_layer() for each in body.modules() if isinstance(each, BaseTunerLayer)}
    return copy.deepcopy(body, known).eval()
