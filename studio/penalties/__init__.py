"""WHAT is added to the loss so that what the model knew stays. One file per penalty; the file name is its key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from studio.catalog import Entry, discover
from studio.methods import Part

Progress = Callable[[int, int], None]


class Penalty(Entry):
    """Base of all penalties."""

    def prepare(
        self, model: Any, batches: Iterable[Any], loss: Callable[[Any, Any], tuple[Any, int]], progress: Progress
    ) -> Part | None:
        """What is added to the loss at each update; None: nothing.

        `model` is as before the first step, `batches` are of old data, one row each, and `loss(model, batch)`
        gives its summed loss in nats and the count of its labelled tokens. `progress(done, total)` counts rows.
        """
        raise NotImplementedError


def penalties() -> dict[str, type[Penalty]]:
    """Key → settings class of every penalty there is."""
    return discover(sys.modules[__name__], Penalty)  # pyright: ignore[reportReturnType]
