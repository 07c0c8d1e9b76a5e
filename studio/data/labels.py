"""What label columns hold, and rows → tokens with a target for each head: for models that label texts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from studio.data.parquet import kind_of
from studio.data.templates import as_text
from studio.errors import DatasetError

Kind = Literal["classes", "labels", "number"]  # one of several, any of several, a quantity
Cell = str | tuple[str, ...]  # one label, or the several of a list; "" where there is none
Row = dict[str, Any]

HEADS = "heads.json"  # beside an adapter: what its model predicts
MISSING = math.nan  # a target that a row lacks
_FEW_NUMBERS = 20  # whole numbers with no more different values are taken for classes
_FEW_CLASSES = 20  # more than these, most of them seen once, are no classes
_MOST_LABELS = 2_000
_RARE = 10  # times the rows of the rarest class are fewer than the most frequent one's: worth a word
_BATCH = 1_000  # rows tokenised at a time

_CLASSES = "Choose another label column, or mend the labels in the Dataset tab."


@dataclass(frozen=True)
class Head:
    """What is predicted from one label column."""

    name: str  # the column's
    kind: Kind
    labels: tuple[str, ...] = ()  # of classes and labels; an output each
    weight: float = 1.0  # on its loss
    balance: tuple[float, ...] = ()  # a weight for each class, or for a label where it is present; empty: all 1
    mean: float = 0.0  # of numbers: the model learns (value - mean) / scale
    scale: float = 1.0

    @property
    def width(self) -> int:
        """Outputs of the layer."""
        return 1 if self.kind == "number" else len(self.labels)

    @property
    def targets(self) -> int:
        """Numbers that hold one row's target: a class's place, 0 or 1 for each label, or a scaled value."""
        return len(self.labels) if self.kind == "labels" else 1

    @cached_property
    def places(self) -> dict[str | int | None, int]:
        """Label → its output; a class's value where all are whole numbers, so that '1.0' is '1'."""
        wholes = [_whole(label) for label in self.labels] if self.kind == "classes" else [None]
        return {key: place for place, key in enumerate(self.labels if None in wholes else wholes)}


def saved_heads(folder: Path) -> list[Head]:
    """Those of an adapter. Raises OSError, ValueError, KeyError or TypeError where it has none, or damaged ones."""
    about = json.loads((folder / HEADS).read_text(encoding="utf-8"))["heads"]
    return [Head(**{**each, "labels": tuple(each["labels"]), "balance": tuple(each["balance"])}) for each in about]


def read_cell(cell: Any) -> Cell:
    """A label as text; a whole number stored as 3.0 is '3'. A list becomes a tuple of its labels."""
    if isinstance(cell, list | tuple):
        return tuple(dict.fromkeys(label for each in cell if (label := str(read_cell(each)))))
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return as_text(cell).strip()


def count_column(path: Path, column: str) -> Counter[Cell]:
    """How often each label stands in a column of a Parquet file; a million rows take a second, all different four."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, columns=[column])
    kind, cells = kind_of(table.schema.field(0)), table.column(0)
    if kind == "other":  # lists cannot be counted by Arrow
        return count(cells.to_pylist())
    found: Counter[Cell] = Counter()
    counted = cells.value_counts()
    for value, times in zip(*(part.to_pylist() for part in counted.flatten()), strict=True):
        found[read_cell(json.loads(value) if kind == "json" and value is not None else value)] += times
    return _present(found)


def count(cells: Iterable[Any]) -> Counter[Cell]:
    """How often each label stands in cells."""
    return _present(Counter(map(read_cell, cells)))


def _present(found: Counter[Cell]) -> Counter[Cell]:
    del found[""]
    return found


def settle(
    column: str,
    counts: Counter[Cell],
    *,
    kind: Literal["auto", "classes", "labels", "number"] = "auto",
    separator: str = ";",
    weight: float = 1.0,
    balanced: bool = False,
    as_classes: str = "set 'Kind of label' to 'classes'",
) -> tuple[Head, list[str]]:
    """The head for a column with such labels, and what a person should know about how it is read.

    `balanced` weighs classes by n / (classes x n of the class), labels by n / (2 x present) where they are
    present and n / (2 x absent) where not. `as_classes` tells a person how to have cells taken for classes.
    Raises DatasetError where nothing can be learnt from the column.
    """
    if not counts:
        raise DatasetError(f"No row has a label in the column '{column}'.", remedy=_CLASSES)
    notes: list[str] = []
    counts = _by_value(counts)
    if kind == "auto":
        kind = _kind(column, counts, separator, notes, as_classes)
    if kind == "number":
        return _number(column, counts, weight, as_classes), notes
    if kind == "labels":
        return _labels(column, counts, separator, weight, balanced), notes
    return _classes(column, counts, weight, balanced, notes), notes


def target(head: Head, cell: Cell, separator: str) -> list[float] | None:
    """The row's target, `head.targets` numbers; None for a label that training did not show."""
    if head.kind == "number":
        value = _value(cell)
        return None if value is None else [(value - head.mean) / head.scale]
    if head.kind == "classes":
        place = head.places.get(_joined(cell), head.places.get(_whole(cell)))
        return None if place is None else [float(place)]
    found = [0.0] * head.targets
    for label in several(cell, separator):
        if label not in head.places:
            return None
        found[head.places[label]] = 1.0
    return found


