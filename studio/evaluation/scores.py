"""What many scores say together: the best of several, what goes with what, which part makes the sum vary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray


def best_of(scores: Array) -> list[float]:
    """Expected largest of n answers, n = 1 … k, from k to each prompt; `scores` has shape (prompts, k).

    The mean over all choices of n of the k: Σ_i C(i − 1, n − 1) / C(k, n) · x_(i), x_(i) the i-th smallest.
    Unbiased; for scores of 0 and 1 it is pass@n of Chen et al. 2021, arXiv:2107.03374, eq. 1.
    """
    import numpy as np

    ordered = np.sort(scores, axis=1).mean(axis=0)
    k = len(ordered)
    weights = ([math.comb(i, n - 1) / math.comb(k, n) for i in range(k)] for n in range(1, k + 1))
    return [float(ordered @ np.array(each)) for each in weights]


def best_of_kl(n: int) -> float:
    """KL in nats, at most, between the best of n answers and one answer: log n − (n − 1) / n.

    Beirami et al. 2024, arXiv:2401.01879, theorem 3.1: an upper bound, near where no answer is likely to come twice.
    """
    return math.log(n) - (n - 1) / n


def spearman(a: Array, b: Array) -> float | None:
    """Correlation of the ranks, ties sharing theirs; None where one of the two never changes."""
    import numpy as np

    x, y = (_ranks(each) - (len(each) + 1) / 2 for each in (a, b))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else None


def _ranks(values: Array) -> Array:
    import numpy as np

    # Rounded, for sums of the same parts may differ in their last bit.
    _, place, counts = np.unique(np.round(values, 12), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def variance_shares(parts: Mapping[str, Array]) -> dict[str, float]:
    """Each weighted part's share of the variance of their sum, Cov(part, sum) / Var(sum); they sum to 1.

    Below 0 where a part works against the sum. Empty where the sum never changes.
    """
    import numpy as np

    total = sum(parts.values()) - np.zeros(1)
    centred = total - total.mean()
    whole = float(centred @ centred)
    if whole < 1e-18:
        return {}
    return {key: float((part - part.mean()) @ centred) / whole for key, part in parts.items()}
