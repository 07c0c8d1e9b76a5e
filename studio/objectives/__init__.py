"""WHAT is minimised. One file per objective; the file name is its key in a config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from studio.catalog import Entry, discover
from studio.data.kept import NOWHERE, Kept

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.library import Opened
    from studio.data.templates import Mapping
    from studio.data.tokens import Report
    from studio.events import Event
    from studio.methods import Method
    from studio.training.settings import TrainingSettings

Progress = Callable[[int, int], None]
Conversation = list[dict[str, str]]


@dataclass(frozen=True)
class Prepared:
    """Tokenised rows, ready for a trainer. Each row has `input_ids` and `labels`."""

    train: Sequence[Any]
    validation: Sequence[Any]
    report: Report
    old: Sequence[Any] = field(default_factory=list)  # rows of old data that the run guards, never trained on
    notes: list[str] = field(default_factory=list)  # what the person should know about the rows


@dataclass(frozen=True)
class Ending:
    """What a comparison after training is given: the held-out rows and how to tell and to stop."""

    tokenizer: Any
    prepared: Prepared
    conversations: list[Conversation]  # held-out ones, where the data is read as conversations
    training: TrainingSettings
    stop: Callable[[], bool]
    progress: Progress


class Objective(Entry):
    """Base of all objectives."""

    formats: ClassVar[tuple[str, ...]] = ()  # data formats it can learn from
    writes: ClassVar[bool] = True  # its model writes text; otherwise an encoder does as well
    talks: ClassVar[bool] = True  # the chat has a use for its model
    keeps_old: ClassVar[bool] = False  # can be scored on old data, replay it and be held back by a penalty
    rewarded: ClassVar[bool] = False  # learns from what the config's rewards give its answers

    max_length: int  # tokens behind which a row is cut off

    def packs(self, mapping: Mapping) -> bool:
        """Whether rows are joined end to end instead, and divided into blocks of that length."""
        return False

    def row_length(self) -> int:
        """Tokens that a row can become at most."""
        return self.max_length

    def drawn(self) -> int:
        """Tokens that the model writes to a row at most, to learn from them; 0 where it only reads."""
        return 0

    def check(self, opened: Opened) -> None:
        """Raise DatasetError or ConfigError where it cannot learn from that data. Imports no torch."""

    def check_rows(self, train: Dataset, mapping: Mapping) -> None:
        """Raise DatasetError where it cannot learn from the rows that are left once others are held out."""

    def prepare(
        self,
        train: Dataset,
        validation: Dataset | None,
        mapping: Mapping,
        tokenizer: Any,
        progress: Progress,
        kept: Kept = NOWHERE,
    ) -> Prepared:
        """Rows → tokens, or what `kept` has of them. Raises DatasetError where nothing can be learnt from them."""
        raise NotImplementedError

    def learning_rate(self, method: Method) -> float:
        """What suits this objective with that method, where a person sets none."""
        return method.learning_rate

    def assemble(self, model: Any, prepared: Prepared) -> Any:
        """`model`, its method attached, with what this objective puts on top, such as a head per label."""
        return model

    def trainer(self) -> type[Any]:
        """The StudioTrainer that minimises this objective over Prepared rows."""
        raise NotImplementedError

    def compare(self, model: Any, ending: Ending) -> Event | None:
        """What training changed, measured on held-out rows; None where there is nothing to measure on."""
        return None


def objectives() -> dict[str, type[Objective]]:
    """Key → settings class of every objective there is."""
    return discover(sys.modules[__name__], Objective)  # pyright: ignore[reportReturnType]
