"""What the model that answers, its adapter switched off, takes for likely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from studio.errors import RewardError
from studio.rewards import Tools

if TYPE_CHECKING:
    from torch import Tensor

_ROWS, _NUMBERS = 8, 2**26  # at once: rows, and numbers among the logits kept of them
_READS = 4096  # tokens of a row, where the model itself sets no lower limit


def needed(tools: Tools, title: str) -> None:
    """Raise RewardError where no model is at hand."""
    if tools.model is None or tools.tokenizer is None:
        raise RewardError(
            f"The reward '{title}' asks the model that answers, and none is at hand.",
            remedy="Leave it out here; it works in a preview with a model and in training.",
        )


def window(tools: Tools) -> int:
    """Tokens of a row that are looked at."""
    return min(getattr(tools.model.config, "max_position_embeddings", None) or _READS, _READS)


def told(
    tools: Tools, rows: Sequence[Sequence[int]], counts: Sequence[int], read: Callable[[int, Tensor], float]
) -> list[float]:
    """`read(row, log_probs)` for each row of tokens, none of them empty.

    `log_probs`, fp32 of shape (counts[row], vocabulary), is what the model expects behind each of the row's last
    tokens. The model is left as it was found.
    """
    import torch

    from studio.models.generate import answering
    from studio.training.route import Padded

    plain = Padded(tools.model, None)
    found = [0.0] * len(rows)
    with answering(tools.model, adapter=False):
        for batch in _batches(rows, counts, plain.vocabulary):
            lengths = torch.tensor([len(rows[row]) for row in batch])
            ends = lengths.cumsum(0).tolist()
            places = torch.cat([torch.arange(end - counts[row], end) for row, end in zip(batch, ends, strict=True)])
            ids = torch.tensor([token for row in batch for token in rows[row]])
            logits = plain.states(
                {"input_ids": ids.to(plain.device), "lengths": lengths.to(plain.device)}, places.to(plain.device)
            )
            for row, part in zip(batch, logits.split([counts[row] for row in batch]), strict=True):
                found[row] = read(row, part.float().log_softmax(dim=1))
    return found


def _batches(rows: Sequence[Sequence[int]], counts: Sequence[int], vocabulary: int) -> list[list[int]]:
    """Places of rows of like length, few enough at once that their logits need little room."""
    batches: list[list[int]] = []
    widest = 0
    for row in sorted(range(len(rows)), key=lambda row: len(rows[row])):
        widest = max(widest, counts[row])
        full = not batches or len(batches[-1]) == _ROWS or (len(batches[-1]) + 1) * widest * vocabulary > _NUMBERS
        if full:
            batches.append([])
            widest = counts[row]
        batches[-1].append(row)
    return batches
