"""No penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from studio.methods import Part
from studio.penalties import Penalty


class NoPenalty(Penalty):
    """Nothing is added to the loss."""

    title: ClassVar[str] = "None"
    about: ClassVar[str] = "Nothing holds the model back."

    def prepare(self, model: Any, batches: Iterable[Any], loss: Callable[[Any], tuple[Any, int]]) -> Part | None:
        return None
