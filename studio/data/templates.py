"""Which column plays which part, and rows → the conversation a model learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from studio.data.formats import FORMATS, Format
from studio.data.readers import READERS, labelled_answer, labels, pair, verdict
from studio.data.turns import TURN_KEYS, Message, Unlearnable, as_text, turns_in
from studio.errors import DatasetError

__all__ = [
    "CHOOSE_COLUMNS", "FORMATS", "Mapping", "Rows", "as_text", "check", "detect", "explain_row", "guess",
    "to_labelled_answer", "to_labels", "to_messages", "to_pair", "to_text",
]  # fmt: skip

CHOOSE_COLUMNS = "Choose which column plays which part under 'Columns' in the Dataset tab."

_LOOKED_AT = 200  # rows; what a column holds shows in the first ones
_FEW_LABELS, _SHORT_LABEL = 50, 60  # kinds of label, and characters in one, beyond which a column is prose


class Rows(Protocol):
    """What is asked of a data set here; the first few hundred rows do."""

    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[dict[str, Any]]: ...


@dataclass(frozen=True)
class Mapping:
    """A format and the column that plays each of its roles; roles left out are not played."""

    format: str
    columns: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `Mapping.parse` reads it back."""
        return {"format": self.format, "columns": dict(self.columns)}

    @classmethod
    def parse(cls, values: Any) -> Mapping:
        """From JSON or a form; roles without a column are dropped. Raises DatasetError for another shape."""
        columns = values.get("columns") if isinstance(values, dict) else None
        if not isinstance(columns, dict) or not isinstance(values.get("format"), str):
            raise DatasetError(
                "The columns' parts are not given as a format and its columns.",
                remedy='Write them as {"format": "instruction", "columns": {"instruction": "...", "output": "..."}}.',
            )
        return cls(values["format"], {str(role): str(column) for role, column in columns.items() if column})


def detect(dataset: Rows) -> Mapping:
    """The mapping the column names and first cells suggest. Raises DatasetError where none does."""
    for key, spec in FORMATS.items():
        mapping = guess(key, dataset)
        if all(role.name in mapping.columns for role in spec.roles if role.required) and _suits(mapping, dataset):
            return mapping
    raise DatasetError(
        f"{dataset.name} has no columns that are known to hold a prompt and its answer; it has {_listed(dataset)}.",
        remedy=CHOOSE_COLUMNS,
    )


def guess(format_key: str, dataset: Rows) -> Mapping:
    """The parts of that format that column names suggest; some may be left open."""
    return Mapping(format_key, _match(FORMATS[format_key], _names(dataset)))


def check(mapping: Mapping, dataset: Rows) -> None:
    """Raise DatasetError where the mapping cannot be used with these columns."""
    if mapping.format not in FORMATS:
        raise DatasetError(f"'{mapping.format}' is not a format.", remedy=f"Choose one of: {', '.join(FORMATS)}.")
    spec = FORMATS[mapping.format]
    unknown = set(mapping.columns) - {role.name for role in spec.roles}
    missing = [role.label for role in spec.roles if role.required and not mapping.columns.get(role.name)]
    absent = [repr(column) for column in mapping.columns.values() if column not in dataset.columns]
    twice = [column for column in mapping.columns.values() if list(mapping.columns.values()).count(column) > 1]
    problem = None
    if unknown:
        problem = f"The format '{spec.label}' has no part called {' or '.join(map(repr, sorted(unknown)))}."
    elif missing:
        problem = f"No column of {dataset.name} is chosen as '{missing[0]}'; it has {_listed(dataset)}."
    elif absent:
        problem = f"{dataset.name} has no column {' or '.join(absent)}; it has {_listed(dataset)}."
    elif twice:
        problem = f"The column '{twice[0]}' of {dataset.name} is chosen for two parts."
    else:
        problem = _misfit(mapping, dataset)
    if problem:
        raise DatasetError(problem, remedy=CHOOSE_COLUMNS)


def to_messages(row: dict[str, Any], mapping: Mapping) -> list[Message] | None:
    """The conversation in a row, `{"role": ..., "content": ...}` a turn, its last turn an answer to learn.

    None: nothing to learn from (no prompt, an empty answer, a turn that is not understood); `explain_row`
    says which. Empty for the format `text`: see `to_text`. Turns behind the last answer are left out.
    """
    try:
        return _read(row, mapping)
    except Unlearnable:
        return None


def explain_row(row: dict[str, Any], mapping: Mapping) -> str:
    """In a few words why `to_messages` gives None; empty where it does not."""
    try:
        _read(row, mapping)
    except Unlearnable as reason:
        return str(reason)
    return ""


