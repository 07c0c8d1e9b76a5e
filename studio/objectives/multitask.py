"""Several label columns at once: one model, a head for each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from studio.data.labels import Cell, Head, settle
from studio.errors import ConfigError
from studio.objectives._labelled import LabelObjective
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.library import Opened
    from studio.data.templates import Mapping


class Multitask(LabelObjective):
    """The weighted mean of the heads' losses over one shared model, each the mean over an update's rows with its label.

    Caruana 1997, Multitask Learning; Liu et al. 2019, arXiv:1901.11504.
    """

    title: ClassVar[str] = "Several labels (multi-task)"
    about: ClassVar[str] = "Learns every label column at once: one model, a head for each, weighted losses."

    weights: str = setting(
        "",
        "Loss weights",
        max_length=2000,
        help="How much each column counts in an update, however many of its rows have a label there, such as "
        "'topic=1, urgency=0.5'. What is not named counts 1.",
        source="Kendall et al. 2018, arXiv:1705.07115, eq. 1",
    )
    numbers: str = setting(
        "",
        "Columns with numbers",
        max_length=2000,
        advanced=True,
        help="Columns, with commas, whose labels are quantities though few whole numbers occur, such as stars.",
    )
    classes: str = setting(
        "",
        "Columns with classes",
        max_length=2000,
        advanced=True,
        help="Columns, with commas, each of whose labels is a class though many are numbers, such as area codes.",
    )

    def check(self, opened: Opened) -> None:
        columns = self.label_columns(opened.mapping)
        if len(columns) < 2:
            raise ConfigError(
                f"Only one label column is chosen, '{columns[0]}'.",
                remedy="Choose more of them under 'Columns' in the Dataset tab, or 'Classification' as objective.",
            )
        named = {
            "Loss weights": self._weights(),
            "Columns with numbers": _names(self.numbers),
            "Columns with classes": _names(self.classes),
        }
        for label, those in named.items():
            for column in those:
                if column not in columns:
                    raise ConfigError(
                        f"'{label}' names '{column}', which is not a label column.",
                        remedy=f"Label columns are: {', '.join(columns)}.",
                    )
        super().check(opened)

    def label_columns(self, mapping: Mapping) -> list[str]:
        return [column for role, column in mapping.columns.items() if role != "text"]

    def head(self, column: str, counts: Counter[Cell]) -> tuple[Head, list[str]]:
        number, classes = (column in _names(those) for those in (self.numbers, self.classes))
        return settle(
            column,
            counts,
            kind="classes" if classes else "number" if number else "auto",
            separator=self.label_separator,
            weight=self._weights().get(column, 1.0),
            balanced=self.class_weights == "balanced",
            as_classes="name the column under 'Columns with classes'",
        )

    def _weights(self) -> dict[str, float]:
        found = {}
        for part in filter(str.strip, self.weights.split(",")):
            name, _, value = part.rpartition("=")
            try:
                found[name.strip()] = float(value)
            except ValueError:
                found[name.strip()] = -1.0
            if not name.strip() or not 0 < found[name.strip()] <= 1000:
                raise ConfigError(
                    f"'Loss weights' cannot be read at '{part.strip()}'.",
                    remedy="Write a column, '=' and a number above 0, with commas: topic=1, urgency=0.5",
                )
        return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
