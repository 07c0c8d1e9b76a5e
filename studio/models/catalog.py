"""Which models there are, and where: those that come in packages, the tiny one, a local folder, the Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.errors import ModelError
from studio.models.bundled import fetched
from studio.models.hub import Hub, HubUnreachable, HuggingFaceHub, Progress
from studio.models.machine import fits, free_memory
from studio.models.minilm import MINILM
from studio.models.purpose import check_purpose
from studio.models.starter import STARTER
from studio.models.structure import Structure, read_structure
from studio.models.tiny import tiny_shapes
from studio.within import may_name

__all__ = [
    "BUNDLED",
    "IMPORTED",
    "SUGGESTIONS",
    "Located",
    "Suggestion",
    "check_name",
    "check_use",
    "fits",
    "folder_of",
    "free_memory",
    "hub_reachable",
    "imported",
    "is_here",
    "locate",
    "on_hub",
    "structure_of",
]

BUNDLED = {each.key: each for each in (STARTER, MINILM)}

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(f"{_PART}/{_PART}")
_WANTED = (".safetensors", ".json", ".txt", ".jinja", "tokenizer.model")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_PICKLES = (b"PK\3\4", *(b"\x80" + bytes([each]) for each in range(2, 6)))  # how pickles, and torch's files, begin
IMPORTED = "imported.json"  # in the folder of a model that a person brought: what it is called


@dataclass(frozen=True)
class Suggestion:
    """A model worth starting from."""

    model: str  # what `locate` takes
    title: str
    parameters: int
    licence: str
    context: int  # tokens it was trained to read
    gated: bool  # its licence must be accepted on the Hub first
    about: str
    writes: bool = True  # False: an encoder, for classification only


SUGGESTIONS = (
    Suggestion("starter", STARTER.title, 134_515_008, "Apache-2.0", 8192, False, "Small, quick, works without a Hub."),
    Suggestion(
        "minilm", MINILM.title, 22_565_376, "Apache-2.0", 512, False,
        "Reads English texts to sort them; writes none. Small, very quick, works without a Hub.", writes=False,
    ),
    Suggestion(
        "HuggingFaceTB/SmolLM2-360M-Instruct", "SmolLM2 360M Instruct", 361_821_120, "Apache-2.0", 8192, False,
        "The starter's bigger sister; still fine on a laptop's CPU.",
    ),
    Suggestion(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct", "SmolLM2 1.7B Instruct", 1_711_376_384, "Apache-2.0", 8192, False,
        "English; the best of its family.",
    ),
    Suggestion(
        "Qwen/Qwen3-0.6B", "Qwen3 0.6B", 596_049_920, "Apache-2.0", 32_768, False,
        "Over a hundred languages; can think before it answers.",
    ),
    Suggestion(
        "Qwen/Qwen3-1.7B", "Qwen3 1.7B", 1_720_574_976, "Apache-2.0", 32_768, False,
        "Over a hundred languages; can think before it answers.",
    ),
    Suggestion(
        "Qwen/Qwen3-4B", "Qwen3 4B", 4_022_468_096, "Apache-2.0", 32_768, False,
        "Strong for its size; wants a GPU.",
    ),
    Suggestion(
        "meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2 1B Instruct", 1_235_814_400, "Llama 3.2 Community", 131_072,
        True, "Eight languages, long texts.",
    ),
    Suggestion(
        "meta-llama/Llama-3.2-3B-Instruct", "Llama 3.2 3B Instruct", 3_212_749_824, "Llama 3.2 Community", 131_072,
        True, "Eight languages, long texts; wants a GPU.",
    ),
    Suggestion(
        "google/gemma-3-270m-it", "Gemma 3 270M", 268_098_176, "Gemma", 32_768, True,
        "Made to be fine-tuned for one task.",
    ),
    Suggestion(
        "google/gemma-3-1b-it", "Gemma 3 1B", 999_885_952, "Gemma", 32_768, True,
        "Text only, mostly English.",
    ),
    Suggestion(
        "tiny", "Tiny (random weights)", 90_624, "Apache-2.0", 2048, False,
        "Knows nothing; tries out a whole run in seconds.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Located:
    """A model that is on this machine and may be loaded."""

    path: Path | None  # None: built from nothing (tiny)
    title: str
    source: Literal["starter", "minilm", "tiny", "hub", "folder"]  # a key of BUNDLED, or where it came from


def locate(model: str, models_folder: Path, progress: Progress, hub: Hub | None = None) -> Located:
    """The folder of `model`, fetched first where needed. Raises ModelError.

    `model` is 'tiny', a key of BUNDLED, a folder (begins with '.', '/' or '~', or exists) or a Hub id.
    """
    check_name(model)
    if model == "tiny":
        return Located(None, "Tiny (random weights)", "tiny")
    hub = hub or HuggingFaceHub()
    if bundled := BUNDLED.get(model):
        return Located(fetched(bundled, models_folder, progress, hub), bundled.title, bundled.key)  # pyright: ignore[reportArgumentType]
    if _is_folder(model):
        folder = _folder(model).resolve()
        return Located(folder, folder.name, "folder")
    return Located(_from_hub(model, hub, progress), model, "hub")


def structure_of(model: str, models_folder: Path, *, writes: bool = True) -> Structure | None:
    """What `model` is made of, where that is known; nothing is fetched to find out.

    Unless it `writes`, it is the body alone, as it is loaded for an objective that needs no more.
    """
    if bundled := BUNDLED.get(model):
        found = Structure(bundled.shapes)
    elif model == "tiny":
        found = Structure(tiny_shapes())
    else:
        folder = folder_of(model, models_folder)
        found = read_structure(folder) if folder else None
    return found if found is None or writes else found.body()


def is_here(model: str, models_folder: Path) -> bool:
    """Whether `model` can be loaded without fetching anything."""
    folder = folder_of(model, models_folder)
    return model == "tiny" or (folder is not None and read_structure(folder) is not None)


def check_use(model: str, models_folder: Path, *, writes: bool) -> None:
    """Refuse a model that is on this machine and cannot do what is asked of it (see `check_purpose`)."""
    if BUNDLED.get(model) is MINILM and writes:  # known before it is fetched
        raise ModelError(
            f"{MINILM.title} reads texts and cannot write any.",
            remedy="Choose 'Classification' as objective, or a causal language model such as the starter.",
        )
    if folder := folder_of(model, models_folder):
        check_purpose(folder, model if len(model) <= 80 else folder.name, writes=writes)


def folder_of(model: str, models_folder: Path) -> Path | None:
    """The folder of `model` where it is on this machine already."""
    if bundled := BUNDLED.get(model):
        return models_folder / bundled.folder
    if model == "tiny" or _is_folder(model):
        return None if model == "tiny" else _folder(model)
    try:
        return HuggingFaceHub().cached(model)
    except ModelError:
        return None


def imported(models_folder: Path) -> list[Suggestion]:
    """The models that people brought, by name."""
    found = []
    for about in models_folder.glob(f"*/{IMPORTED}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            values = json.loads(about.read_text(encoding="utf-8"))
            title, parameters, writes = str(values["title"]), int(values["parameters"]), bool(values["writes"])
            found.append(Suggestion(str(about.parent), title, parameters, "imported", 0, False, "", writes))
    return sorted(found, key=lambda each: each.title)


def on_hub(model: str) -> bool:
    """Whether `locate` may have to fetch `model` from the Hub, where it may be a private one."""
    return model != "tiny" and model not in BUNDLED and not _is_folder(model)


def hub_reachable() -> bool:
    """Whether the Hub answers, decided within seconds."""
    return HuggingFaceHub().reachable()


def check_name(model: str) -> None:
    """Refuse what cannot be a model, without asking the network. Raises ModelError."""
    if model == "tiny" or model in BUNDLED:
        return
    try:
        folder = _folder(model) if _is_folder(model) else None
        if folder and not may_name(folder):
            raise ModelError(
                "A page that others reach takes no model by its path.",
                remedy="Choose one from the list, or of the Hub.",
            )
        names = [file.name for file in folder.iterdir()] if folder and folder.is_dir() else None
    except OSError as error:  # a name too long for any file, a folder that may not be read
        raise ModelError(
            f"{model[:80]} cannot be read ({error.strerror}).", remedy="Check the path and its permissions."
        ) from None
    if folder:
        if names is None:
            raise ModelError(f"There is no folder {model}.", remedy="Check the path; it must hold config.json.")
        _check_files(names, model)
        _check_config(folder, model)
        check_weights(folder, model)
    elif not _HUB_ID.fullmatch(model) or ".." in model or "--" in model:
        raise ModelError(
            f"{model!r} is neither a folder nor a name on the Hub.",
            remedy="Hub names look like 'HuggingFaceTB/SmolLM2-135M-Instruct'; or choose 'starter'.",
        )


def _folder(model: str) -> Path:
    return Path(os.path.expanduser(model))  # unlike Path's, it leaves an unknown user as it is


def _is_folder(model: str) -> bool:
    return model.startswith((".", "/", "~")) or Path(model).is_dir()


def _from_hub(model: str, hub: Hub, progress: Progress) -> Path:
    try:
        names = [name for name in hub.files(model) if "/" not in name]  # folders hold other formats' copies
    except HubUnreachable:
        folder = hub.cached(model)
        if folder is None:
            raise
    else:
        _check_files(names, f"'{model}'")
        wanted = [name for name in names if name.endswith(_WANTED) and not name.startswith("consolidated")]
        folder = hub.download(model, wanted, progress)
    _check_config(folder, f"'{model}'")
    check_weights(folder, f"'{model}'")
    return folder


def _check_files(names: Collection[str], title: str) -> None:
    """Refuse what lacks a config or safetensors, by file names alone. What they hold is the loader's to prove."""
    if "config.json" not in names:
        adapter = " It holds an adapter, which is not a model." if "adapter_config.json" in names else ""
        raise ModelError(f"{title} has no config.json.{adapter}", remedy="Choose a whole model.")
    if any(name.endswith(".safetensors") for name in names):
        return
    if any(name.endswith(_PICKLED) for name in names):
        raise ModelError(
            f"{title} has only pickled weights, and unpickling a file can run any code hidden in it.",
            remedy="Choose a copy with *.safetensors, or convert it on a machine you can afford to lose.",
        )
    raise ModelError(f"{title} has no *.safetensors, so there are no weights.", remedy="Choose a whole model.")


