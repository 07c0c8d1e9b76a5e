"""How likely a running text is to a model: each token predicted once, in windows of what the model reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from studio.errors import ModelError
from studio.models.generate import answering, reads
from studio.models.heads import pad
from studio.speaker import nats_of

MOST = 2048  # tokens of a window, however many more the model reads
_AT_ONCE = 4096  # tokens of a batch, padding included: their logits take some hundred MB


def windows(ids: Sequence[int], prefix: int, most: int) -> Iterator[tuple[list[int], list[int]]]:
    """(tokens to read, tokens to predict from the last of them on) until each of `ids` was predicted once.

    As lm-eval's `loglikelihood_rolling` with a context of 1: windows of `most` tokens, the first behind `prefix`, each
    other behind the last token of the one before; what is left at the end is read behind as much as fits before it.
    """
    ids = list(ids)
    for begin in range(0, len(ids), most):
        end = min(begin + most, len(ids))
        context = [prefix] if begin == 0 else ids[end - most - 1 : begin]
        yield context + ids[begin : end - 1], ids[begin:end]


def read_texts(
    model: Any, tokenizer: Any, texts: Sequence[str], pulse: Callable[[], None] = lambda: None, most: int = MOST
) -> list[tuple[float, int]]:
    """(nats, tokens) of each text: minus the log-probability of all its tokens, none of which ends it.

    `pulse` is called before each batch, and may raise to leave. Windows are of `most` tokens, or what the model reads
    where that is less. Perplexity is exp(nats / tokens). As in lm-eval, a text stands behind the token that begins
    texts, or else the one that ends them, which is not put there twice. Raises ModelError where there is neither.
    """
    most = min(reads(model) or most, most)
    prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if prefix is None:
        raise ModelError(
            "This model's tokenizer has no token that begins or ends a text, so its first word would follow nothing.",
            remedy="Choose another model, or data with questions and answers.",
        )
    found = [[0.0, 0] for _ in texts]
    ids = [_ids(text, tokenizer, prefix) for text in texts]
    parts = [(place, *each) for place, row in enumerate(ids) for each in windows(row, prefix, most)]
    with answering(model, adapter=True):
        for batch in _batches(sorted(parts, key=lambda part: len(part[1]))):
            pulse()
            padded = {name: each.to(model.device) for name, each in pad([read for _, read, _ in batch], 0).items()}
            logits = model(**padded).logits
            for (place, read, predicted), row in zip(batch, logits, strict=True):
                # What stands behind a learnt prompt is counted from the end.
                end = row.shape[0] - padded["input_ids"].shape[1] + len(read)
                found[place][0] += nats_of(row[end - len(predicted) : end], predicted)
                found[place][1] += len(predicted)
    return [(nats, tokens) for nats, tokens in found]


def _ids(text: str, tokenizer: Any, prefix: int) -> list[int]:
    """With whatever the tokenizer puts before a text, unless the text begins with it."""
    begins = text.startswith(tokenizer.decode([prefix]))
    return tokenizer(text, add_special_tokens=not begins, verbose=False)["input_ids"]


def _batches(parts: Sequence[tuple[int, list[int], list[int]]]) -> Iterator[list[tuple[int, list[int], list[int]]]]:
    """Those of like length, which come one after another, together."""
    batch: list[tuple[int, list[int], list[int]]] = []
    for part in parts:
        if batch and (len(batch) + 1) * len(part[1]) > _AT_ONCE:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch
