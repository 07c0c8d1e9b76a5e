"""One file for llama.cpp and what stands on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal

from studio.errors import ConfigError, ModelError
from studio.exports import Export, Source, Tell
from studio.exports._beside import SMALL, structure_of, tokenizer_room
from studio.exports.merged import check_merges
from studio.models.catalog import folder_of
from studio.models.structure import is_embedding
from studio.settings import setting

# Architectures of transformers whose files were proven here: read back, they answer as before (tests/test_exports.py).
ARCHITECTURES = ("llama", "qwen2", "qwen3")
# Bits a weight of each format, scales included; k-quants mix several, and these are what all but embeddings come to.
BITS = {
    "f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5,
    "q6_k": 6.6, "q5_k_m": 5.7, "q4_k_m": 4.9, "q3_k_m": 4,
}  # fmt: skip
K_QUANTS = ("q6_k", "q5_k_m", "q4_k_m", "q3_k_m")
EIGHT_FOR_EMBEDDINGS = ("q5_1", "q5_0", "q4_1", "q4_0")  # each token depends on these weights
BLOCK = 256  # numbers of a row that a k-quant takes together; 32 in the others
# Bits where no block fits and llama.cpp takes a format of 32 instead (`tensor_type_fallback` in its llama-quant.cpp).
_NARROW = {"q6_k": 8.5, "q5_k_m": 6.5, "q4_k_m": 6, "q3_k_m": 5.2}

_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How a byte-level vocabulary splits text before it merges: llama.cpp's name for it, and what it says in tokenizer.json.
_SPLITS: dict[str, Callable[[list[dict[str, Any]]], bool]] = {
    "gpt-2": lambda steps: [each["type"] for each in steps] == ["ByteLevel"] and steps[0].get("use_regex", True),
    "smollm": lambda steps: (
        [each["type"] for each in steps] == ["Digits", "ByteLevel"]
        and steps[0].get("individual_digits", False)
        and steps[1].get("use_regex", True)
    ),
    "qwen2": lambda steps: _by_pattern(steps, _QWEN),
    "llama-bpe": lambda steps: _by_pattern(steps, _QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")),
}


class Gguf(Export):
    """The merged model as a single GGUF file, with its tokenizer and chat template: for llama.cpp, Ollama, LM Studio.

    q8_0 is hardly told from the model itself; below about 5 bits answers change. The file is read back, and its
    logits and answers on held-out rows are held against those of base and adapter.
    """

    title: ClassVar[str] = "GGUF"
    about: ClassVar[str] = "One file that llama.cpp, Ollama and LM Studio run, also on a laptop; quantised if wanted."
    ending: ClassVar[str] = ".gguf"
    loads: ClassVar[bool] = True

    quantization: Literal[
        "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"
    ] = setting(
        "q8_0",
        "Number format",
        help="The digit is the bits of most weights: fewer take less room and answer worse, small models most. Those "
        "with a k spend them better, and are made by llama.cpp where it is installed.",
        source="llama.cpp, tools/quantize",
    )

    def check(self, source: Source) -> None:
        check_merges(source)
        if not source.config.objective.writes:
            raise ModelError(
                "This run's model names labels or scores, which llama.cpp does not load.",
                remedy="Export the merged model, which has its heads beside it.",
            )
        _check_base(source)
        if self.quantization in K_QUANTS and not quantiser():
            raise ConfigError(
                f"{self.quantization} is made by llama.cpp's own quantiser, which is not installed here.",
                remedy="Install llama-cpp-python, or llama.cpp so that llama-quantize is found; or take q8_0 or q4_0.",
            )

    def room(self, source: Source) -> int:
        """See Export. A k-quant is made from a file of 16 bits a weight."""
        weights = structure_of(source).weights
        between = taken(weights, "f16") if self.quantization in K_QUANTS else 0
        return taken(weights, self.quantization) + between + tokenizer_room(source) + SMALL

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        self.check(source)
        from studio.exports._gguf import Reading, quantised, written
        from studio.exports._whole import whole

        merged = whole(source, tell)
        reading = Reading.of(merged, tell)
        split = _split_of(json.loads(merged.tokenizer.backend_tokenizer.to_str()))
        if self.quantization in K_QUANTS:
            between = to.with_name(f"{to.stem}-f16.gguf")
            written(merged, between, "f16", split, tell)
            stored = [quantised(between, to, self.quantization, tell)]
            between.unlink()
        else:
            written(merged, to, self.quantization, split, tell)
            stored = []
        return [*reading.held_against(merged, to, self.quantization, tell), *stored, *merged.notes]


def taken(weights: dict[str, tuple[int, ...]], kind: str) -> int:
    """Bytes of weights in a format, name → shape."""
    return round(sum(prod(shape) * _bits(name, shape, kind) for name, shape in weights.items()) / 8)


def _bits(name: str, shape: tuple[int, ...], kind: str) -> float:
    if len(shape) < 2:
        return 32
    if BITS[kind] < 16 and shape[-1] % 32:
        return 16
    fits = shape[-1] % BLOCK == 0
    if is_embedding(name) and (kind in EIGHT_FOR_EMBEDDINGS or kind in K_QUANTS):
        return 6.6 if fits and kind in K_QUANTS else 8.5
    return BITS[kind] if fits or kind not in K_QUANTS else _NARROW[kind]


def quantiser() -> str:
    """What makes k-quants on this machine: a program, 'llama_cpp', or '' for nothing."""
    return shutil.which("llama-quantize") or ("llama_cpp" if find_spec("llama_cpp") else "")


def _check_base(source: Source) -> None:
    """Raises ModelError where the architecture or the tokenizer was not proven."""
    folder = folder_of(source.config.model, source.workspace.models)
    if folder is None:
        raise ModelError(
            "The tiny model spells letter by letter, which llama.cpp cannot read.",
            remedy="Train the starter, or export the merged model.",
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if why := _unproven(config):
        raise ModelError(
            f"{source.config.model} cannot be exported as GGUF: {why}.",
            remedy="Export the merged model and convert it with llama.cpp's own convert_hf_to_gguf.py.",
        )
    file = folder / "tokenizer.json"
    _split_at(file, file.stat().st_mtime_ns if file.is_file() else 0)


def _unproven(config: dict[str, Any]) -> str:
    """Why a model of this config was not proven to work; "" where it was."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        return f"only {', '.join(ARCHITECTURES)} were proven, and it is a {kind}"
    for rope in (config.get("rope_parameters") or {}, config.get("rope_scaling") or {}):
        if (scaled := rope.get("rope_type", rope.get("type", "default"))) != "default":
            return f"its positions are scaled ({scaled}), which was not proven"
    if config.get("use_sliding_window"):
        return "it reads through a sliding window, which was not proven"
    if config.get("mlp_bias") or config.get("attention_bias"):
        return "its layers have biases, which was not proven"
    wide = (
        config["hidden_size"] // config["num_attention_heads"] if kind == "qwen2" else 128 if kind == "qwen3" else None
    )
    if wide and config.get("head_dim") not in (None, wide):
        return f"its heads are {config['head_dim']} wide, which was not proven"
    return ""


