"""The head of a classifier, which peft saves among an adapter's weights, made one of ours beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.data.labels import HEADS, Head
from studio.errors import ModelError
from studio.proof import ADAPTER_WEIGHTS, LONGEST_CONFIG, MODEL_CONFIG, read_json, shown

COLUMN = "label"  # that the head is said to predict: what it was called is not known

_INSIDE = "base_model.model."  # what peft writes before the name of each weight
_HEAD = "score"  # as causal models of transformers call the layer over their last token
_HEADS = {"classifier", _HEAD}  # that peft saves for this task, whichever of them there is
_NAMES = ("target_modules", "exclude_modules", "feedforward_modules")
_PATTERNS = ("rank_pattern", "alpha_pattern", "block_size_pattern", "n_frequency_pattern")
_LONGEST_LABEL = 500  # characters


def part(folder: Path, config: dict[str, Any]) -> list[str]:
    """Lay the head in files of its own, and call weights and layers as the body alone does; what to know of that.

    `config`, the adapter's, is changed. Transformers' classifiers hold their body as 'model', 'transformer' or the
    like; `studio.models.heads.Headed` is the same model where one linear layer reads the last token. Raises ModelError
    where it is another, or where nothing says what the labels are called.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / ADAPTER_WEIGHTS)
    head = {name: weights.pop(name) for name in sorted(weights) if name.startswith(f"{_INSIDE}{_HEAD}.")}
    body, others = _body(weights)
    weight, bias = (head.pop(f"{_INSIDE}{_HEAD}.{part}", None) for part in ("weight", "bias"))
    if weight is None or weight.dim() != 2 or not len(weight) or head or others:
        raise _another_head([*([f"{_INSIDE}{_HEAD}.weight"] if weight is not None else []), *head, *others])
    about, notes = _labels(folder, len(weight))
    bias = torch.zeros(len(weight)) if bias is None else bias
    layer = {"0.weight": weight.float().contiguous(), "0.bias": bias.float()}
    save_file(layer, folder / "heads.safetensors", metadata={"format": "pt"})
    (folder / HEADS).write_text(json.dumps({"heads": [asdict(about)]}, indent=2, ensure_ascii=False), encoding="utf-8")
    inner, kept = f"{_INSIDE}{body}.", {}
    for name, each in weights.items():
        kept[_INSIDE + name.removeprefix(inner) if name.startswith(inner) else name] = each
    save_file(kept, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    _rename(config, f"{body}.")
    return notes


def _body(weights: Iterable[str]) -> tuple[str, list[str]]:
    """What the classifier calls its body, in which most weights are, and the names of those in another part of it.

    What all layers share, as VeRA's random matrices, stands beside the model.
    """
    inside = Counter(name.removeprefix(_INSIDE).partition(".")[0] for name in weights if name.startswith(_INSIDE))
    body = max(inside, key=lambda each: inside[each], default="")
    others = [name for name in weights if name.startswith(_INSIDE) and not name.startswith(f"{_INSIDE}{body}.")]
    return body, others


def _rename(config: dict[str, Any], before: str) -> None:
    """Layers as the body names them; whoever loads it puts the head on top."""
    config["task_type"] = "FEATURE_EXTRACTION"
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(each, str) for each in saved):
        raise ModelError("The adapter's modules_to_save are no names.", remedy="Bring it as it was saved.")
    config["modules_to_save"] = [each for each in saved if each not in _HEADS] or None
    for name in _NAMES:
        if isinstance(config.get(name), list):
            config[name] = [str(each).removeprefix(before) for each in config[name]]
    for name in _PATTERNS:
        if isinstance(config.get(name), dict):
            config[name] = {str(each).removeprefix(before): value for each, value in config[name].items()}


def _labels(folder: Path, width: int) -> tuple[Head, list[str]]:
    """What the outputs mean, by the classifier's config.json. Raises ModelError."""
    path = folder / MODEL_CONFIG
    about = read_json(path, LONGEST_CONFIG) if path.is_file() else {}
    several = about.get("problem_type") == "multi_label_classification"
    if width == 1 and not several:
        return Head(COLUMN, "number"), ["It has one output, which is taken for a number."]
    if about.get("problem_type") == "regression":
        raise ModelError(
            f"The adapter predicts {width:,} numbers at once, which no objective here learns.",
            remedy="Bring one that names labels, or predicts one number.",
        )
    named = about.get("id2label")
    names = named if isinstance(named, dict) and len(named) == width else {}
    labels = [names.get(str(place)) for place in range(width)]
    known = [
        each for each in labels if isinstance(each, str) and 0 < len(each) <= _LONGEST_LABEL and each.isprintable()
    ]
    if len(set(known)) != width:
        raise ModelError(
            f"The adapter names {width:,} labels, and nothing says what they are called.",
            remedy=f"Bring the classifier's {MODEL_CONFIG}, whose id2label names each of them, beside the adapter.",
        )
    return Head(COLUMN, "labels" if several else "classes", tuple(known)), []


def _another_head(names: list[str]) -> ModelError:
    return ModelError(
        "The adapter was made for a classifier whose head is not one linear layer over the last token "
        f"({shown(', '.join(name.removeprefix(_INSIDE) for name in names)) or 'it is missing'}).",
        remedy="Bring one of a causal model with such a head, or train it here with 'Classification'.",
    )
