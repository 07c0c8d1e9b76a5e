"""What the parts of the Dataset tab share: the data set in front of a person, and who that is."""

from __future__ import annotations

import functools
import getpass
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import gradio as gr

from studio.data.changes import cell_text
from studio.data.collection import find
from studio.data.draft import Draft
from studio.data.edited import Edited
from studio.data.library import Found, look, own, settle
from studio.data.table import Table
from studio.data.templates import Mapping
from studio.data.views import ALL, View
from studio.errors import DatasetError, StudioError
from tabs._shared import Page, escaped, meter, said

PAGE_ROWS = 100  # shown at once
CELL_LETTERS = 300  # of a cell in a table; all of it is read at the side


@dataclass(frozen=True)
class Looking:
    """What one browser looks at: which rows in which order, the first one shown, the picked ones, the open cell.

    `version` is the file that rows are counted in: in another one the same numbers are other rows.
    """

    name: str = ""
    version: str = ""
    view: View = ALL
    at: int = 0
    picked: tuple[int, ...] = ()
    cell: tuple[int, str] | None = None


@dataclass(frozen=True)
class Handed:
    """Rows that a finding or a query named, for the editor to show: those of one version of one data set."""

    name: str
    version: str
    rows: tuple[int, ...] = field(repr=False)


def handed(name: str, table: Table, rows: Iterable[int]) -> Handed:
    return Handed(name, table.path.name, tuple(rows))


@dataclass(frozen=True)
class Bench:
    """The tab's shared widgets. `changed` counts edits: its change event is how the parts hear of them.

    `chosen` is what the chooser says, and tells the parts of another data set: where several listen to a
    widget's own change event, Gradio may call them in turn without end. `only` is a Handed, or None.
    """

    page: Page
    chooser: gr.Dropdown
    chosen: gr.State
    changed: gr.State
    only: gr.State
    parts: gr.Tabs

    def on(self, handler: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
        """A handler that is given the page first, and whose faults become sentences."""
        return said(functools.partial(handler, self.page, *fixed))


def table_of(page: Page, name: str) -> Table:
    """The rows as they are now, edits included."""
    if kept := find(page.workspace, name):
        return page.desk.draft(kept).table
    return page.desk.table(look(name, page.workspace).train.path)


def same_version(table: Table, version: str) -> Table:
    """The table, if it is still the version that row numbers were taken from. Raises DatasetError."""
    if table.path.name != version:
        raise DatasetError(
            "Another version was saved or chosen meanwhile, and its rows are counted anew.",
            remedy="Look at the rows as they are now, and do it again.",
        )
    return table


def same_rows(table: Table, revision: int) -> Table:
    """The table, if nobody has changed it since it was at that revision. Raises DatasetError."""
    if table.revision != revision:
        raise DatasetError("The rows were changed meanwhile.", remedy="Look at them as they are now, and do it again.")
    return table


def draft_of(page: Page, name: str) -> Draft:
    """The data set opened for editing. Raises DatasetError for samples."""
    return page.desk.draft(own(page.workspace, name))


def mapping_of(found: Found) -> Mapping:
    """The stored mapping, else the detected one, else an empty one for the person to fill in."""
    try:
        return settle(found).mapping
    except StudioError:
        return Mapping("instruction", {})


def who(request: gr.Request | None) -> str:
    """Whose edit this is: the name they logged in by, else the account the studio runs under."""
    if request is not None and request.username:
        return str(request.username)
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "someone"


def compared(rows: list[tuple[str, Any, Any]]) -> str:
    """(where, old, new) as a table with what differs marked; None: there was or is nothing."""
    lines = "".join(f'<tr><td class="where">{escaped(where)}</td>{_sides(old, new)}</tr>' for where, old, new in rows)
    head = "<tr><th class='where'></th><th>before</th><th>after</th></tr>"
    return f'<table class="compared"><thead>{head}</thead><tbody>{lines}</tbody></table>'


MOST_LETTERS = 1_500
AROUND = 80  # letters of context shown around a difference


def _sides(old: Any, new: Any) -> str:
    before, after = cell_text(old), cell_text(new)
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return f"<td>{_marked(before, start, end, 'del')}</td><td>{_marked(after, start, end, 'ins')}</td>"


def _marked(text: str, start: int, end: int, tag: str) -> str:
    middle = text[start : len(text) - end]
    head, tail = text[:start], text[len(text) - end :]
    head = f"…{head[-AROUND:]}" if len(head) > AROUND else head
    tail = f"{tail[:AROUND]}…" if len(tail) > AROUND else tail
    middle = f"{middle[:MOST_LETTERS]}…" if len(middle) > MOST_LETTERS else middle
    return f"{escaped(head)}{f'<{tag}>{escaped(middle)}</{tag}>' if middle else ''}{escaped(tail)}"


def shown_cell(value: Any, letters: int) -> tuple[str, bool]:
    """(a cell as the table shows it, whether it was cut)."""
    text = (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    )
    return (text[:letters] + " …", True) if len(text) > letters else (text, False)


class Cancelled(Exception):
    """The person pressed Cancel."""


T = TypeVar("T")
Tell = Callable[[float, str], None]  # share done 0..1, what is being done


@dataclass
class Outcome(Generic[T]):
    """What some work came to, once it is over."""

    result: T | None = None


def progress_of(work: Callable[[Tell], T], outcome: Outcome[T]) -> Iterator[str]:
    """Do some work beside the page and say twice a second, as HTML, how far it is and how long it will take.

    Closing the iterator (Gradio's cancel) ends the work at its next word. Raises what the work raises.
    """
    last: list[tuple[float, str]] = [(0.0, "Starting")]
    stop, faults = threading.Event(), []

    def tell(share: float, text: str) -> None:
        if stop.is_set():
            raise Cancelled
        last[0] = (share, text)

    def run() -> None:
        try:
            outcome.result = work(tell)
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=run, daemon=True)
    began = time.monotonic()
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.5 if time.monotonic() - began > 0.5 else 0.1)
            yield meter(*last[0], time.monotonic() - began)
    finally:
        stop.set()
    if faults:
        if isinstance(faults[0], StudioError):
            yield f'<p class="fault">{escaped(faults[0].problem)} {escaped(faults[0].remedy)}</p>'
        raise faults[0]


MOST_EDITED = 20_000


def edited(table: Table) -> Edited:
    """Unsaved rows, as the processes that read the saved ones take them. Raises DatasetError for too many."""
    rows = table.overlay()
    if len(rows) > MOST_EDITED:
        raise DatasetError(f"{len(rows):,} rows are not saved yet.", remedy="Press 'Save version' under Rows first.")
    return rows