@lru_cache(maxsize=8)
def _split_at(file: Path, _written: int) -> str:
    """`_split_of` a file. Raises ModelError, also where there is none."""
    try:
        return _split_of(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise ModelError("The base's tokenizer.json cannot be read.", remedy="Fetch the model again.") from None


def _split_of(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how this tokenizer splits text. Raises ModelError where none was proven."""
    model, pre = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    plain = (tokenizer.get("normalizer") or {}).get("type") in (None, "NFC")
    merging = model["type"] == "BPE" and not model.get("byte_fallback") and model.get("merges")
    spaced = any(each.get("add_prefix_space") for each in steps)
    if plain and merging and not spaced and all("type" in each for each in steps):
        for name, fits in _SPLITS.items():
            if fits(steps):
                return name
    raise ModelError(
        "The base's tokenizer splits text in a way that was not proven for GGUF.",
        remedy="Export the merged model and convert it with llama.cpp's own convert_hf_to_gguf.py.",
    )


def _by_pattern(steps: list[dict[str, Any]], pattern: str) -> bool:
    if [each["type"] for each in steps] != ["Split", "ByteLevel"]:
        return False
    first, second = steps
    isolated = str(first.get("behavior")).lower() == "isolated" and not first.get("invert")
    return isolated and first.get("pattern") == {"Regex": pattern} and not second.get("use_regex", True)
