"""What a run learnt, on disk and back on its base: safetensors and configs, whole or not there at all.

The folder holds peft's layout, or that of `studio.models.own` for methods of ours; heads and added
vocabulary lie beside it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import studio.methods
from studio.catalog import Chosen
from studio.errors import ConfigError, ModelError
from studio.methods import Method
from studio.models.catalog import check_weights

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def save(model: Any, folder: Path, beside: Mapping[str, str] | None = None) -> int:
    """Write what `model` learnt; returns its size in bytes. An earlier one is there until the new one is.

    `beside` are texts to write into the folder, by the names of their files.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    made = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = made.with_suffix(".old")
    try:
        # Embeddings are never trained here; peft's "auto" would ask the Hub whether they were.
        model.save_pretrained(str(made), safe_serialization=True, save_embedding_layers=False)
        (made / "README.md").unlink(missing_ok=True)  # an empty form
        for name, text in (beside or {}).items():
            (made / name).write_text(text, encoding="utf-8")
        size = sum(_flush(file) for file in made.iterdir())
        if folder.exists():
            folder.rename(old)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return size


def _tidy(folder: Path) -> None:
    """Bring back, or do away with, what a process left that was killed while it saved."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.suffix == ".old" and not folder.exists():
            left.rename(folder)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _flush(file: Path) -> int:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
    return file.stat().st_size


def attach_saved(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """`model` with the adapter in `folder` attached: a PeftModel or an Own, frozen and in eval mode.

    `trainable` leaves it as its method would have made it, to learn on. Raises ModelError for pickled
    adapters, damaged ones, and those of another base.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_files(folder)
    check_weights(folder, "the adapter")
    try:
        about = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / _WEIGHTS)
        own = about.get("method")
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged() from error
    attached = _own(model, own, weights) if own else _peft(model, folder, weights, trainable=trainable)
    if (folder / "heads.json").is_file():
        from studio.models.heads import with_saved_heads

        attached = with_saved_heads(attached, folder)
    if not trainable:
        attached.requires_grad_(False)
    return attached.train(trainable)


def _own(model: Any, method: Any, weights: dict[str, Any]) -> Any:
    try:
        attached = Chosen(studio.methods, Method).parse(method).attach(model)  # pyright: ignore[reportAttributeAccessIssue]
    except ConfigError as error:
        raise _another_base(error.problem.rstrip(".")) from error
    _compare(weights, attached.learnt_weights())
    attached.load_weights(weights)
    return attached


def _peft(model: Any, folder: Path, weights: dict[str, Any], *, trainable: bool) -> Any:
    import peft

    from studio.methods._start import hold

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged() from error
    config.inference_mode = not trainable
    config.base_model_name_or_path = None  # peft sets this one's; whether it fits, the weights tell below
    try:
        attached = peft.get_peft_model(model, config)
    except ValueError as error:
        raise _another_base("none of its layers are there") from error
    if trainable and config.is_prompt_learning and len(list(attached.prompt_encoder.parameters())) > 1:
        raise ModelError(
            "Only the finished prompt of this adapter was kept, so that it cannot be trained on.",
            remedy="Train anew, or choose prompt tuning.",
        )
    _compare(weights, peft.get_peft_model_state_dict(attached, save_embedding_layers=False))
    peft.set_peft_model_state_dict(attached, weights)
    if trainable:
        hold(attached)
    return attached


def _damaged() -> ModelError:
    return ModelError("The adapter cannot be read: it is damaged.", remedy="Train it again.")


def _check_files(folder: Path) -> None:
    if not (folder / _CONFIG).is_file():
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
