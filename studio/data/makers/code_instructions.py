"""Documented code → tasks to write that code. It is parsed, never imported and never run."""

from __future__ import annotations

import ast
import hashlib
import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from studio.data.makers import Ask, Made, Maker, Progress, Row, require, walk
from studio.data.templates import as_text
from studio.settings import setting

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_LONGEST = 1_000_000  # characters of a file; more is generated code, or meant to hurt
_PHRASINGS = (
    "Write the Python {what}. {says}",
    "Implement the Python {what}. {says}",
    "{says} Write the Python {what} for this.",
    "Please write the Python {what}. It should do the following: {says}",
    "What could the Python {what} look like, given this description? {says}",
)


class CodeInstructions(Maker):
    """One row per function, method and class with a docstring: the docstring asks, the source answers."""

    title: ClassVar[str] = "Code to instructions"
    about: ClassVar[str] = "Turns Python files into tasks: what a docstring promises, and the code that does it."

    column: str = setting("text", "Code column", help="Holds the source of one Python file a row.", min_length=1)
    path_column: str = setting("path", "Path column", help="Copied to what is made of the file, where there is one.")
    signature_as_input: bool = setting(
        False, "Give the signature", help="Puts the line with the name and the arguments into the input."
    )
    keep_docstring: bool = setting(True, "Keep docstrings", help="Off: the answer is the code without its docstring.")
    max_lines: int = setting(
        80, "Longest answer", unit="lines", help="Longer functions and classes are left out.", ge=2, le=2000
    )

    def make(
        self, rows: Iterable[Row], ask: Ask | None, progress: Progress, dropped: Counter[str] | None = None
    ) -> Iterator[Made]:
        """Raises DatasetError where there is no such column; files that are not Python are only counted."""
        dropped = Counter() if dropped is None else dropped
        columns, each = walk(rows, progress)
        require([self.column], columns, "Code column")
        for index, row in each:
            source = _lines_end_alike(as_text(row.get(self.column)))
            tree = parse(source)
            if tree is None:
                dropped["files that are not Python"] += 1
                continue
            lines = source.split("\n")
            path = {self.path_column: row[self.path_column]} if self.path_column in row else {}
            for place in _documented(tree):
                answer = self._answer(place.node, lines)
                if answer is None:
                    dropped["functions and classes that are too long, or only a docstring"] += 1
                    continue
                given = _signature(place.node, lines) if self.signature_as_input else ""
                made = {"instruction": place.instruction(), "input": given, "output": answer, **path}
                yield Made(made, index, "new")

    def _answer(self, node: Documented, lines: list[str]) -> str | None:
        """The source of `node` by itself; None where it is too long, or nothing without its docstring."""
        first, last = _first_line(node), node.end_lineno or node.lineno
        kept = lines[first - 1 : last]
        if not self.keep_docstring:
            doc = node.body[0]
            after = doc.end_lineno or doc.lineno
            if len(node.body) == 1 or node.body[1].lineno == after:
                return None
            rest = lines[after:last]
            kept = lines[first - 1 : doc.lineno - 1] + rest[not rest[0].strip() :]
        text = textwrap.dedent("\n".join(kept))
        return text if len(kept) <= self.max_lines and _stands_alone(text, node) else None


@dataclass(frozen=True)
class _Place:
    node: Documented
    owner: str  # the class around it, with the classes around that; empty at the top of a file

    def instruction(self) -> str:
        """What the docstring says, as a task; equal code is asked for in equal words."""
        says = first_sentence(ast.get_docstring(self.node) or "")
        chosen = hashlib.sha256(f"{self.owner}.{self.node.name}: {says}".encode(errors="replace")).digest()[0]
        return _PHRASINGS[chosen % len(_PHRASINGS)].format(what=self._what(), says=says)

    def _what(self) -> str:
        kind = "class" if isinstance(self.node, ast.ClassDef) else "method" if self.owner else "function"
        late = "async " if isinstance(self.node, ast.AsyncFunctionDef) else ""
        return f"{late}{kind} `{self.node.name}`" + (f" of the class `{self.owner}`" if self.owner else "")


def parse(source: str) -> ast.Module | None:
    """The syntax tree of a file; None for what is not Python, or too large or too deep to look at."""
    if len(source) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own making, such as a "\d" in a plain string
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring on one line, with a full stop."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])\s+(?=[A-Z`'\"])", paragraph)[0]
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence.rstrip(':;,')}."


def _documented(tree: ast.Module) -> Iterator[_Place]:
    """Functions and classes with a docstring, from top to bottom; not those within functions."""
    waiting = [(node, "") for node in reversed(tree.body)]
    while waiting:  # not recursive: classes can be nested deeper than Python's stack
        node, owner = waiting.pop()
        if not isinstance(node, Documented):
            continue
        if (ast.get_docstring(node) or "").strip():
            yield _Place(node, owner)
        if isinstance(node, ast.ClassDef):
            name = f"{owner}.{node.name}" if owner else node.name
            waiting += [(child, name) for child in reversed(node.body)]


def _first_line(node: Documented) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _signature(node: Documented, lines: list[str]) -> str:
    """From `def` or `class` to the colon; the docstring is the first thing behind it."""
    doc = node.body[0]
    last = lines[doc.lineno - 1].encode()[: doc.col_offset].decode()  # offsets count bytes
    return textwrap.dedent("\n".join([*lines[node.lineno - 1 : doc.lineno - 1], last])).strip()


def _stands_alone(text: str, node: Documented) -> bool:
    """Whether the text is that one definition: cut out of its file, a string may have lost its indent."""
    tree = parse(text)
    body = tree.body if tree else []
    return len(body) == 1 and isinstance(body[0], type(node)) and body[0].name == node.name


def _lines_end_alike(source: str) -> str:
    return source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
