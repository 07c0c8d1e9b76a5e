"""A new column from a sentence with the other columns in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar

from studio.data.makers import Ask, Made, Maker, Progress, Row, require, walk
from studio.data.templates import as_text
from studio.errors import DatasetError
from studio.settings import setting

# A pattern of our own, never str.format: a template must not reach into the attributes of a cell.
_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}|\{([^{}]+)\}")


class Template(Maker):
    """Writes a new column; `{name}` stands for that column's cell, `{{name}}` for the words in braces."""

    title: ClassVar[str] = "Template"
    about: ClassVar[str] = "Puts the columns of a row into a sentence, for example a question about its text."

    template: str = setting(
        "Summarise: {text}",
        "Template",
        help="{name} is replaced by the column of that name; write {{name}} for braces that shall stay.",
        min_length=1,
    )
    column: str = setting("prompt", "New column", help="What the column with the result is called.", min_length=1)

    def make(
        self, rows: Iterable[Row], ask: Ask | None, progress: Progress, dropped: Counter[str] | None = None
    ) -> Iterator[Made]:
        """Every row with the new column. Raises DatasetError for a column that is missing or there already."""
        columns, each = walk(rows, progress)
        require(placeholders(self.template), columns, "Template")
        if self.column in columns:
            raise DatasetError(
                f"The data has a column '{self.column}' already.", remedy="Give 'New column' another name."
            )
        for index, row in each:
            yield Made({**row, self.column: fill(self.template, row)}, index, "changed")


def placeholders(template: str) -> list[str]:
    """The columns a template asks for, each once, in their order."""
    return list(dict.fromkeys(name for _, name in _PLACEHOLDER.findall(template) if name))


def fill(template: str, row: Row) -> str:
    """The template with the row's cells in it; braces within a cell mean nothing."""
    return _PLACEHOLDER.sub(lambda match: as_text(row.get(match[2])) if match[2] else f"{{{match[1]}}}", template)
