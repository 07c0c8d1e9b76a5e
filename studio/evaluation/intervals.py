"""How far what was counted or averaged over a few rows may be from the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence

_Z = 1.96  # of the normal distribution: 95 % lie within


def wilson(hits: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, from `hits` of `count`; (0, 1) where nothing was counted. A tie is half a hit.

    Wilson 1927, Probable inference, the law of succession, and statistical inference. Unlike the usual
    ± 1.96 standard errors it stays within 0 and 1, and has a width where all or none are hits.
    """
    if not count:
        return 0.0, 1.0
    share, z = hits / count, _Z
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(values: Sequence[float], *, level: float = 0.9, draws: int = 4000) -> tuple[float, float]:
    """The interval of their mean: so many rows drawn anew, with replacement, again and again.

    Efron 1979, doi:10.1214/aos/1176344552, percentiles. Of the differences between two prompts on the same rows it
    is the paired interval. Two or three values say little, whatever it says.
    """
    import numpy as np

    if not len(values):
        return 0.0, 0.0
    found = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(0, len(found), size=(draws, len(found)))
    low, high = np.quantile(found[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
