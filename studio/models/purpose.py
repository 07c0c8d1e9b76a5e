"""What a model's config says it was made for: to write text, or only to read it. Without torch."""

from __future__ import annotations

import json
from pathlib import Path

from studio.errors import ModelError

# Architectures that read both ways; a bare '...Model' is a body without the layer that writes.
_READ = ("ForMaskedLM", "ForPreTraining", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def check_purpose(folder: Path, title: str, *, writes: bool) -> None:
    """Refuse a model that cannot do what an objective asks of it, or is quantised already. Raises ModelError.

    `writes`: it must write text, word after word; otherwise an encoder does as well. A config that
    cannot be read is refused elsewhere.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures = [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError):
        return
    if config.get("quantization_config"):  # packed weights, whose shapes are not the layers' widths
        raise ModelError(
            f"{title} is quantised already, and such weights cannot be trained here.",
            remedy="Choose the model it was made from, which is not quantised, and QLoRA as method.",
        )
    shown = architectures[0] if architectures else config.get("model_type", "model of no known kind")
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"{title} is a {shown}, which has an encoder and a decoder; no objective here can train it.",
            remedy="Choose a causal language model such as the starter, or an encoder such as 'minilm'.",
        )
    if writes and architectures and all(map(_only_reads, architectures)):
        raise ModelError(
            f"{title} is a {shown}, which does not write text word after word.",
            remedy="Choose a causal language model, such as the starter; or choose 'Classification' as objective.",
        )


def _only_reads(architecture: str) -> bool:
    bare = architecture.endswith("Model") and not architecture.endswith("LMHeadModel")
    return bare or architecture.endswith(_READ)
