"""Examinations are remembered: of rows as a run reads them, each check as last made, whoever makes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.data import changes, checked, collection
from studio.data.checks import Finding, Hit, checks
from studio.data.draft import Desk
from studio.data.library import look
from studio.data.report import report
from studio.examiner import Examiner
from studio.workspace import Workspace
from tabs._data import quality
from tabs._data.bench import draft_of

ROWS = [{"prompt": f"question {i} is asked here", "completion": f" text {i} "} for i in range(12)]


@pytest.fixture
def page(workspace: Workspace) -> Iterator[Any]:
    """As much of one as a check uses."""
    examiner = Examiner(workspace)
    yield SimpleNamespace(workspace=workspace, desk=Desk(), examiner=examiner)
    examiner.close()


def finding(key: str, rows: int) -> Finding:
    return Finding(key, key.title(), "error", "", "", [Hit(row, "odd") for row in range(rows)])


def test_each_check_is_known_as_it_was_last_made(workspace: Workspace) -> None:
    rows = Path("versions/0123456789abcdef.parquet")
    assert checked.known(workspace, rows) is None
    checked.keep(workspace, rows, ["a", "b"], [finding("a", 3)])
    checked.keep(workspace, rows, ["b", "c"], [finding("b", 1)], Path("cache/other.parquet"))
    found = checked.known(workspace, rows)
    assert found
    assert found.checks == ("a", "b", "c", checked.LEAKAGE)
    assert {key: each.rows for key, each in found.found.items()} == {"a": 3, "b": 1}
    assert found.against == "other"
    checked.keep(workspace, rows, ["a", "b"], [])
    found = checked.known(workspace, rows)
    assert found
    assert (found.found, found.against) == ({}, "other")
    assert checked.known(workspace, Path("versions/fedcba9876543210.parquet")) is None


def test_a_damaged_record_is_none(workspace: Workspace) -> None:
    rows = Path("0123456789abcdef.parquet")
    checked.keep(workspace, rows, ["a"], [])
    (workspace.checked / "0123456789abcdef.json").write_text('{"when": 1, "checks": 3}', encoding="utf-8")
    assert checked.known(workspace, rows) is None


def test_the_command_lines_report_is_remembered(workspace: Workspace) -> None:
    report("reviews", workspace)
    found = checked.known(workspace, look("reviews", workspace).train.path)
    assert found
    assert set(found.checks) == {key for key, cls in checks().items() if cls.default}


def test_the_pages_checks_are_remembered_but_not_of_rows_that_no_version_holds(page: Any) -> None:
    name = collection.add_rows(page.workspace, "mine", ROWS, mapping=None, by="me")
    kept = collection.find(page.workspace, name)
    assert kept
    chosen = [checks()["whitespace"]()]
    draft = draft_of(page, name)
    draft.do(lambda table: changes.delete(table, [0]), "me")
    list(quality._check(page, name, chosen, ""))
    assert checked.known(page.workspace, kept.path()) is None
    draft.undo()
    list(quality._check(page, name, chosen, "reviews"))
    found = checked.known(page.workspace, kept.path())
    assert found
    assert found.found["whitespace"].rows == 12
    assert found.against == look("reviews", page.workspace).train.path.stem