def to_text(row: dict[str, Any], mapping: Mapping) -> str:
    """The text of a row in the format `text`; empty when there is none."""
    return as_text(row.get(mapping.columns["text"]))


def to_pair(row: dict[str, Any], mapping: Mapping) -> tuple[list[Message], str, str] | None:
    """(prompt, chosen answer, rejected answer) of a row in the format `preference`.

    None where one of them is missing, the answers are equal or they answer different prompts.
    """
    try:
        return pair(_cells(row, mapping))
    except Unlearnable:
        return None


def to_labelled_answer(row: dict[str, Any], mapping: Mapping) -> tuple[list[Message], str, bool] | None:
    """(prompt, answer, whether it is good) of a row in the format `unpaired`; None where one is missing."""
    try:
        return labelled_answer(_cells(row, mapping))
    except Unlearnable:
        return None


def to_labels(row: dict[str, Any], mapping: Mapping) -> tuple[str, dict[str, str]] | None:
    """(text, column → label) of a row in the format `labelled`; None without a text or any label.

    Labels are text, also where the cells hold numbers; columns whose cell is empty are left out.
    """
    try:
        text, found = labels(_cells(row, mapping))
    except Unlearnable:
        return None
    return text, {mapping.columns[role]: label for role, label in found.items()}


def _read(row: dict[str, Any], mapping: Mapping) -> list[Message]:
    if mapping.format != "labelled":
        return READERS[mapping.format](_cells(row, mapping))
    text, found = labels(_cells(row, mapping))
    several = len(mapping.columns) > 2  # the text and more than one label
    lines = [f"{mapping.columns[role]}: {label}" if several else label for role, label in found.items()]
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "\n".join(lines)}]


def _cells(row: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    return {role: row.get(column) for role, column in mapping.columns.items()}


def _first(dataset: Rows) -> Iterator[dict[str, Any]]:
    return islice(dataset.rows, _LOOKED_AT)


def _suits(mapping: Mapping, dataset: Rows) -> bool:
    """Whether the cells look like this format and not like a wider one that has the same columns."""
    if mapping.format == "unpaired":
        said = [row.get(mapping.columns["label"]) for row in _first(dataset)]
        if any(as_text(cell).strip() and verdict(cell) is None for cell in said):
            return False
    if mapping.format == "labelled":
        return all(_few(column, dataset) for role, column in mapping.columns.items() if role != "text")
    return _misfit(mapping, dataset) is None


def _few(column: str, dataset: Rows) -> bool:
    """Whether a column holds a class rather than prose: few kinds of cell, all short."""
    kinds = {as_text(row.get(column)).strip() for row in _first(dataset)} - {""}
    return 0 < len(kinds) <= _FEW_LABELS and all(len(kind) <= _SHORT_LABEL and "\n" not in kind for kind in kinds)


def _misfit(mapping: Mapping, dataset: Rows) -> str | None:
    """What is wrong where no row can be read so; formats of plain cells take any."""
    if mapping.format in TURN_KEYS:
        column, keys = mapping.columns[mapping.format], TURN_KEYS[mapping.format]
        turns = (turn for row in _first(dataset) for turn in (turns_in(row.get(column)) or [])[:1])
        if not any(isinstance(turn, dict) and turn.keys() >= set(keys) for turn in turns):
            return (
                f'The column \'{column}\' of {dataset.name} holds no lists of {{"{keys[0]}": ..., "{keys[1]}": ...}}.'
            )
    read = {"preference": to_pair, "unpaired": to_labelled_answer}.get(mapping.format)
    if read and not any(read(row, mapping) for row in _first(dataset)):
        why = next((explain_row(row, mapping) for row in _first(dataset)), "there are no rows")
        return f"{dataset.name} cannot be read as '{FORMATS[mapping.format].label}': in the first row {why}."
    return None


def _match(spec: Format, names: dict[str, str]) -> dict[str, str]:
    """Role → column for each role one of whose aliases is a column; required ones have the first choice."""
    found = {}
    for role in sorted(spec.roles, key=lambda role: not role.required):
        alias = next((alias for alias in role.aliases if names.get(alias, "") not in ("", *found.values())), None)
        if alias is not None:
            found[role.name] = names[alias]
    return found


def _names(dataset: Rows) -> dict[str, str]:
    """Plain name → column; of two alike, the first counts."""
    return {_plain_name(column): column for column in reversed(dataset.columns)}


def _plain_name(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def _listed(dataset: Rows) -> str:
    shown = ", ".join(map(repr, dataset.columns[:12]))
    return f"{shown} and {len(dataset.columns) - 12} more" if len(dataset.columns) > 12 else shown
