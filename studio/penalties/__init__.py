"""WHAT is added to the loss so that what the model knew stays. One file per penalty; the file name is its key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from studio.catalog import Entry, discover
from studio.methods import Part


class Penalty(Entry):
    """Base of all penalties."""

    held: ClassVar[int] = 0  # bytes for each weight that learns, with what a backward pass through it keeps
    measures: ClassVar[str] = ""  # what it does with old data, for the progress; '': it needs none

    def rows(self) -> int:
        """How many rows of old data it looks at before training."""
        return 0

    def prepare(self, model: Any, batches: Iterable[Any], loss: Callable[[Any], tuple[Any, int]]) -> Part | None:
        """What is added to the loss at each update; None: nothing.

        `model` is as before the first step, `batches` are of old data, one row each, at most `rows()` of them,
        and `loss(batch)` gives its summed loss in nats and the count of its labelled tokens.
        """
        raise NotImplementedError


def learning(model: Any) -> dict[str, Any]:
    """Name → weight of all that learns."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def penalties() -> dict[str, type[Penalty]]:
    """Key → settings class of every penalty there is."""
    return discover(sys.modules[__name__], Penalty)  # pyright: ignore[reportReturnType]
