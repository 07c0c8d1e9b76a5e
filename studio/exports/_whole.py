"""A run's adapter in its base's weights, and what comes of it held against the two apart. For workers only."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.benchmarks.passage import PARAGRAPHS
from studio.data.rendering import render
from studio.data.turns import Message
from studio.errors import ModelError, StudioError
from studio.exports import Source, Tell
from studio.models.base import Placement, load, placement
from studio.models.catalog import Located, locate
from studio.models.heads import Headed, outputs, with_saved_heads
from studio.trained import onto

ROWS = 4  # that are asked
TOKENS = 64  # of each, at most: their logits are kept, and a vocabulary may be large
EXACT = Placement("cpu", "float32", "In float32, so that the comparison rounds nothing.")

# Mean difference of logits, as a share of their spread, beyond which something is wrong and not just rounded. Rounding
# moved them by under a tenth of this wherever it was tried; logits of another model differ by about 1.
LIMITS = {"float32": 0.001, "bfloat16": 0.1, "float16": 0.05}


@dataclass(frozen=True)
class Agreement:
    """How near one model's logits are to another's, on the same tokens."""

    largest: float  # difference
    mean: float  # difference
    spread: float  # the standard deviation of the first one's
    same: float  # share of places where both hold the same next token, or label, for the likeliest

    @classmethod
    def of(cls, before: Sequence[Tensor], after: Sequence[Tensor]) -> Agreement:
        """Of tensors of shape (places, choices), pairwise."""
        pairs = list(zip(before, after, strict=True))
        apart = torch.cat([(one - other).abs().flatten() for one, other in pairs])
        same = torch.cat([one.argmax(dim=1) == other.argmax(dim=1) for one, other in pairs])
        spread = torch.cat([each.flatten() for each in before]).std()
        return cls(*(each.item() for each in (apart.max(), apart.mean(), spread, same.float().mean())))

    def sentence(self, what: str, other: str, rows: str) -> str:
        """Both named as people call them; `rows` are what both were asked."""
        return (
            f"On {rows} the logits of {what} differ from those of {other} by {self.largest:.2g} at most and "
            f"{self.mean:.2g} on average, where they spread by {self.spread:.2g}; the likeliest choice is the same in "
            f"{self.same:.1%} of places."
        )

    def check(self, limit: float) -> None:
        """Raises ModelError where they are too far apart; `limit` is a share of the spread."""
        if not self.mean <= limit * self.spread:  # also where it is no number
            raise ModelError(
                f"What was written does not answer as the run's model does: its logits are off by {self.mean:.2g} on "
                f"average, where they spread by {self.spread:.2g}. Nothing was exported.",
                remedy="Try float32 or bfloat16; if that ends the same way, export the adapter and please report it.",
            )


@dataclass
class Whole:
    """The merged model in float32, and what base and adapter made of some rows before they became one."""

    model: Any  # a Headed where it names labels; None once it was saved
    tokenizer: Any
    source: Source
    title: str  # of the base
    conversations: list[list[Message]]  # held-out ones; none where the run held none out
    rows: list[list[int]]  # tokens
    before: list[Tensor]
    notes: list[str]

    @property
    def asked(self) -> str:
        """The rows in words."""
        kind = "held-out rows" if self.conversations else "paragraphs"
        return f"{len(self.rows)} {kind} ({sum(map(len, self.rows)):,} tokens)"

    def save(self, folder: Path, dtype: str, shard: int, tell: Tell) -> None:
        """As a folder of the Hugging Face layout, the heads beside it; the model is used up."""
        tell(f"Writing the model in {dtype}", 0, 0)
        inner = self.model.backbone if isinstance(self.model, Headed) else self.model
        inner.to(getattr(torch, dtype))
        nameless(inner)
        self.model.save_pretrained(str(folder), max_shard_size=shard)
        self.tokenizer.save_pretrained(folder)
        self.model = None
        gc.collect()

    def held_against_disk(self, folder: Path, dtype: str, tell: Tell) -> list[str]:
        """Sentences on the model in `folder`, loaded anew. Raises ModelError where it is another one."""
        tell("Loading it back", 0, 0)
        writes = self.source.config.objective.writes
        model = load(Located(folder, "The merged model", "folder"), EXACT, writes=writes).model
        if not writes:
            model = with_saved_heads(model, folder)
        found = Agreement.of(self.before, said(model.eval(), self.rows, tell))
        found.check(LIMITS[dtype])
        merged = f"the merged model, read back from disk ({dtype} weights, computed in float32),"
        return [found.sentence(merged, "base and adapter", self.asked), *self.notes]


def whole(source: Source, tell: Tell) -> Whole:
    """A run's model with its adapter merged, on the CPU. Raises StudioError."""
    config = source.config
    located = locate(config.model, source.workspace.models, tell)
    tell(f"Loading {located.title}", 0, 0)
    trained = onto(load(located, EXACT, writes=config.objective.writes), source.folder, config)
    conversations = held_out(source)
    rows = asked(conversations, trained.tokenizer, writes=config.objective.writes)
    before = said(trained.model, rows, tell)
    tell("Merging", 0, 0)
    model = trained.model.merge_and_unload()
    if isinstance(trained.model, Headed):
        trained.model.backbone = model
        model = trained.model
    found = Whole(model.eval(), trained.tokenizer, source, located.title, conversations, rows, before, [])
    found.notes += _beside_quantised(found, located, tell)
    return found