# -- which kind --------------------------------------------------------------------------------------


def _by_value(counts: Counter[Cell]) -> Counter[Cell]:
    """Where all cells are whole numbers, each value in its shortest spelling: '1', '1.0' and '01' are '1'."""
    values = {cell: _whole(cell) for cell in counts}
    if None in values.values():
        return counts
    spelt: dict[int | None, Cell] = {}
    found: Counter[Cell] = Counter()
    for cell in sorted(counts, key=lambda cell: (len(cell), cell)):
        found[spelt.setdefault(values[cell], cell)] += counts[cell]
    return found


def _kind(column: str, counts: Counter[Cell], separator: str, notes: list[str], as_classes: str) -> Kind:
    if any(isinstance(cell, tuple) or (separator and separator in cell) for cell in counts):
        notes.append(f"Cells of '{column}' hold several labels each, so any number of them may be right at once.")
        return "labels"
    numbers = [value for cell in counts if (value := _value(cell)) is not None]
    if not numbers:
        return "classes"
    if len(numbers) < len(counts):
        number = next(cell for cell in counts if _value(cell) is not None)
        word = next(cell for cell in counts if _value(cell) is None)
        raise DatasetError(
            f"The labels in the column '{column}' mix numbers and words, such as '{number}' and '{_shown(word)}'.",
            remedy=f"Mend them in the Dataset tab, or {as_classes} to take each for a class.",
        )
    if len(numbers) > _FEW_NUMBERS or not all(value.is_integer() for value in numbers):
        notes.append(f"The labels of '{column}' are numbers, so a number is predicted.")
        return "number"
    notes.append(
        f"The labels of '{column}' are {len(numbers)} different whole numbers; each is taken for a class. Where 4 is "
        "closer to 5 than to 1, have a number predicted instead."
    )
    return "classes"


def _number(column: str, counts: Counter[Cell], weight: float, as_classes: str) -> Head:
    values = [(value, times) for cell, times in counts.items() if (value := _value(cell)) is not None]
    if len(values) < len(counts):
        word = next(cell for cell in counts if _value(cell) is None)
        raise DatasetError(
            f"The column '{column}' is to be learnt as numbers but holds '{_shown(word)}'.",
            remedy=f"Empty or mend those cells in the Dataset tab, or {as_classes}.",
        )
    rows = sum(times for _, times in values)
    mean = sum(value * times for value, times in values) / rows
    scale = math.sqrt(sum(times * (value - mean) ** 2 for value, times in values) / rows)
    if scale == 0:
        raise _all_alike(column, counts)
    return Head(column, "number", weight=weight, mean=mean, scale=scale)


def _classes(column: str, counts: Counter[Cell], weight: float, balanced: bool, notes: list[str]) -> Head:
    classes: Counter[str] = Counter()
    for cell, times in counts.items():
        classes[_joined(cell)] += times
    if len(classes) == 1:
        raise _all_alike(column, counts)
    _refuse_many(column, len(classes), classes.total())
    labels = _ordered(classes)
    most, least = max(classes.values()), min(classes.values())
    rarest = min(labels, key=lambda label: classes[label])
    if least == 1:
        notes.append(f"Only one row has the label '{_shown(rarest)}' in '{column}': too few to learn it from.")
    elif most >= _RARE * least and not balanced:
        notes.append(
            f"The labels of '{column}' are uneven: {least:,} rows are '{_shown(rarest)}', {most:,} are the most "
            "frequent one. 'Class weights: balanced' makes rare ones count more; 'stratified' holds out some of each."
        )
    weights = tuple(classes.total() / (len(labels) * classes[label]) for label in labels)
    return Head(column, "classes", labels, weight, weights if balanced else ())


