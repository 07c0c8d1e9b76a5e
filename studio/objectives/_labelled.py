"""What classification with one head and with several share."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.data.kept import NOWHERE, Kept
from studio.data.labels import Cell, Head, Labelled, count, count_column, encode, target
from studio.errors import DatasetError
from studio.events import LabelsScored
from studio.objectives import Ending, Objective, Prepared, Progress
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.library import Opened
    from studio.data.templates import Mapping
    from studio.data.tokenised import Tokenised
    from studio.methods import Method

_HURRY = 5  # times the rate of next-token training: far fewer rows to learn from
_HURRIED = 1e-3  # no method is brought above this rate; one that wants more keeps its own


@dataclass(frozen=True)
class PreparedLabels(Prepared):
    """Rows with targets, the heads these belong to, and the rate at which heads learn."""

    heads: tuple[Head, ...] = field(default=())
    head_rate: float = 1e-3


class LabelObjective(Objective):
    """A model that reads a text and names its labels: a body, and heads on top."""

    formats: ClassVar[tuple[str, ...]] = ("labelled",)
    writes: ClassVar[bool] = False

    max_length: int = setting(
        256,
        "Cut-off length",
        ge=4,
        le=1_000_000,
        unit="tokens",
        help="Longer texts are cut here, or where the model's own window ends; the run says how many were.",
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "Class weights",
        help="'balanced' lets rare labels count more, each by the inverse of how often it occurs: for uneven data.",
        source="King & Zeng 2001, Logistic Regression in Rare Events Data",
    )
    head_learning_rate: float = setting(
        1e-3,
        "Learning rate of the heads",
        gt=0,
        le=1,
        advanced=True,
        help="The layers that name the labels start at random, whatever the method: they learn at a rate of their own.",
        source="Howard & Ruder 2018, arXiv:1801.06146, section 3.2",
    )
    label_separator: str = setting(
        ";",
        "Label separator",
        max_length=3,
        advanced=True,
        help="Stands between labels where a cell names several, such as 'rain; wind'. Empty: a cell is one label.",
    )

    # -- what subclasses say -------------------------------------------------------------------------

    def label_columns(self, mapping: Mapping) -> list[str]:
        """The columns that get a head. Raises ConfigError."""
        raise NotImplementedError

    def head(self, column: str, counts: Counter[Cell]) -> tuple[Head, list[str]]:
        """The head of a column with such labels, and notes on it. Raises DatasetError."""
        raise NotImplementedError

    # -- what Objective asks -------------------------------------------------------------------------

    def check(self, opened: Opened) -> None:
        for column in self.label_columns(opened.mapping):
            head, _ = self.head(column, count_column(opened.train.path, column))
            if opened.validation is not None and column in opened.validation.columns:
                cells = count_column(opened.validation.path, column)
                if cells and not any(target(head, cell, self.label_separator) for cell in cells):
                    raise _all_unseen(column)

    def learning_rate(self, method: Method) -> float:
        return max(method.learning_rate, min(_HURRIED, _HURRY * method.learning_rate))

    def check_rows(self, train: Dataset, mapping: Mapping) -> None:
        self._heads(train, mapping)

    def prepare(
        self,
        train: Dataset,
        validation: Dataset | None,
        mapping: Mapping,
        tokenizer: Any,
        progress: Progress,
        kept: Kept = NOWHERE,
    ) -> PreparedLabels:
        from studio.data.tokens import Report

        heads, notes = self._heads(train, mapping)
        total = len(train.rows)
        learnt, _ = self._encode(train, mapping, heads, tokenizer, lambda done: progress(done, total), kept)
        if not learnt:
            raise DatasetError(
                f"None of the {total:,} rows has both a text and a label.",
                remedy="Choose which column plays which part under 'Columns' in the Dataset tab.",
            )
        held_out: Sequence[Labelled] = []
        if validation is not None and validation.rows:
            held_out, unknown = self._encode(validation, mapping, heads, tokenizer, None, kept)
            notes += _unseen(unknown)
            if not held_out and any(unknown.values()):
                raise _all_unseen(next(iter(+unknown)))
            order = list(range(len(held_out)))
            random.Random(0).shuffle(order)  # noqa: S311 - the first ones are scored while training: of every label
            held_out = held_out.take(order)
        tokens = int(learnt.lengths.sum())
        report = Report(int(learnt.flat("truncated").sum()), total - len(learnt), tokens, tokens)
        return PreparedLabels(learnt, held_out, report, [], notes, tuple(heads), self.head_learning_rate)

    def _heads(self, train: Dataset, mapping: Mapping) -> tuple[list[Head], list[str]]:
        """As seen in the rows that are learnt from: a label that stands only among the held-out ones has no output."""
        heads, notes = [], []
        for column in self.label_columns(mapping):
            try:
                head, said = self.head(column, count(row.get(column) for row in train.rows))
            except DatasetError as error:  # the whole file was no reason to refuse it
                raise DatasetError(
                    f"Once rows are held out, too few labels are left to learn from. {error.problem}",
                    remedy=f"Set 'How rows are held out' to 'stratified' and 'Column to split by' to '{column}', or "
                    "bring more rows.",
                ) from error
            heads.append(head)
            notes += said
        return heads, notes

    def _encode(
        self, dataset: Dataset, mapping: Mapping, heads: list[Head], tokenizer: Any, progress: Any, kept: Kept
    ) -> tuple[Tokenised[Labelled], Counter[str]]:
        settings: dict[str, Any] = {"max_length": self.max_length, "separator": self.label_separator}

        def make() -> tuple[list[Labelled], dict[str, int]]:
            return encode(dataset.rows, mapping.columns["text"], heads, tokenizer, progress=progress, **settings)

        known = {**settings, "text": mapping.columns["text"], "heads": [asdict(head) for head in heads]}
        rows, unknown = kept.rows(Labelled, dataset, tokenizer, known, make)
        return rows, Counter(unknown)

    def assemble(self, model: Any, prepared: Prepared) -> Any:
        from studio.models.heads import Headed

        assert isinstance(prepared, PreparedLabels)
        return Headed(model, prepared.heads)

    def trainer(self) -> type[Any]:
        from studio.training.classifying import HeadTrainer

        return HeadTrainer

    def compare(self, model: Any, ending: Ending) -> LabelsScored | None:
        from studio.evaluation.labelling import score_labels

        if not ending.prepared.validation:
            return None
        return score_labels(model, ending)


def _unseen(unknown: Counter[str]) -> list[str]:
    return [
        f"{rows:,} held-out {'rows have labels' if rows > 1 else 'row has a label'} in '{column}' that no training row "
        "has; they are left out of its score. 'stratified' holds out some rows of each label."
        for column, rows in unknown.items()
        if rows
    ]


def _all_unseen(column: str) -> DatasetError:
    return DatasetError(
        f"No label of the held-out rows in the column '{column}' occurs in the training rows.",
        remedy="Set 'How rows are held out' to 'stratified', or bring held-out rows with the labels that are learnt.",
    )
