"""Which column plays which part, and rows → the conversation a model learns from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from studio.data.dataset import Dataset
from studio.data.formats import FORMATS, Format
from studio.errors import DatasetError

CHOOSE_COLUMNS = "Choose which column plays which part under 'Columns' in the Dataset tab."

_TURNS = {"messages": ("role", "content"), "conversations": ("from", "value")}  # keys of one turn
_USER, _ASSISTANT = ("user", "human", "prompter"), ("assistant", "gpt", "chatgpt", "bot", "model", "ai")
_SPEAKERS = {
    **dict.fromkeys(_USER, "user"),
    **dict.fromkeys(_ASSISTANT, "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}


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


def detect(dataset: Dataset) -> Mapping:
    """The mapping the column names and cells suggest. Raises DatasetError where none does."""
    names = _names(dataset)
    if {"chosen", "rejected"} <= names.keys():
        raise DatasetError(
            f"{dataset.name} holds preference pairs (chosen/rejected), which cannot be trained on here.",
            remedy="Choose a file with one answer to learn for each prompt.",
        )
    for key, spec in FORMATS.items():
        mapping = guess(key, dataset)
        if all(role.name in mapping.columns for role in spec.roles if role.required) and _fits(mapping, dataset):
            return mapping
    raise DatasetError(
        f"{dataset.name} has no columns that are known to hold a prompt and its answer; it has {_listed(dataset)}.",
        remedy=CHOOSE_COLUMNS,
    )


def guess(format_key: str, dataset: Dataset) -> Mapping:
    """The parts of that format that column names suggest; some may be left open."""
    return Mapping(format_key, _match(FORMATS[format_key], _names(dataset)))


def check(mapping: Mapping, dataset: Dataset) -> None:
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
    elif not _fits(mapping, dataset):
        first, second = _TURNS[mapping.format]
        column = next(iter(mapping.columns.values()))
        problem = f'The column \'{column}\' of {dataset.name} holds no lists of {{"{first}": ..., "{second}": ...}}.'
    if problem:
        raise DatasetError(problem, remedy=CHOOSE_COLUMNS)


def to_messages(row: dict[str, Any], mapping: Mapping) -> list[dict[str, str]] | None:
    """The conversation in a row, `{"role": ..., "content": ...}` a turn, its last turn an answer to learn.

    None: nothing to learn from (no prompt, an empty answer, a turn that is not understood).
    Empty for the format `text`: see `to_text`. Turns behind the last answer are left out.
    """
    if mapping.format == "text":
        return []
    if mapping.format in _TURNS:
        return _conversation(row.get(mapping.columns[mapping.format]), *_TURNS[mapping.format])
    cell = {role: as_text(row.get(column)) for role, column in mapping.columns.items()}
    parts = [cell.get(role, "") for role in ("instruction", "input", "prompt")]
    prompt = "\n\n".join(part for part in parts if part.strip())
    answer = cell.get("output", cell.get("completion", ""))
    if not prompt or not answer.strip():
        return None
    system = cell.get("system", "")
    opening = [{"role": "system", "content": system}] if system.strip() else []
    return [*opening, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def to_text(row: dict[str, Any], mapping: Mapping) -> str:
    """The text of a row in the format `text`; empty when there is none."""
    return as_text(row.get(mapping.columns["text"]))


def as_text(cell: Any) -> str:
    """A cell as a model reads it: nothing for None and NaN, JSON for lists and objects."""
    if cell is None or cell != cell:  # NaN, a missing number in Parquet, is not equal to itself
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    if isinstance(cell, (dict, list, tuple, bool)):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def _conversation(cell: Any, role_key: str, text_key: str) -> list[dict[str, str]] | None:
    messages = []
    for turn in _turns(cell):
        role = _SPEAKERS.get(str(turn.get(role_key)).lower()) if isinstance(turn, dict) else None
        content = _spoken(turn.get(text_key)) if role else ""
        if role is None or (role == "assistant" and not content.strip()):
            return None
        messages.append({"role": role, "content": content})
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    return messages if any(message["role"] == "user" for message in messages) else None


def _turns(cell: Any) -> list[Any]:
    """The list in a cell; CSV files hold it as JSON text."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return []
    return cell if isinstance(cell, list) else []


def _spoken(content: Any) -> str:
    """A turn's text; content given in parts is joined."""
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "".join(as_text(part["text"]) for part in content)
    return as_text(content)


def _fits(mapping: Mapping, dataset: Dataset) -> bool:
    """Whether a format of turns finds one among the rows; the other formats take any cell."""
    if mapping.format not in _TURNS:
        return True
    column, keys = mapping.columns[mapping.format], set(_TURNS[mapping.format])
    turns = (turn for row in dataset.rows for turn in _turns(row.get(column))[:1])
    return any(isinstance(turn, dict) and keys <= turn.keys() for turn in turns)


def _match(spec: Format, names: dict[str, str]) -> dict[str, str]:
    """Role → column for each role one of whose aliases is a column."""
    found = {}
    for role in spec.roles:
        alias = next((alias for alias in role.aliases if names.get(alias, "") not in ("", *found.values())), None)
        if alias is not None:
            found[role.name] = names[alias]
    return found


def _names(dataset: Dataset) -> dict[str, str]:
    """Plain name → column; of two alike, the first counts."""
    return {_plain_name(column): column for column in reversed(dataset.columns)}


def _plain_name(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def _listed(dataset: Dataset) -> str:
    shown = ", ".join(map(repr, dataset.columns[:12]))
    return f"{shown} and {len(dataset.columns) - 12} more" if len(dataset.columns) > 12 else shown
