"""An adapter on disk: safetensors and a config, whole or not there at all."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from studio.errors import ModelError

_WEIGHTS = "adapter_model.safetensors"


def save(model: Any, folder: Path) -> int:
    """Write a PeftModel's adapter; returns its size in bytes. An earlier one is there until the new one is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = made.with_suffix(".old")
    try:
        # Embeddings are never trained here; peft's "auto" would ask the Hub whether they were.
        model.save_pretrained(str(made), safe_serialization=True, save_embedding_layers=False)
        (made / "README.md").unlink(missing_ok=True)  # an empty form
        size = sum(_flush(file) for file in made.iterdir())
        if folder.exists():
            folder.rename(old)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return size


def _flush(file: Path) -> int:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
    return file.stat().st_size


def attach_saved(model: Any, folder: Path) -> Any:
    """`model` with the adapter in `folder` attached and frozen: a PeftModel.

    Raises ModelError for pickled adapters, damaged ones, and those of another base.
    """
    import peft
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_files(folder)
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ModelError("The adapter cannot be read: it is damaged.", remedy="Train it again.") from error
    config.inference_mode = True
    config.base_model_name_or_path = None  # peft sets this one's; whether it fits, the weights tell below
    try:
        attached = peft.get_peft_model(model, config)
    except ValueError as error:
        raise _another_base("none of its layers are there") from error
    _compare(weights, peft.get_peft_model_state_dict(attached, save_embedding_layers=False))
    peft.set_peft_model_state_dict(attached, weights)
    return attached.eval()


def _check_files(folder: Path) -> None:
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"There is no adapter in {folder.name}.", remedy="Choose a run that was trained to its end.")
    if (folder / _WEIGHTS).is_file():
        return
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    raise ModelError(
        "The adapter is pickled, and unpickling a file can run any code hidden in it."
        if pickled
        else f"The adapter's {_WEIGHTS} is missing.",
        remedy="Bring it as safetensors." if pickled else "Train it again.",
    )


def _compare(saved: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse weights whose names or shapes are not those that the model now has room for."""
    if unknown := sorted(saved.keys() ^ expected.keys()):
        raise _another_base(f"{len(unknown)} weights have no counterpart, such as {unknown[0]}")
    for name, weight in saved.items():
        if weight.shape != expected[name].shape:
            raise _another_base(f"{name} is {_shape(weight)} in the adapter, {_shape(expected[name])} in the model")


def _shape(tensor: Any) -> str:
    return " x ".join(map(str, tensor.shape))


def _another_base(why: str) -> ModelError:
    return ModelError(
        f"The adapter was trained on another base model: {why}.",
        remedy="Load it onto the model it was trained on.",
    )
