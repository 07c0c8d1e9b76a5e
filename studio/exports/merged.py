"""One model, the adapter in its weights."""

from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path
from typing import ClassVar, Literal

from studio.bench import merges
from studio.errors import ModelError
from studio.exports import Export, Source, Tell
from studio.exports._beside import check_base, check_saved, structure_of, texts, tokenizer_room, zipped
from studio.settings import setting

SHARD = 2_000_000_000  # bytes of a file of weights at most
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def check_merges(source: Source) -> None:
    """Raises StudioError where there is nothing to merge, or no base to merge it into."""
    check_saved(source)
    if not merges(source.config):
        raise ModelError(
            f"What {source.config.method.title} learns is no update of the base's weights, so that it cannot be "
            "written into them.",
            remedy="Export the adapter, which is loaded beside the base; or train with LoRA.",
        )
    check_base(source)


class Merged(Export):
    """The adapter written into the base's weights: a whole model as a folder of the Hugging Face layout, in a zip.

    Both are added up in float32 and rounded once. QLoRA's is added to the base as it was before it was quantised:
    within 4 bits the sum would be lost. The model is read back from disk, and its logits on held-out rows are held
    against those of base and adapter apart.
    """

    title: ClassVar[str] = "Merged model"
    about: ClassVar[str] = "A whole model that needs no adapter, as transformers, vLLM and others load it."
    ending: ClassVar[str] = ".zip"
    loads: ClassVar[bool] = True

    precision: Literal["bfloat16", "float16", "float32"] = setting(
        "bfloat16",
        "Number format",
        help="Of the weights. Most models are published in bfloat16; float32 takes twice the room and loses nothing; "
        "float16 is for programs and GPUs without bfloat16.",
    )

    def check(self, source: Source) -> None:
        check_merges(source)

    def room(self, source: Source) -> int:
        """See Export. Written in shards, which are packed one after the other."""
        weights = _BYTES[self.precision] * sum(map(prod, structure_of(source).weights.values()))
        return weights + min(weights, SHARD) + 2 * tokenizer_room(source)

    def write(self, source: Source, to: Path, tell: Tell) -> list[str]:
        self.check(source)
        from studio.exports._whole import whole

        merged = whole(source, tell)
        with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
            folder = Path(scratch)
            merged.save(folder, self.precision, SHARD, tell)
            told = merged.held_against_disk(folder, self.precision, tell)
            for name, text in texts(source, "merged").items():
                (folder / name).write_text(text, encoding="utf-8")
            zipped(folder, to, tell)
        return told
