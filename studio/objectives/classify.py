"""Classification and regression: a head on a model that reads, for one label column."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal

from studio.data.labels import Cell, Head, settle
from studio.errors import ConfigError
from studio.objectives._labelled import LabelObjective
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.templates import Mapping


class Classify(LabelObjective):
    """Cross-entropy of the right class, or of each label's presence; the squared error of a number.

    Devlin et al. 2019, arXiv:1810.04805, section 4.1 (a linear layer over the text's representation).
    """

    title: ClassVar[str] = "Classification"
    about: ClassVar[str] = (
        "Learns to name the label of a text, several labels, or a number. It writes no text, so an encoder does too."
    )

    label_column: str = setting(
        "",
        "Label column",
        max_length=500,
        help="Which of the label columns is learnt. Empty: the first.",
    )
    kind: Literal["auto", "classes", "labels", "number"] = setting(
        "auto",
        "Kind of label",
        help="'classes': one of several; 'labels': any number of several at once; 'number': a quantity. 'auto' looks "
        "at the column, and the run says what it took it for.",
    )

    def label_columns(self, mapping: Mapping) -> list[str]:
        known = [column for role, column in mapping.columns.items() if role != "text"]
        if self.label_column and self.label_column not in known:
            raise ConfigError(
                f"'{self.label_column}' is not a label column of this data set.",
                remedy=f"Set 'Label column' to one of: {', '.join(known)}; or make it one under 'Columns' in the "
                "Dataset tab.",
            )
        return [self.label_column or known[0]]

    def head(self, column: str, counts: Counter[Cell]) -> tuple[Head, list[str]]:
        balanced = self.class_weights == "balanced"
        return settle(column, counts, kind=self.kind, separator=self.label_separator, balanced=balanced)
