"""What a run learnt, alone."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import ClassVar

from studio.errors import ModelError
from studio.exports import Export, Source, Tell
from studio.exports._beside import check_saved, texts, tokenizer_of, tokenizer_room, zipped

_CONFIG = "adapter_config.json"


class Adapter(Export):
    """The adapter's folder as a zip: safetensors and a config in PEFT's layout, heads and added words beside them,
    and the tokenizer with the chat template that it was trained with.

    Whoever loads it needs the base model as well: PEFT's `PeftModel.from_pretrained`, vLLM, or Finetune Studio.
    """

    title: ClassVar[str] = "Adapter"
    about: ClassVar[str] = "Only what was learnt, in PEFT's layout. Small; whoever loads it needs the base model too."
    ending: ClassVar[str] = ".zip"

    def check(self, source: Source) -> None:
        check_saved(source)

    def room(self, source: Source) -> int:
        """See Export. Copied, then packed, where each file goes as soon as it is in."""
        sizes = [file.stat().st_size for file in source.folder.adapter.iterdir()]
        return sum(sizes) + max(sizes, default=0) + 2 * tokenizer_room(source)

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        self.check(source)
        with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
            folder = Path(scratch)
            tell("Copying the adapter", 0, 0)
            for file in source.folder.adapter.iterdir():
                shutil.copyfile(file, folder / file.name)
            told = [*_for_others(folder / _CONFIG), *_with_tokenizer(source, folder)]
            for name, text in texts(source, "adapter").items():
                (folder / name).write_text(text, encoding="utf-8")
            zipped(folder, to, tell)
        tell("Reading it back", 0, 0)
        return [_read_back(to), *told]


def _for_others(config: Path) -> list[str]:
    """Let the config say nothing of this machine; sentences on who can load the adapter."""
    about = json.loads(config.read_text(encoding="utf-8"))
    base = str(about.get("base_model_name_or_path") or "")
    told = []
    if Path(base).is_absolute():
        about["base_model_name_or_path"] = Path(base).name
        config.write_text(json.dumps(about, indent=2), encoding="utf-8")
        told.append(f"Its base is a folder of this machine, '{Path(base).name}': whoever loads it needs a copy.")
    elif base == "tiny":
        told.append("Its base is the studio's tiny model, which no other program has.")
    if "method" in about:  # see `studio.models.own`
        told.append("This method is not one of PEFT's: Finetune Studio loads it, other programs do not.")
    return told


def _with_tokenizer(source: Source, folder: Path) -> list[str]:
    """Put the tokenizer beside the adapter; what there is to say of that."""
    tokenizer = tokenizer_of(source)
    if tokenizer is None:
        return ["The base is not on this machine any more, so that its tokenizer is not in the zip."]
    tokenizer.save_pretrained(folder)
    if (folder / "vocabulary.json").is_file():
        return ["It learnt new words: enlarge the base's embeddings to the tokenizer's length before loading it."]
    return []


def _read_back(to: Path) -> str:
    """Raises ModelError where a number in it is none."""
    from safetensors.torch import load

    count = weights = 0
    with zipfile.ZipFile(to) as archive:
        for name in archive.namelist():
            for key, weight in load(archive.read(name)).items() if name.endswith(".safetensors") else ():
                if not weight.isfinite().all():
                    raise ModelError(
                        f"{key} in {name} holds numbers that are none: the run's loss left all bounds.",
                        remedy="Train again with a lower learning rate.",
                    )
                count, weights = count + weight.numel(), weights + 1
    return f"Read back from the zip: {count:,} numbers in {weights:,} weights, all of them finite."
