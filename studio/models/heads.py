"""A model that labels texts: a body whose method learns, and a linear head for each label column."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.data.labels import HEADS, Head, saved_heads, tokenise
from studio.errors import ModelError

WEIGHTS = "heads.safetensors"
Labels = dict[str, list[tuple[str, float]] | float]  # head → its labels with their probabilities, or a number


class Headed(nn.Module):
    """`backbone`, with its method attached, and an fp32 `nn.Linear` over its pooled hidden states per head.

    Encoders read both ways, so the mean over a text's tokens is taken (Reimers & Gurevych 2019,
    arXiv:1908.10084, section 3); in causal models only the last token has read the whole text. All else,
    such as `disable_adapter`, is the backbone's.
    """

    is_quantized = False  # as for a PeftModel: what learns is not

    def __init__(self, backbone: Any, heads: Sequence[Head]) -> None:
        super().__init__()
        self.backbone = backbone
        self.specs = tuple(heads)
        self.causal = is_causal(backbone.config)
        weight = backbone.get_input_embeddings().weight
        width = backbone.config.get_text_config().hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, head.width, device=weight.device) for head in heads)
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.02)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(head.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> list[Tensor]:
        """A tensor of shape (rows, outputs) per head: logits, or a scaled number. Rows are padded on the right."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.named(hidden[attention_mask.bool()], attention_mask.sum(dim=1))

    def named(self, states: Tensor, lengths: Tensor) -> list[Tensor]:
        """The same of hidden states of shape (tokens, width), those of all rows end to end."""
        states = states.float()
        if self.causal:
            pooled = states[lengths.cumsum(0) - 1]
        else:
            row = torch.arange(len(lengths), device=states.device).repeat_interleave(lengths)
            pooled = states.new_zeros(len(lengths), states.shape[1]).index_add(0, row, states) / lengths[:, None]
        return [head(pooled).float() for head in self.heads]

    def save_pretrained(self, folder: str, **options: Any) -> None:
        """What the method learnt, and the heads beside it."""
        from safetensors.torch import save_file

        self.backbone.save_pretrained(folder, **options)
        weights = {name: each.detach().cpu().contiguous() for name, each in self.heads.state_dict().items()}
        save_file(weights, Path(folder) / WEIGHTS, metadata={"format": "pt"})
        about = {"heads": [dataclasses.asdict(head) for head in self.specs]}
        (Path(folder) / HEADS).write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "backbone":  # not there yet
                raise
            return getattr(self.backbone, name)


def is_causal(config: Any) -> bool:
    """Whether a model of that config reads forward only, as those that write do."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as WRITE
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as READ

    return config.model_type in WRITE and config.model_type not in READ


def with_saved_heads(backbone: Any, folder: Path) -> Headed:
    """`backbone` with the heads in `folder`. Raises ModelError where they are damaged or do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        specs, weights = saved_heads(folder), load_file(folder / WEIGHTS)
        wide = backbone.config.get_text_config().hidden_size
        for place, head in enumerate(specs):  # before they take memory
            if weights[f"{place}.weight"].shape != (head.width, wide):
                raise ValueError(place)
        model = Headed(backbone, specs)
        model.heads.load_state_dict(weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            "The heads beside the adapter are damaged, or belong to another base model.", remedy="Train it again."
        ) from error
    return model


def pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, Tensor]:
    """input_ids and attention_mask of shape (rows, longest), padded on the right."""
    longest = max(map(len, rows))
    ids = [[*row, *[pad_token_id] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@torch.inference_mode()
def outputs(model: Any, rows: Sequence[Sequence[int]], pad_token_id: int, batch_size: int) -> Iterator[list[Tensor]]:
    """`model`'s outputs on the CPU, batch by batch in the rows' order."""
    device = model.heads[0].weight.device
    for at in range(0, len(rows), batch_size):
        batch = pad(rows[at : at + batch_size], pad_token_id)
        yield [each.cpu() for each in model(**{name: each.to(device) for name, each in batch.items()})]


def predict(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int,
    *,
    batch_size: int = 8,
    stop: Callable[[], bool] = lambda: False,
) -> list[Labels]:
    """What a Headed model says of each text: labels with probabilities, the likeliest first, or numbers.

    Of several labels that may be right at once, each has a probability of its own. `stop` ends it early.
    """
    rows = [ids for ids, _ in tokenise(texts, tokenizer, max_length)] if texts else []
    model.eval()
    found: list[Labels] = []
    for batch in outputs(model, rows, tokenizer.pad_token_id, batch_size):
        if stop():
            break
        said = [spoken(head, each) for head, each in zip(model.specs, batch, strict=True)]
        found += [dict(zip((head.name for head in model.specs), row, strict=True)) for row in zip(*said, strict=True)]
    return found


def spoken(head: Head, output: Tensor) -> list[Any]:
    """Each row of a head's output of shape (rows, outputs) as in `Labels`."""
    if head.kind == "number":
        return [float(value) * head.scale + head.mean for value in output[:, 0]]
    shares = output.softmax(dim=1) if head.kind == "classes" else output.sigmoid()
    return [sorted(zip(head.labels, row, strict=True), key=lambda each: -each[1]) for row in shares.tolist()]
