"""SQL, asked in a process of its own: a query may take any memory, and some cannot be interrupted.

A `Querier` asks `python -m studio.querier` with {"path", "folder", "head", "query"}; the one reply is
{"columns", "rows", "more"}, or {"too_large": [problem, remedy]}.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.child import Child, Reply, serve
from studio.data.draft import changed, numbered
from studio.data.table import SQL_SECONDS, Answer, Table, TooLarge, too_slow
from studio.errors import DatasetError
from studio.workspace import Workspace

MEMORY = 4 * 2**30  # bytes of address space beyond what the libraries take; duckdb's own limit knows no long texts
START_SECONDS = 15.0  # to start, and to lay the changes over the rows


class Querier:
    """The parent's side. One query at a time; a second one waits for the first."""

    def __init__(self, workspace: Workspace, seconds: float = SQL_SECONDS + START_SECONDS) -> None:
        """`seconds` is how long a query may take, opening the rows included."""
        self._seconds = seconds
        self._turn = threading.Lock()
        self.child = Child(
            "studio.querier",
            workspace.root / "querier.log",
            "The process that answers queries ended.",
            "Ask for less; if it ends again, querier.log in the workspace says why.",
            keys=(),
        )

    def ask(self, path: Path, folder: Path, head: int, query: str) -> Answer:
        """What `Table.sql` says of a version's rows under the first `head` changes of a draft's `folder`.

        Raises DatasetError, also for a query that takes too long; ModelError where the process died.
        """
        request = {"path": str(path), "folder": str(folder), "head": head, "query": query}
        with self._turn:
            answer = self._answer(request)
            if "too_large" in answer:  # an earlier query may have kept what is missing: a new process has all of it
                answer = self._answer(request)
        if "too_large" in answer:
            problem, remedy = answer["too_large"]
            raise TooLarge(problem, remedy=remedy)
        return Answer(tuple(answer["columns"]), [tuple(row) for row in answer["rows"]], answer["more"])

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            (answer,) = self.child.ask(request, self._seconds)
        except TimeoutError:
            raise too_slow() from None
        if "too_large" in answer:
            self.child.close()
        return answer

    def close(self) -> None:
        """End the process; the next query starts another."""
        self.child.close()


# -- in the process ---------------------------------------------------------------------------------


class _Open:
    """The rows that were asked about last."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()
        self._table: Table | None = None

    def table(self, path: Path, folder: Path, head: int) -> Table:
        import pyarrow

        try:
            state = (path, *_stamp(path), folder, head, *(_stamp(numbered(folder, head)) if head else ()))
            if self._table is None or self._state != state:
                self._table = None  # two at a time need not fit
                self._table = changed(path, folder, head)
                self._state = state
            return self._table
        except (OSError, pyarrow.ArrowException):
            raise DatasetError("The data set was changed meanwhile.", remedy="Ask again.") from None

    def answer(self, request: dict[str, Any], reply: Reply, _stop: Callable[[], bool]) -> None:
        table = self.table(Path(request["path"]), Path(request["folder"]), request["head"])
        try:
            answer = table.sql(request["query"])
            reply(columns=answer.columns, rows=answer.rows, more=answer.more)
        except TooLarge as error:
            reply(too_large=[error.problem, error.remedy])


def _stamp(path: Path) -> tuple[int, int]:
    """What tells a file from another one in its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _limit_memory() -> None:
    """No more address space than the process has now and MEMORY, where the system knows of such limits."""
    try:
        import resource
    except ImportError:
        return
    import duckdb  # noqa: F401 - what it takes is not the query's
    import psutil
    import pyarrow.parquet  # noqa: F401

    limit = psutil.Process().memory_info().vms + MEMORY
    with contextlib.suppress(OSError, ValueError):  # a lower one is set already, or the system refuses
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Answer until nobody asks any more."""
    _limit_memory()
    serve(_Open().answer)


if __name__ == "__main__":
    main()
