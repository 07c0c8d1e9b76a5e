"""A matrix and its best approximations of low rank, small enough to be drawn: what LoRA's rank means. Without torch.

The best approximation of rank r keeps the first r singular values, and what it misses is the length of the others
(Eckart & Young 1936). A picture shows some rows and columns; its numbers are those of the whole matrix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.store import Store
from studio.workspace import RunFolder

Matrix = NDArray[np.float64]

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "lowrank"
SIDE = 48  # rows and columns that are drawn, and the highest rank that is
METHODS = ("lora", "lora_scratch", "qlora")  # whose update is the product of two matrices
_FACTOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_A(?:\.default)?\.weight")


@dataclass(frozen=True)
class Picture:
    """A matrix W of `shape`, of which the drawn part is `patch`; left × diag(values) × right approximates that."""

    title: str
    about: str
    shape: tuple[int, int]
    norm: float  # Frobenius, of the whole
    values: list[float]  # all singular values of the whole that are not 0, largest first
    patch: list[list[float]]
    left: list[list[float]]  # drawn rows × the first SIDE directions
    right: list[list[float]]  # those directions × drawn columns

    def error(self, rank: int) -> float:
        """‖W − B A‖ of the best B A of that rank, over ‖W‖."""
        return float(np.sqrt(np.square(self.values[rank:]).sum())) / self.norm if self.norm else 0.0

    def parameters(self, rank: int) -> tuple[int, int]:
        """How many numbers B and A hold, and how many W does."""
        rows, columns = self.shape
        return rank * (rows + columns), rows * columns


def pictured(title: str, about: str, matrix: Matrix) -> Picture:
    """Of a whole matrix."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return _drawn(title, about, left, values, right)


def of_factors(title: str, about: str, up: Matrix, down: Matrix) -> Picture:
    """Of up @ down, (rows, r) and (r, columns), without forming it: see `spectrum.factored_values`."""
    first, upper = np.linalg.qr(up.astype(np.float64))
    second, lower = np.linalg.qr(down.astype(np.float64).T)
    left, values, right = np.linalg.svd(upper @ lower.T)
    return _drawn(title, about, first @ left, values, right @ second.T)


def _drawn(title: str, about: str, left: Matrix, values: Matrix, right: Matrix) -> Picture:
    """The rows and columns with the largest numbers, in their order."""
    rows, columns = _largest(left * values), _largest(right.T * values)
    patch = (left[rows] * values) @ right[:, columns]
    kept = values[values > values[0] * np.finfo(np.float32).eps] if values[0] > 0 else values[:0]
    return Picture(
        title,
        about,
        (len(left), right.shape[1]),
        float(np.linalg.norm(values)),
        _short(kept),
        [_short(row) for row in patch],
        [_short(row) for row in left[rows][:, :SIDE]],
        [_short(row) for row in right[:SIDE, columns]],
    )


def _largest(vectors: Matrix) -> NDArray[np.intp]:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.sort(np.argsort(-lengths)[:SIDE])


def _short(numbers: Sequence[float] | Matrix) -> list[float]:
    return [float(f"{number:.4g}") for number in numbers]


def plain(picture: Picture) -> dict[str, Any]:
    """As JSON holds it; `read` takes it back."""
    return asdict(picture)


def read(values: dict[str, Any]) -> Picture:
    """What `plain` gave."""
    return Picture(**{**values, "shape": tuple(values["shape"])})


