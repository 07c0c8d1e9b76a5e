"""What many conversations begin with is read once: its keys and values are kept, and rows go on behind them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from studio.models.generate import Begun, answering, left_padded, sample_batch

_WORTH = 8  # tokens in common that are worth a pass of their own
_KEPT_BYTES = 1 << 28  # of all that is kept; what was used last stays
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the probe, as a share of the norm
_COARSE = 0.06  # the same where numbers have 8 or 11 bits
_TIE = 0.5  # nats between two tokens that a rounding may turn round


@dataclass(frozen=True)
class _Read:
    """What the model has read of a row's beginning."""

    ids: list[int]
    cache: Any  # transformers' Cache of one row

    @property
    def size(self) -> int:
        """Bytes."""
        tensors = (each for layer in self.cache.layers for each in (layer.keys, layer.values) if each is not None)
        return sum(each.nbytes for each in tensors)


class Beginnings:
    """Those of one model. Whoever asks sees to adapter and eval mode, and that no gradient is wanted."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._cuts = "logits_to_keep" in inspect.signature(inner.forward).parameters
        self._kept: list[_Read] = []  # the one used last stands last
        self._reach = math.inf  # tokens from the first to the last of a row; some look back no further
        self.reason = ""  # why this model reads everything anew, each row alone; '' where it need not
        with answering(model, adapter=True):
            self.reason = self._why_not()
        self._kept = []

    def of(self, prompts: Sequence[list[int]], longest: int) -> Begun:
        """What all prompts have in common but for a last token, or the part of it that is known already.

        `longest` is how many tokens there will be at most in one row. A single prompt has nothing in common.
        """
        if self.reason or longest > self._reach or len(prompts) < 2:
            return Begun()
        common = _common(prompts)
        best = max(self._kept, key=lambda each: _overlap(each.ids, common), default=None)
        known = _overlap(best.ids, common) if best else 0
        if len(common) - known >= _WORTH:
            best, known = self._read(common, best, known), len(common)
        if best is None or not known:
            return Begun()
        self._keep(best)
        return Begun(known, _copied(best.cache, known, len(prompts)))

    def logits(self, rows: Sequence[list[int]], prompts: Sequence[list[int]], wanted: Sequence[int]) -> list[Tensor]:
        """Of the last `wanted` tokens of each row, each of shape (wanted, vocabulary).

        `prompts` are the beginnings of the rows, of which the last token at least is among the wanted.
        """
        if self.reason:
            return [self._logits(torch.tensor([row]), count)[0] for row, count in zip(rows, wanted, strict=True)]
        begun = self.of(prompts, max(map(len, rows)))
        ids, mask = left_padded(rows, self.tokenizer.pad_token_id, begun.length)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, begun.length :]
        found = self._logits(
            ids[:, begun.length :],
            max(wanted),
            attention_mask=mask.to(self.model.device),
            position_ids=positions.to(self.model.device),
            past_key_values=begun.cache,
            use_cache=begun.cache is not None,
        )
        return [each[-count:] for each, count in zip(found, wanted, strict=True)]

    def _logits(self, ids: Tensor, last: int, **given: Any) -> Tensor:
        """Of the `last` tokens of each row, of shape (rows, last, vocabulary)."""
        return self._forward(ids, last, **given).logits[:, -last:]

    def _read(self, ids: list[int], best: _Read | None, known: int) -> _Read:
        """Read `ids`, of which `best` holds the first `known`."""
        cache = _copied(best.cache, known, 1) if best and known else None
        given = self._forward(torch.tensor([ids[known:]]), 1, past_key_values=cache, use_cache=True)
        return _Read(ids, given.past_key_values)

    def _forward(self, ids: Tensor, last: int, **given: Any) -> Any:
        cut = {"logits_to_keep": last} if self._cuts else {}
        return self.model(input_ids=ids.to(self.model.device), **given, **cut)

    def _keep(self, used: _Read) -> None:
        self._kept = [*(each for each in self._kept if each is not used), used]
        while len(self._kept) > 1 and sum(each.size for each in self._kept) > _KEPT_BYTES:
            self._kept.pop(0)

    # -- whether this model can ---------------------------------------------------------------------------

    def _why_not(self) -> str:
        if (config := getattr(self.model, "active_peft_config", None)) is not None and config.is_prompt_learning:
            return "a learnt prompt stands in front of each row"
        try:
            return self._differs()
        except Exception as error:  # whatever a model's code says to what it does not know
            said = str(error).strip().partition("\n")[0][:150].rstrip(".")
            return f"it does not go on behind what it has read ({type(error).__name__}: {said})"

    def _differs(self) -> str:
        """'' where rows of unlike lengths get, behind one beginning, what each gets alone, once and once more.

        Less may change than what the beginning itself changes, even where a model hardly looks at other tokens.
        """
        size = min(self.model.get_input_embeddings().weight.shape[0], 1000)
        ids = [place * 7919 % size for place in range(17)]
        others = [(each + size // 2) % size for each in ids]
        layers = self._read(ids[:4], None, 0).cache.layers
        if not all(layer.is_croppable for layer in layers):
            return "what it has read cannot be cut"
        self._reach = min((far for layer in layers if (far := layer.get_max_length()) > 0), default=math.inf)
        prompts = [ids, [*ids[:13], others[13]]]
        for _ in range(2):  # what is kept must still be what it was
            begun = self.of(prompts, len(ids) + 2)
            written = sample_batch(self.model, self.tokenizer, prompts, max_new_tokens=2, temperature=0.0, begun=begun)
            rows = [prompt + new for prompt, new in zip(prompts, written, strict=True)]
            counts = [len(new) + 1 for new in written]
            for row, count, beside in zip(rows, counts, self.logits(rows, prompts, counts), strict=True):
                alone, changed = (
                    self._logits(torch.tensor([each]), count)[0].float() for each in (row, others[:9] + row[9:])
                )
                share = _TOLERANCE.get(self.model.dtype, _COARSE)
                allowed = torch.minimum(share * alone.norm(), 0.5 * (alone - changed).norm())
                said = alone[:-1].gather(-1, torch.tensor(row[1 - count :], device=alone.device)[:, None])
                if (alone - beside).norm() > allowed or (alone[:-1].amax(-1) - said[:, 0]).max() > _TIE:
                    return "it computes something else behind what it has read"
        return ""


def _common(rows: Sequence[list[int]]) -> list[int]:
    """What all begin with, so that of each a token is left."""
    first, last = min(rows), max(rows)  # whatever these two have in common, those between them have too
    return first[: min(_overlap(first, last), min(map(len, rows)) - 1)]


def _overlap(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _copied(cache: Any, length: int, rows: int) -> Any:
    """Its first `length` tokens, for so many rows. A layer grows by making new tensors, so that these can be shared."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    if length < cache.get_seq_length():
        copied.crop(length - cache.get_seq_length())
    copied.batch_repeat_interleave(rows)
    return copied
