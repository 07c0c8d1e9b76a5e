"""New tokens in a model: their rows in the embeddings, and how an adapter remembers them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.data.vocabulary import add_terms, pieces_of
from studio.errors import ModelError

FILE = "vocabulary.json"  # in an adapter's folder


def extend(model: Any, tokenizer: Any, terms: Sequence[str]) -> list[int]:
    """Each term becomes one token, its rows the mean of its pieces'; returns the new ids.

    Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", and Gee et al. 2022
    (arXiv:2402.09977). Input and output embeddings that were tied stay so. The ids are kept as
    `model.new_token_ids`, for methods that learn just those rows.
    """
    import torch

    pieces = pieces_of(tokenizer, terms)
    ids = add_terms(tokenizer, terms)
    if max(ids) >= model.get_input_embeddings().num_embeddings:  # many models have rows to spare
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    with torch.no_grad():
        for layer in filter(None, {model.get_input_embeddings(), model.get_output_embeddings()}):
            for token, parts in zip(ids, pieces, strict=True):
                layer.weight[token] = layer.weight[parts].float().mean(dim=0)
    model.new_token_ids = ids
    return ids


def remembered(terms: Sequence[str]) -> dict[str, str]:
    """File name → text to save beside an adapter that learnt with these terms."""
    return {FILE: json.dumps({"terms": list(terms)}, ensure_ascii=False, indent=1)} if terms else {}


def terms_of(folder: Path) -> list[str]:
    """The terms that the adapter in `folder` learnt with. Raises ModelError."""
    if not (folder / FILE).is_file():
        return []
    try:
        terms = json.loads((folder / FILE).read_text(encoding="utf-8"))["terms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged() from error
    if not (isinstance(terms, list) and terms and all(isinstance(term, str) and term for term in terms)):
        raise _damaged()
    return terms


def restore(model: Any, tokenizer: Any, folder: Path) -> None:
    """What `extend` did before the adapter in `folder` learnt; nothing where it did not. Raises ModelError."""
    if terms := terms_of(folder):
        extend(model, tokenizer, terms)


def _damaged() -> ModelError:
    return ModelError(f"The adapter's {FILE} cannot be read: it is damaged.", remedy="Train it again.")
