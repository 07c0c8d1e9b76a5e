"""Paraphrases and drafts of answers by the local model; every row says that a model wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from studio.data.makers import Ask, Made, Maker, Progress, Row, require, walk
from studio.data.templates import as_text
from studio.errors import DatasetError
from studio.settings import setting

SYNTHETIC = "synthetic"  # the column that says which model wrote what

_ASKING = ("instruction", "prompt", "question", "text", "input")  # columns that ask, best first
_ANSWERING = ("output", "completion", "response", "answer")
_WAYS = (  # one a copy: a model that always takes its best guess would say the same again
    "Say the following text in other words.",
    "Rewrite the following text so that it is shorter.",
    "Rewrite the following text in a more formal tone.",
    "Rewrite the following text the way one would say it to a friend.",
    "Rewrite the following text, beginning with another part of it.",
)
_KEEP = "Keep its meaning, its names and its numbers. Answer with the new text alone."


class Drafts(Maker):
    """Rows in other words, or first drafts of answers that are missing; to be read before they are used."""

    title: ClassVar[str] = "Drafts by the model"
    about: ClassVar[str] = "Lets the loaded model rephrase a column, or draft the answers that rows lack."
    needs_model: ClassVar[bool] = True

    what: Literal["paraphrase", "answer"] = setting(
        "paraphrase", "What to draft", help="A row in other words, or the answer of a row that has none."
    )
    column: str = setting("", "Column", help="Rephrased, or answered. Empty: the first that is known to hold a prompt.")
    answer_column: str = setting(
        "", "Answer column", help="Where a drafted answer goes. Empty: the one that is known to hold answers."
    )
    model: str = setting("the local model", "Model's name", help="Written beside every draft.", min_length=1)
    max_rows: int = setting(100, "At most", unit="rows", help="So many rows are given to the model.", ge=1, le=100_000)
    copies: int = setting(1, "Copies", help="Paraphrases a row; an answer is drafted once.", ge=1, le=len(_WAYS))

    def make(
        self, rows: Iterable[Row], ask: Ask | None, progress: Progress, dropped: Counter[str] | None = None
    ) -> Iterator[Made]:
        """Paraphrases are new rows, answers changed ones. Raises DatasetError without a model or the column."""
        if ask is None:
            raise DatasetError("Drafts need a model, and none is loaded.", remedy="Load one, then try again.")
        dropped = Counter() if dropped is None else dropped
        columns, each = walk(rows, progress)
        column = self.column or _known(_ASKING, columns)
        require([column], columns, "Column")
        answer = self.answer_column or _known(_ANSWERING, columns)
        asked = 0
        for index, row in each:
            if asked >= self.max_rows:
                return
            if not as_text(row.get(column)).strip() or (self.what == "answer" and as_text(row.get(answer)).strip()):
                continue
            asked += 1
            if self.what == "answer":
                yield from self._answers(index, row, column, answer, ask, dropped)
            else:
                yield from self._paraphrases(index, row, column, ask, dropped)

    def _paraphrases(self, index: int, row: Row, column: str, ask: Ask, dropped: Counter[str]) -> Iterator[Made]:
        text = as_text(row[column])
        seen = {_key(text)}
        for way in _WAYS[: self.copies]:
            draft = _bare(ask(_said(f"{way} {_KEEP}\n\n{text}")))
            if _fresh(draft, seen, dropped):
                yield Made(self._marked(row, column, draft), index, "new")

    def _answers(
        self, index: int, row: Row, column: str, answer: str, ask: Ask, dropped: Counter[str]
    ) -> Iterator[Made]:
        beside = as_text(row.get("input")) if column != "input" else ""
        prompt = "\n\n".join(part for part in (as_text(row[column]), beside) if part.strip())
        draft = ask(_said(prompt)).strip()
        if _fresh(draft, {_key(prompt), _key(as_text(row[column]))}, dropped):
            yield Made(self._marked(row, answer, draft), index, "changed")

    def _marked(self, row: Row, column: str, draft: str) -> Row:
        what = "paraphrase" if self.what == "paraphrase" else "draft"
        return {**row, column: draft, SYNTHETIC: f"{what} by {self.model}"}


def _known(names: tuple[str, ...], columns: list[str]) -> str:
    return next((name for name in names if name in columns), names[0])


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _fresh(draft: str, seen: set[str], dropped: Counter[str]) -> bool:
    """Whether the draft says something, and something new; `seen` learns it, `dropped` counts the rest."""
    key = _key(draft)
    if key and key not in seen:
        seen.add(key)
        return True
    dropped["drafts that say nothing new" if key else "empty drafts"] += 1
    return False


def _key(text: str) -> str:
    """Equal for texts that differ in case, spaces and marks only."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _bare(draft: str) -> str:
    """The draft without the quotation marks that models put around a text they were given."""
    draft = draft.strip()
    quoted = len(draft) > 1 and draft[0] + draft[-1] in ('""', "“”") and not set(draft[1:-1]) & set('"“”')
    return draft[1:-1].strip() if quoted else draft
