"""How well a reward model tells the better of two answers, and whether it is as sure as it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from studio.evaluation.intervals import wilson
from studio.events import PreferencesScored
from studio.models.heads import outputs

_BARS = 20  # of the histogram of margins
_BINS = 5  # of the calibration, between a sureness of one half and one


def score_pairs(model: Any, ending: Any) -> PreferencesScored | None:
    """The rewards of all held-out pairs (see `Ending`) and what they say; None where it was stopped."""
    pairs = ending.prepared.validation
    documents = [part for pair in pairs for part in _parts(pair.input_ids, pair.documents)]
    size = ending.training.per_device_train_batch_size
    model.eval()
    rewards: list[float] = []
    for batch in outputs(model, documents, ending.tokenizer.pad_token_id, size):
        if ending.stop():
            return None
        rewards += batch[0][:, 0].tolist()
        ending.progress(len(rewards) // 2, len(pairs))
    return judged([chosen - rejected for chosen, rejected in zip(rewards[::2], rewards[1::2], strict=True)])


def judged(margins: Sequence[float]) -> PreferencesScored:
    """What the margins of pairs say, the reward of the chosen answer less that of the rejected one.

    A reward model claims that the answer it prefers is the better one with probability σ(|margin|) (Bradley and Terry
    1952). It is calibrated where that share of such pairs is right; `calibration_error` is the mean of how far it is
    off over pairs, as in Guo et al. 2017, arXiv:1706.04599, eq. 3. A tie is half right.
    """
    right = [(math.copysign(1, each) + 1) / 2 if each else 0.5 for each in margins]
    low, high = wilson(sum(right), len(margins))
    edges, counts = _histogram(margins)
    calibration = _calibration(margins, right)
    error = sum(each["rows"] * abs(each["sure"] - each["right"]) for each in calibration) / len(margins)
    return PreferencesScored(
        rows=len(margins),
        accuracy=sum(right) / len(margins),
        low=low,
        high=high,
        edges=edges,
        counts=counts,
        calibration=calibration,
        calibration_error=error,
    )


def _histogram(margins: Sequence[float]) -> tuple[list[float], list[int]]:
    """Edges of bars of equal width, 0 among them, and how many margins lie in each; more negative ones first."""
    width = max(max(map(abs, margins)), 1e-6) * 2 / _BARS
    first, last = math.floor(min(0.0, *margins) / width), math.floor(max(0.0, *margins) / width)
    counts = [0] * (last - first + 1)
    for each in margins:
        counts[math.floor(each / width) - first] += 1
    return [place * width for place in range(first, last + 2)], counts


def _calibration(margins: Sequence[float], right: Sequence[float]) -> list[dict[str, float]]:
    bins: dict[int, list[tuple[float, float]]] = {}
    for margin, hit in zip(margins, right, strict=True):
        sure = 1 / (1 + math.exp(-min(abs(margin), 50)))
        bins.setdefault(min(int((sure - 0.5) * 2 * _BINS), _BINS - 1), []).append((sure, hit))
    return [
        {
            "sure": sum(sure for sure, _ in pairs) / len(pairs),
            "right": sum(hit for _, hit in pairs) / len(pairs),
            "rows": len(pairs),
        }
        for _, pairs in sorted(bins.items())
    ]


def _parts(ids: list[int], lengths: list[int]) -> list[list[int]]:
    return [ids[: lengths[0]], ids[lengths[0] :]]
