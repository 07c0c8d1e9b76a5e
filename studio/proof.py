"""Whether files of an adapter or a model are what they say: JSON that names no code, safetensors that are whole."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from studio.errors import ModelError

Shapes = dict[str, tuple[int, ...]]  # weight name → shape

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODEL_CONFIG = "config.json"  # beside an adapter: of the model it was trained on, read for a classifier's labels alone
LONGEST_HEADER = 25_000_000  # bytes; the largest known, of models with thousands of experts, take a quarter of it
LONGEST_JSON = 100_000_000  # bytes; a tokenizer of a quarter of a million tokens takes a third of it
LONGEST_CONFIG = 5_000_000
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")  # a file's name that leads nowhere

_DEEPEST = 100  # lists and objects within one another
_CODE_KEYS = ("auto_map", "custom_pipelines", "trust_remote_code", "custom_generate")
_KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "C64": 64,
}  # fmt: skip


def prove(folder: Path, *, adapter: bool) -> Shapes:
    """The shapes of all weights but those of an adapter's heads. Raises ModelError where a file is not what it says."""
    for path in sorted(folder.glob("*.json")):
        if adapter and path.name == MODEL_CONFIG:
            continue
        small = path.name.endswith("config.json")
        values = read_json(path, LONGEST_CONFIG if small else LONGEST_JSON)
        if small:
            _check_no_code(values, path.name)
        if path.name.endswith(".index.json"):
            _check_index(values, folder)
    found: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes = safetensors_shapes(path)
        if adapter and any(0 in shape for shape in shapes.values()):  # whose other sides could be of any size
            raise ModelError(f"{path.name} holds weights of no size.", remedy="Bring it as it was saved.")
        if not adapter or path.name == ADAPTER_WEIGHTS:
            found |= shapes
    return found


def read_json(path: Path, longest: int) -> dict[str, Any]:
    """The object in a JSON file of at most `longest` bytes. Raises ModelError."""
    if path.stat().st_size > longest:
        raise ModelError(f"{path.name} is far too long for what it is.", remedy="Bring it as it was published.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ModelError(f"{path.name} is damaged: it holds no JSON object.", remedy="Bring it as it was published.")
    return values


def _check_no_code(values: Any, name: str, depth: int = 0) -> None:
    """Refuse a config that names code: of its own, or a kernel that would be fetched."""
    if depth > _DEEPEST:
        raise ModelError(f"{name} is damaged: it holds lists within lists.", remedy="Bring it as it was published.")
    if isinstance(values, list):
        for each in values:
            _check_no_code(each, name, depth + 1)
        return
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        if (key in _CODE_KEYS and value) or (key in _KERNEL_KEYS and "/" in str(value)):
            raise ModelError(
                f"{name} names code that is not part of transformers ('{key}'), which Finetune Studio never runs.",
                remedy="Choose a model whose architecture is part of transformers; then that entry can be taken out.",
            )
        _check_no_code(value, name, depth + 1)


def _check_index(values: dict[str, Any], folder: Path) -> None:
    """Refuse an index of weights that leads to other files than those that were brought."""
    named = values.get("weight_map")
    files = set(map(str, named.values())) if isinstance(named, dict) else {""}
    if missing := sorted(each for each in files if not (PLAIN.fullmatch(each) and (folder / each).is_file())):
        raise ModelError(
            f"The index of the weights names {shown(missing[0]) or 'no files'}, which was not brought.",
            remedy="Bring all of the model's *.safetensors, in one folder.",
        )


def safetensors_shapes(path: Path) -> Shapes:
    """Weight name → shape, from the header, all of which is checked. Raises ModelError for any other kind of file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(9)
        length = int.from_bytes(first[:8], "little")
        if len(first) < 9 or first[8:] != b"{" or length > size - 8:
            # Only then: a header of 640 bytes begins as a pickle does.
            if first.startswith(b"PK\x03\x04") or (first[:1] == b"\x80" and first[1:2] in b"\x02\x03\x04\x05"):
                raise pickled(path.name)
            raise ModelError(f"{path.name} is no safetensors file, or not whole.", remedy="Bring it again.")
        if length > LONGEST_HEADER:
            raise ModelError(f"The header of {path.name} is far too long.", remedy="Bring it as it was published.")
        file.seek(8)
        text = file.read(length)
    try:
        return _read_header(json.loads(text), size - 8 - length)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ModelError(f"The header of {path.name} is damaged.", remedy="Bring it again.") from None


def _read_header(header: dict[str, Any], length: int) -> Shapes:
    """Raises ValueError, TypeError or KeyError unless the weights lie end to end and fill `length` bytes."""
    shapes: Shapes = {}
    places = []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        shape, (start, end) = tuple(about["shape"]), about["data_offsets"]
        if not all(type(each) is int and each >= 0 for each in (*shape, start, end)) or len(shape) > 16:
            raise ValueError(name)
        if 8 * (end - start) != prod(shape) * _BITS[about["dtype"]]:
            raise ValueError(name)
        shapes[name] = shape
        places.append((start, end))
    at = 0
    for start, end in sorted(places):
        if start != at:
            raise ValueError(start)
        at = end
    if at != length:
        raise ValueError(length)
    return shapes


def pickled(what: str) -> ModelError:
    return ModelError(
        f"{what} holds pickled weights, and unpickling a file can run any code hidden in it.",
        remedy="Bring them as safetensors, whatever the file is called; whoever made them can save them so.",
    )


def shown(name: str) -> str:
    """A name from outside in a sentence: not too long, and nothing in it that a terminal would obey."""
    plain = "".join(each if each.isprintable() else "?" for each in name)
    return plain if len(plain) <= 80 else f"{plain[:80]}…"