def _labels(column: str, counts: Counter[Cell], separator: str, weight: float, balanced: bool) -> Head:
    rows, present = 0, Counter[str]()
    sets = set()
    for cell, times in counts.items():
        named = several(cell, separator)
        sets.add(frozenset(named))
        rows += times
        present.update(dict.fromkeys(named, times))
    if len(sets) == 1:
        raise _all_alike(column, counts)
    _refuse_many(column, len(present), rows)
    labels = _ordered(present)
    weights = tuple(rows / (2 * min(present[label], rows - 1)) for label in labels)  # one that all have: as if not
    return Head(column, "labels", labels, weight, weights if balanced else ())


def _all_alike(column: str, counts: Counter[Cell]) -> DatasetError:
    label, rows = _shown(next(iter(counts))), counts.total()
    return DatasetError(
        f"All {rows:,} labels in the column '{column}' are '{label}': there is nothing to tell apart.",
        remedy="Choose another label column, or bring rows with other labels.",
    )


def _refuse_many(column: str, labels: int, rows: int) -> None:
    if labels > _MOST_LABELS or (labels > _FEW_CLASSES and 2 * labels > rows):
        raise DatasetError(
            f"The column '{column}' holds {labels:,} different labels in {rows:,} rows: these are no classes.",
            remedy="Choose a column with fewer labels; or, for quantities, have a number predicted.",
        )


def _ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """By their value where all are numbers, else by name."""
    texts = list(labels)
    values = [_value(text) for text in texts]
    return tuple(sorted(texts) if None in values else sorted(texts, key=lambda text: (_value(text) or 0.0, text)))


def _value(cell: Cell) -> float | None:
    try:
        value = float(cell) if isinstance(cell, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(cell: Cell) -> int | None:
    """A whole number that a float holds exactly."""
    value = _value(cell)
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else None


def several(cell: Cell, separator: str) -> tuple[str, ...]:
    """The labels in a cell of any number of them."""
    if isinstance(cell, tuple):
        return cell
    parts = cell.split(separator) if separator else [cell]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _joined(cell: Cell) -> str:
    return cell if isinstance(cell, str) else "; ".join(cell)


def _shown(cell: Cell) -> str:
    return _joined(cell)[:40]


# -- rows → tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row as a model with heads takes it."""

    input_ids: list[int]
    labels: list[float]  # the targets of all heads in a row; MISSING where a head has none
    text: str
    truncated: bool  # its end was cut off


def tokenise(texts: Sequence[str], tokenizer: Any, max_length: int) -> Iterator[tuple[list[int], bool]]:
    """Each text's tokens, special ones included, and whether its end was cut off at `max_length`.

    It is cut too where the model's own window ends.
    """
    window = min(max_length, tokenizer.model_max_length)
    batch = tokenizer(list(texts), truncation=True, max_length=window, verbose=False)
    for ids, encoding in zip(batch["input_ids"], batch.encodings, strict=True):
        yield list(ids) or [tokenizer.pad_token_id], bool(encoding.overflowing)


def encode(
    rows: Iterable[Row],
    text_column: str,
    heads: Sequence[Head],
    tokenizer: Any,
    *,
    max_length: int,
    separator: str,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Labelled], Counter[str]]:
    """Rows with a text and a label for some head; and column → rows whose label no head knows.

    `progress(done)` counts rows.
    """
    encoded: list[Labelled] = []
    unknown: Counter[str] = Counter()
    remaining, done = iter(rows), 0
    while batch := list(islice(remaining, _BATCH)):
        found = [(text, labels) for row in batch if (text := as_text(row.get(text_column))).strip()
                 if (labels := _targets(row, heads, separator, unknown)) is not None]  # fmt: skip
        tokens = tokenise([text for text, _ in found], tokenizer, max_length) if found else ()
        for (text, labels), (ids, cut) in zip(found, tokens, strict=True):
            encoded.append(Labelled(ids, labels, text, cut))
        done += len(batch)
        if progress:
            progress(done)
    return encoded, unknown


def _targets(row: Row, heads: Sequence[Head], separator: str, unknown: Counter[str]) -> list[float] | None:
    found: list[float] = []
    for head in heads:
        cell = read_cell(row.get(head.name))
        each = None if cell == "" else target(head, cell, separator)
        unknown[head.name] += cell != "" and each is None
        found += [MISSING] * head.targets if each is None else each
    return None if all(math.isnan(each) for each in found) else found
