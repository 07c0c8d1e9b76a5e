"""All that a training needs to go on as if it had never been interrupted, in files without any pickle.

What learns goes into one file of safetensors, the tensors of everything else into another, and numbers into JSON, in
which {"tensor": NAME} stands where a tensor was.
"""

from __future__ import annotations

import errno
import json
import os
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.trainer import TRAINER_STATE_NAME

from studio.errors import fills_disk

_WEIGHTS, _TENSORS, _REST = "weights.safetensors", "state.safetensors", "state.json"

Json = Any


def write(folder: Path, model: Any, trainer_state: Any, rest: dict[str, Any]) -> None:
    """Fill `folder` with what learns in `model`, transformers' TrainerState and `rest`: numbers, texts and tensors."""
    weights = {name: weight.detach().contiguous() for name, weight in learning(model).items()}
    _save(weights, folder / _WEIGHTS)
    tensors: dict[str, Tensor] = {}
    told = _apart(rest, tensors, {})
    _save(tensors, folder / _TENSORS)
    (folder / _REST).write_text(json.dumps(told), encoding="utf-8")
    brief = asdict(replace(trainer_state, log_history=[]))  # which the run's own events hold
    (folder / TRAINER_STATE_NAME).write_text(json.dumps(brief), encoding="utf-8")


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # which says in its text only what the system said
        if fills_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def read(folder: Path) -> dict[str, Any]:
    """What `write` was given as `rest`."""
    told = json.loads((folder / _REST).read_text(encoding="utf-8"))
    return _together(told, load_file(folder / _TENSORS))


def load_weights(folder: Path, model: Any) -> None:
    """Put what was learnt back into `model`. Raises ValueError where it learns something else."""
    kept, weights = load_file(folder / _WEIGHTS), learning(model)
    if kept.keys() != weights.keys() or any(kept[name].shape != weight.shape for name, weight in weights.items()):
        raise ValueError("the checkpoint is of a model in which other weights learn")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(kept[name])


def learning(model: Any) -> dict[str, Tensor]:
    """The weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def dice() -> dict[str, Any]:
    """The states of all random generators that training may ask."""
    kind, keys, *rest = cast("Any", numpy.random.get_state())
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    numbers = (kind, torch.from_numpy(keys.astype(numpy.int64)), *rest)
    return {"python": random.getstate(), "numpy": numbers, "torch": torch.get_rng_state(), "cuda": on_gpu}


def set_dice(states: dict[str, Any]) -> None:
    """Make the generators draw as they would have after `dice`."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype(numpy.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _apart(value: Any, tensors: dict[str, Tensor], names: dict[int, str]) -> Json:
    """`value` as JSON that keeps tuples and keys of any kind apart; its tensors go into `tensors`."""
    match value:
        case Tensor():
            # One that several hold, such as a table of code points, is written once.
            name = names.setdefault(id(value), str(len(names)))
            tensors[name] = value.detach().contiguous()
            return {"tensor": name}
        case dict():
            return {"dict": [[key, _apart(each, tensors, names)] for key, each in value.items()]}
        case tuple():
            return {"tuple": [_apart(each, tensors, names) for each in value]}
        case list():
            return [_apart(each, tensors, names) for each in value]
        case numpy.generic():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} cannot be kept in a checkpoint")


def _together(told: Json, tensors: dict[str, Tensor]) -> Any:
    match told:
        case {"tensor": name}:
            return tensors[name]
        case {"dict": pairs}:
            return {key: _together(each, tensors) for key, each in pairs}
        case {"tuple": values}:
            return tuple(_together(each, tensors) for each in values)
        case list():
            return [_together(each, tensors) for each in told]
        case _:
            return told
