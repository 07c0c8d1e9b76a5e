"""WHAT is minimised. One file per objective; the file name is its key in a config."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from studio.catalog import Entry, discover

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping
    from studio.data.tokens import Encoded, Report

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """Tokenised rows, ready for a trainer."""

    train: list[Encoded]
    validation: list[Encoded]
    report: Report


class Objective(Entry):
    """Base of all objectives."""

    formats: ClassVar[tuple[str, ...]] = ()  # data formats it can learn from

    def prepare(
        self, train: Dataset, validation: Dataset | None, mapping: Mapping, tokenizer: Any, progress: Progress
    ) -> Prepared:
        """Rows → tokens. Raises DatasetError where nothing can be learnt from them."""
        raise NotImplementedError

    def trainer(self) -> type[Any]:
        """The transformers.Trainer subclass that minimises this objective over Prepared rows."""
        raise NotImplementedError


def objectives() -> dict[str, type[Objective]]:
    """Key → settings class of every objective there is."""
    return discover(sys.modules[__name__], Objective)  # pyright: ignore[reportReturnType]
