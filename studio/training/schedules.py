"""How the learning rate changes over a run. Without torch: the page draws what the trainer then does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

Shape = Literal["linear", "cosine", "constant", "warmup_stable_decay"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def schedule(shape: Shape, steps: int, warmup: float, decay: float) -> Callable[[int], float]:
    """Update, counted from 0 → factor on the learning rate, of a run of `steps` updates.

    The rate rises in equal parts over the `warmup` updates, then falls as `shape` says: in a straight line or along a
    cosine, towards what update number `steps` would have, 0; not at all; or, in a run's last `decay` updates, as
    1 - sqrt (Hägele et al. 2024, arXiv:2405.18392, section 3). The first two numbers are updates, or below 1 a share
    of them.
    """
    rising, falling = part(warmup, steps), max(1, part(decay, steps))

    def fallen(update: int) -> float:
        """How far it has fallen, 0 to 1."""
        passed = (update - rising) / max(1, steps - rising)
        match shape:
            case "linear":
                return passed
            case "cosine":
                return 0.5 - 0.5 * math.cos(math.pi * passed)
            case "constant":
                return 0.0
            case "warmup_stable_decay":
                return math.sqrt(max(0.0, update + 1 - (steps - falling)) / (falling + 1))

    def factor(update: int) -> float:
        return (update + 1) / (rising + 1) if update < rising else 1 - fallen(min(update, steps))

    return factor


def part(asked: float, steps: int) -> int:
    """Of so many updates; a share is rounded down, so that a short run has none."""
    return int(asked if asked >= 1 else steps * asked)