def _beside_quantised(found: Whole, located: Located, tell: Tell) -> list[str]:
    """What it means that the adapter learnt beside a quantised base and was merged into it as it was before."""
    config = found.source.config
    try:
        quantised = config.method.quantization(config.number_format)
        if quantised is None:
            return []
        tell("Loading the quantised base", 0, 0)
        place = replace(placement(config.number_format), device="cpu")
        loaded = load(located, place, quantised, writes=config.objective.writes)
        model = onto(loaded, found.source.folder, config).model
    except StudioError:  # bitsandbytes is not here any more
        return ["The adapter learnt beside a quantised base, which does not load here: how far that is from the "
                "merged model is not known."]  # fmt: skip
    apart = Agreement.of(said(model, found.rows, tell), found.before)
    other = "the quantised base with its adapter, as it was trained"
    return [
        "It was merged into the base as it was before it was quantised. "
        + apart.sentence("that sum", other, found.asked)
    ]


def held_out(source: Source) -> list[list[Message]]:
    """The first conversations that the run did not learn from."""
    if not source.folder.held_out.is_file():
        return []
    with source.folder.held_out.open(encoding="utf-8") as file:
        return [json.loads(line) for line in islice(file, ROWS)]


def asked(conversations: list[list[Message]], tokenizer: Any, *, writes: bool) -> list[list[int]]:
    """Tokens of these, or of a text of ours where there are none."""
    texts = [render(each, tokenizer).text if writes else each[0]["content"] for each in conversations]
    rows = tokenizer(texts or list(PARAGRAPHS[:ROWS]), add_special_tokens=not (writes and texts), verbose=False)
    return [ids[:TOKENS] for ids in rows["input_ids"] if ids]


@torch.inference_mode()
def said(model: Any, rows: list[list[int]], tell: Tell) -> list[Tensor]:
    """Logits of each row, shape (tokens, vocabulary); of a model with heads those of each head, (rows, outputs)."""
    if isinstance(model, Headed):
        batches = list(outputs(model, rows, model.config.pad_token_id or 0, len(rows)))
        return [each.float() for each in batches[0]]
    found = []
    for done, row in enumerate(rows):
        tell("Comparing logits", done, len(rows))
        ids = torch.tensor([row], device=model.device)
        found.append(model(input_ids=ids, use_cache=False).logits[0, -len(row) :].float().cpu())
    return found


def nameless(model: Any) -> None:
    """Let its config say nothing of where it lay on this machine."""
    model.name_or_path = model.config._name_or_path = ""
    for each in (model.config, getattr(model, "generation_config", None)):
        if each is not None and hasattr(each, "_name_or_path"):
            each._name_or_path = ""
