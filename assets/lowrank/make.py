"""Writes the matrices beside this file, out of a run that trained all weights of the starter model.

    finetune-studio --workspace FOLDER train assets/lowrank/run.yaml
    python -m assets.lowrank.make FOLDER/runs/RUN FOLDER/models/SmolLM2-135M-Instruct

The run was ended with Ctrl-C after 21 of its 60 steps, when its loss had come down. Of the square layers that one is
taken which changed most: what it was, and what training made of it less that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from studio.lowrank import Picture, pictured, plain

HERE = Path(__file__).resolve().parent
LAYERS = ("q_proj", "o_proj")  # square ones
WEIGHT = (
    "A weight of SmolLM2-135M-Instruct as it was published. It uses nearly all of its directions, so that no low "
    "rank holds it: LoRA never tries to, and leaves it as it is."
)
UPDATE = (
    "What full fine-tuning on the sample “Customer messages” added to that weight, all of whose numbers were free to "
    "change. A few directions hold most of it: that is why LoRA works."
)


def main(run: Path, model: Path) -> None:
    from safetensors.torch import load_file

    before, after = load_file(model / "model.safetensors"), load_file(run / "adapter" / "adapter_model.safetensors")
    squares = [name for name in after if name.endswith(tuple(f"{layer}.weight" for layer in LAYERS))]
    changes = {name: after[name].double() - before[name].double() for name in squares}
    name = max(changes, key=lambda each: float(changes[each].norm() / before[each].double().norm()))
    said = name.removesuffix(".weight").removeprefix("model.")
    pictures = {
        "1-update": pictured(f"An update of full fine-tuning · {said}", UPDATE, changes[name].numpy()),
        "2-weight": pictured(f"The weight itself · {said}", WEIGHT, before[name].double().numpy()),
    }
    for key, picture in pictures.items():
        (HERE / f"{key}.json").write_text(json.dumps(plain(picture), ensure_ascii=False) + "\n", encoding="utf-8")
        print(
            key,
            picture.shape,
            f"{_held(picture)} hold 90 %",
            [round(picture.error(rank), 3) for rank in (1, 4, 8, 16, 48)],
        )


def _held(picture: Picture) -> int:
    """The smallest rank that holds 90 % of the squared norm."""
    energy = np.cumsum(np.square(picture.values))
    return int(np.searchsorted(energy, 0.9 * energy[-1]) + 1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
