"""Quality checks in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.data.checks import Check, Finding, checks
from studio.data.checks.near_duplicate import NearDuplicate
from studio.data.parquet import write_rows
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.examiner import LEAKAGE, Examiner
from studio.workspace import Workspace

PAIRS = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})
ROWS = [{"p": f"what is {i} and why", "c": f"the answer number {i} is told here"} for i in range(30)]


@pytest.fixture
def examiner(workspace: Workspace) -> Iterator[Examiner]:
    running = Examiner(workspace)
    yield running
    running.close()


def found(examiner: Examiner, *asked: object) -> dict[str, Finding]:
    *_, last = examiner.examine(*asked)  # pyright: ignore[reportArgumentType]
    assert isinstance(last, list)
    return {finding.check: finding for finding in last}


def usual() -> list[Check]:
    return [check() for check in checks().values() if check.default]


def test_findings_are_of_the_rows_as_they_are_now(examiner: Examiner, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows([*ROWS, {"p": "a prompt", "c": ""}, {"p": "another", "c": "mail me: a@example.com, it is mine"}], path)
    before = found(examiner, path, {}, PAIRS, usual())
    assert [hit.row_id for hit in before["empty_answer"].hits] == [30]
    assert [hit.row_id for hit in before["personal_data"].hits] == [31]
    edited = {30: None, 31: {"p": "another", "c": "this is a longer answer"}, 32: {"p": "new one", "c": ""}}
    after = found(examiner, path, edited, PAIRS, usual())
    assert [hit.row_id for hit in after["empty_answer"].hits] == [32]
    assert "personal_data" not in after


def test_thresholds_reach_the_process(examiner: Examiner, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    words = [f"word{i}" for i in range(60)]
    near = [*words[:30], "other", *words[31:]]
    write_rows([{"p": " ".join(words), "c": "x"}, {"p": " ".join(near), "c": "x"}], path)
    for threshold, hits in ((0.6, [1]), (1.0, [])):
        findings = found(examiner, path, {}, PAIRS, [NearDuplicate(threshold=threshold)])
        assert [hit.row_id for finding in findings.values() for hit in finding.hits] == hits


def test_rows_that_are_held_out_too_are_found(examiner: Examiner, tmp_path: Path) -> None:
    path, held_out = tmp_path / "rows.parquet", tmp_path / "held_out.parquet"
    write_rows(ROWS, path)
    others = [{"p": "never seen", "c": "quite another answer than those"}, ROWS[7]]
    write_rows(({"question": row["p"], "reply": row["c"]} for row in others), held_out)
    read_as = Mapping("prompt_completion", {"prompt": "question", "completion": "reply"})
    leaks = found(examiner, path, {}, PAIRS, [], (held_out, read_as))[LEAKAGE]
    assert [(hit.row_id, hit.why) for hit in leaks.hits] == [(7, "like row 2 of the held-out rows (100 %)")]


def test_a_cancelled_one_makes_way_for_the_next(examiner: Examiner, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(
        ({"p": f"a question about {i}", "c": f"an answer with the number {i} in it"} for i in range(60_000)), path
    )
    asked = examiner.examine(path, {}, PAIRS, usual())
    assert isinstance(next(asked), tuple)
    asked.close()  # pyright: ignore[reportAttributeAccessIssue]
    small = tmp_path / "small.parquet"
    write_rows([{"p": "a", "c": ""}], small)
    assert "empty_answer" in found(examiner, small, {}, PAIRS, usual())


def test_a_missing_column_is_said(examiner: Examiner, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows([{"p": "a"}], path)
    with pytest.raises(DatasetError, match="no column 'c'"):
        found(examiner, path, {}, PAIRS, usual())
