"""The quality checks, run over all rows in a process of their own: they take minutes where there are many rows.

An `Examiner` asks `python -m studio.examiner` with {"file", "edited", "mapping", "checks", "held_out"}; the
replies are {"done", "total"} and one {"findings"}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import studio.data.checks
from studio.catalog import Chosen, plain
from studio.child import Child, Reply, Stopped, serve
from studio.data.checked import LEAKAGE
from studio.data.checks import Check, Finding, Hit, Row, examine
from studio.data.edited import Edited, edited_rows, sendable
from studio.data.templates import Mapping
from studio.workspace import Workspace


class Examiner:
    """The parent's side. One examination at a time; a second one waits for the first."""

    def __init__(self, workspace: Workspace) -> None:
        self.child = Child(
            "studio.examiner",
            workspace.root / "examiner.log",
            "The process that checks the data ended.",
            "Check again; if it ends again, examiner.log in the workspace says why.",
            keys=(),
        )

    def examine(
        self,
        file: Path,
        edited: Edited,
        mapping: Mapping,
        checks: Sequence[Check],
        held_out: tuple[Path, Mapping] | None = None,
    ) -> Iterator[tuple[int, int] | list[Finding]]:
        """(rows done, rows in all) now and then, the findings last. Closing the iterator ends the examination.

        `held_out` is a Parquet file, and how its columns are read, whose rows must not be among these: what
        is like one of them is a finding too. Raises DatasetError.
        """
        request = {
            "file": str(file),
            "edited": [[number, row and sendable(row)] for number, row in edited.items()],
            "mapping": mapping.plain(),
            "checks": [plain(check) for check in checks],
            "held_out": [str(held_out[0]), held_out[1].plain()] if held_out else None,
        }
        with closing(self.child.ask(request)) as replies:
            for reply in replies:
                if "findings" in reply:
                    yield [_finding(values) for values in reply["findings"]]
                else:
                    yield reply["done"], reply["total"]

    def close(self) -> None:
        """End the process; the next request starts another."""
        self.child.close()


def _finding(values: dict[str, Any]) -> Finding:
    return Finding(**{**values, "hits": [Hit(**hit) for hit in values["hits"]]})


# -- in the process ---------------------------------------------------------------------------------


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    mapping = Mapping.parse(request["mapping"])
    chosen = Chosen(studio.data.checks, Check)
    checks = [chosen.parse(values) for values in request["checks"]]
    columns = list(mapping.columns.values())
    file, edited = Path(request["file"]), dict(request["edited"])
    total, rows = edited_rows(file, edited, columns)

    def progress(done: int) -> None:
        if stop():
            raise Stopped
        reply(done=done, total=total)

    findings = examine(rows, mapping, checks, progress)  # pyright: ignore[reportArgumentType]
    if request["held_out"]:
        other, read_as = request["held_out"]
        findings += _leaks(edited_rows(file, edited, columns)[1], mapping, Path(other), Mapping.parse(read_as))
    reply(findings=[asdict(finding) for finding in findings])


def _leaks(rows: Iterator[tuple[int, Row]], mapping: Mapping, held_out: Path, read_as: Mapping) -> list[Finding]:
    from studio.data.leakage import leakage
    from studio.data.parquet import rows_of

    hits = leakage(rows, mapping, rows_of(held_out), read_as)
    about = "The same as a held-out row, or nearly: with it, a score measures memory."
    return [Finding(LEAKAGE, "Also held out", "error", about, "Delete the rows", hits)] if hits else []


def main() -> None:
    """Answer until nobody asks any more."""
    serve(_answer)


if __name__ == "__main__":
    main()
