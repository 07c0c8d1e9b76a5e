"""A prompt around the rows of a data set: a system text, a template with placeholders, and examples before it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import Field

from studio.data.templates import Mapping as Columns
from studio.data.templates import to_messages
from studio.data.turns import Message, as_text, request_of
from studio.errors import ConfigError, DatasetError
from studio.settings import Settings, setting

ROW = "row"  # as a placeholder: all that a row asks, as its format says
_ASKING = ("prompt", "instruction", "input", "text", "system")  # roles that a column plays in what is asked
PLACEHOLDER = re.compile(r"\{([^{}\n]{1,200})\}")


@dataclass(frozen=True)
class Example:
    """A row as a prompt sees it."""

    fields: dict[str, str]  # under ROW what the row asks; column → its text, see `askable`
    answer: str  # the right one


class Demonstration(Settings):
    """A row shown with its answer before the one that is asked."""

    fields: dict[str, str]
    answer: str


class Prompt(Settings):
    """What stands around a row. `{row}` in the template is what the row asks, `{COLUMN}` the text of a column."""

    system: str = setting(
        "", "System text", max_length=20_000, help="Who the model is and what holds for every answer. It may be empty."
    )
    template: str = setting(
        "{row}",
        "Instruction",
        min_length=1,
        max_length=20_000,
        help="What the model is asked. {row} stands for what the row asks; {COLUMN} for the text of one column.",
    )
    demonstrations: tuple[Demonstration, ...] = Field(default=(), max_length=64)

    @property
    def key(self) -> str:
        """The same for the same prompt."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def messages(self, fields: Mapping[str, str]) -> list[Message]:
        """The conversation that asks a row."""
        said = [{"role": "system", "content": self.system}] if self.system.strip() else []
        for each in self.demonstrations:
            said += [
                {"role": "user", "content": _filled(self.template, each.fields)},
                {"role": "assistant", "content": each.answer},
            ]
        return [*said, {"role": "user", "content": _filled(self.template, fields)}]

    def to_text(self) -> str:
        """To be read and copied: the conversation with the placeholders still in it."""
        return "\n\n".join(f"[{each['role']}]\n{each['content']}" for each in self.messages({})) + "\n"

    def to_yaml(self) -> str:
        """To be read by `prompt:` of a study, or by any program."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1_000)

    def check(self, columns: Iterable[str]) -> None:
        """Raise ConfigError where the template says nothing of the row. `columns` are those of `askable`."""
        known = [ROW, *columns]
        if not set(PLACEHOLDER.findall(self.template)) & set(known):
            names = ", ".join(f"{{{each}}}" for each in known)
            raise ConfigError(
                "The instruction has no placeholder, so every row would be asked the same.",
                remedy=f"Put one of these where the row belongs: {names}.",
            )


def _filled(template: str, fields: Mapping[str, str]) -> str:
    """Braces that name no column stay, such as those of JSON; so do those within a cell."""
    return PLACEHOLDER.sub(lambda found: fields.get(found[1], found[0]), template)


def askable(mapping: Columns, columns: Iterable[str]) -> list[str]:
    """The columns that a template may name: all but those that hold the answer."""
    hidden = {column for role, column in mapping.columns.items() if role not in _ASKING}
    return [column for column in columns if column not in hidden]


def examples_of(rows: Iterable[dict[str, Any]], mapping: Columns) -> list[Example]:
    """The rows that have a question and an answer. Raises DatasetError for plain text."""
    if mapping.format == "text":
        raise DatasetError("Plain text asks nothing.", remedy="Choose a data set with prompts.")
    return [example for row in rows if (example := _example(row, mapping))]


def _example(row: dict[str, Any], mapping: Columns) -> Example | None:
    asked = [each for each in to_messages(row, mapping) or [] if each["role"] != "system"]
    if len(asked) < 2:
        return None
    fields = {column: as_text(row[column]) for column in askable(mapping, row)}
    return Example({**fields, ROW: request_of(asked[:-1])}, asked[-1]["content"])


def plain(rows: Iterable[dict[str, Any]], mapping: Columns) -> Prompt:
    """What to begin with: rows as the data set has them, and its system text where all rows share one."""
    found = Counter[str]()
    for row in rows:
        messages = to_messages(row, mapping) or []
        found["".join(each["content"] for each in messages if each["role"] == "system")] += 1
    return Prompt(system=next(iter(found)) if len(found) == 1 else "")