def check_weights(folder: Path, title: str) -> None:
    """Refuse pickles that are called otherwise, and lists of weights that name other files than safetensors."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            head = opened.read(9)  # of safetensors: eight bytes, any of them, and a brace
            if head.startswith(_PICKLES) and head[8:] != b"{":
                raise ModelError(
                    f"{file.name} of {title} is pickled, whatever its name says, and unpickling a file can run any "
                    "code hidden in it.",
                    remedy="Choose a copy with real *.safetensors.",
                )
    for file in folder.glob("*.safetensors.index.json"):
        try:
            named = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
            sound = all(each == Path(each).name and each.endswith(".safetensors") for each in named)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise ModelError(
                f"{file.name} of {title} names weights that are no *.safetensors beside it.",
                remedy="Fetch the model again, or choose another one.",
            )


def _check_config(folder: Path, title: str) -> None:
    """Refuse a config that cannot be read, or that wants code run that is not part of transformers."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        remote = bool(config.get("auto_map"))
        elsewhere = next(_elsewhere(config), "")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ModelError(f"The config.json of {title} cannot be read.", remedy="Fetch the model again.") from None
    if remote and not _in_transformers(config):
        raise ModelError(
            f"{title} brings its own Python code, which Finetune Studio never runs.",
            remedy="Choose a model whose architecture is part of transformers.",
        )
    if elsewhere:
        raise ModelError(
            f"{title} asks for code from '{elsewhere[:80]}', which Finetune Studio never runs.",
            remedy="Choose another model, or take that out of its config.json.",
        )


def _elsewhere(config: Any) -> Iterator[str]:
    """Repositories from which transformers would fetch a part of the model as code, wherever in a config they stand."""
    if isinstance(config, dict):
        for key, value in config.items():
            if str(key).endswith(("attn_implementation", "attn_implementation_internal", "experts_implementation")):
                yield from (each for each in _texts(value) if "/" in each)
            yield from _elsewhere(value)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value.values()] if value else []


def _in_transformers(config: dict[str, Any]) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    return any(name in KNOWN.values() for name in config.get("architectures") or [])