@cache
def shipped() -> tuple[Picture, ...]:
    """Those that come with the studio, which `assets/lowrank/make.py` worked out of a real training."""
    return tuple(read(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(SHIPPED.glob("*.json")))


def of_runs(store: Store, most: int = 3) -> list[Picture]:
    """The update that each of the newest runs changed a layer by most, where it is a product of two matrices."""
    found = []
    for state in store.states(limit=50):
        if state.saved and not state.active and _has_factors(state.config):
            folder = store.workspace.run(state.id)
            if picture := _of_run(folder, state.title):
                found.append(picture)
        if len(found) == most:
            break
    return found


def _has_factors(values: dict[str, Any]) -> bool:
    try:
        method = RunConfig.parse(values).method
    except ConfigError:
        return False
    name = str(values.get("method", {}).get("name", ""))
    return name in METHODS and not getattr(method, "use_dora", False) and not getattr(method, "rank_pattern", "")


def _of_run(folder: RunFolder, title: str) -> Picture | None:
    """None where nothing of it can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        scale = _scale(json.loads((folder.adapter / "adapter_config.json").read_text(encoding="utf-8")))
        with safe_open(folder.adapter / "adapter_model.safetensors", framework="numpy") as file:
            names = {match[1]: name for name in file.keys() if (match := _FACTOR.fullmatch(name))}  # noqa: SIM118
            pairs = {
                layer: (scale * file.get_tensor(name.replace("lora_A", "lora_B")), file.get_tensor(name))
                for layer, name in names.items()
            }
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    pairs = {layer: pair for layer, pair in pairs.items() if pair[0].ndim == pair[1].ndim == 2}
    if not pairs:
        return None
    layer = max(pairs, key=lambda each: _length(*pairs[each]))
    up, down = pairs[layer]
    about = (
        f"What this run added to {layer}, the layer it changed most. It is the product of a B and an A of rank "
        f"{len(down)}, so from there on nothing is missing."
    )
    return of_factors(title, about, up, down)


def _length(up: Matrix, down: Matrix) -> float:
    """‖up @ down‖², of small matrices only: the trace of (upᵀ up)(down downᵀ)."""
    return float(np.sum((up.T @ up) * (down @ down.T)))


def _scale(config: dict[str, Any]) -> float:
    """What an adapter's B A is multiplied by; a method of ours keeps its settings under their own name."""
    config = config.get("method") or config
    rank = config["r"] ** (0.5 if config.get("use_rslora") else 1)
    return float(config["lora_alpha"] / rank)


# -- the code ----------------------------------------------------------------------------------------------

CODE = Path(__file__).parent / "methods" / "_lora_linear.py"
# A piece of a line → what PEFT calls it, or does there. Each piece stands in one line only.
NOTES = {
    "class LoraLinear(Wrapper)": "peft.tuners.lora.Linear: one such module sits on each adapted layer.",
    "super().__init__(base_layer)": "base_layer, as in PEFT: the layer that was there before, frozen.",
    "self.lora_A = ": "lora_A['default']: PEFT keeps one for each adapter's name; the weight is lora_A.default.weight.",
    "self.lora_B = ": "lora_B['default']. Saved, both lose the name: lora_A.weight and lora_B.weight.",
    "self.dropout = ": "lora_dropout['default'], from LoraConfig(lora_dropout=…).",
    "self.scaling = ": "scaling['default'] = lora_alpha / r; with use_rslora the divisor is the root of r.",
    "nn.init.normal_": "init_lora_weights: PEFT draws evenly from ±1/√inputs; this is a bell curve of that width.",
    "nn.init.zeros_": "The same in PEFT: B is zero, so step 0 is the base model.",
    "y = self.base_layer(x)": "result = self.base_layer(x): the frozen W always speaks.",
    "if not self.speaks": "disable_adapters: inside `with model.disable_adapter()` the base answers alone.",
    "update = self.lora_B(": "lora_B(lora_A(dropout(x))): down to r numbers and up again; B A is never formed.",
    "return (y + self.scaling * update)": "result + … * scaling: the sum of both ways.",
    "def merged(self)": "merge_and_unload(), and get_delta_weight() for the update alone.",
    "update = self.scaling * self.lora_B.weight @": "get_delta_weight: here B A is formed, once.",
    "weight.copy_(": "base_layer.weight.data += delta_weight.",
}


def explained() -> list[tuple[str, str]]:
    """The lines of the module that LoRA from scratch is, read from its file, and a word on PEFT beside some."""
    lines = CODE.read_text(encoding="utf-8").rstrip().split("\n")
    begun = next(at for at, line in enumerate(lines) if line.startswith("class "))
    return [
        (
            line,
            next((note for piece, note in NOTES.items() if line.strip().startswith(piece) or f" {piece}" in line), ""),
        )
        for line in lines[begun:]
    ]
