"""SQL in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import psutil
import pyarrow
import pyarrow.parquet
import pytest

from studio.data import changes, collection
from studio.data.draft import Draft
from studio.data.parquet import write_rows
from studio.data.table import CELL_LETTERS, Answer
from studio.errors import DatasetError
from studio.querier import Querier
from studio.workspace import Workspace


@pytest.fixture
def querier(workspace: Workspace) -> Iterator[Querier]:
    running = Querier(workspace)
    yield running
    running.close()


@pytest.fixture
def draft(workspace: Workspace) -> Draft:
    name = collection.add_rows(workspace, "Mine", [{"text": f"row {i}"} for i in range(5)], mapping=None, by="me")
    kept = collection.find(workspace, name)
    assert kept is not None
    return Draft(kept)


def ask(querier: Querier, draft: Draft, query: str) -> Answer:
    return querier.ask(*draft.lies(), query)


def say(draft: Draft, row: int, text: str) -> None:
    draft.do(lambda table: changes.edit(table, row, "text", text), "me")


def pid(querier: Querier) -> int | None:
    return None if querier.child._process is None else querier.child._process.pid


def test_it_answers_on_the_rows_as_they_are_now(querier: Querier, draft: Draft) -> None:
    first = "SELECT row, text FROM data WHERE row <= 2 ORDER BY row"
    assert ask(querier, draft, first) == Answer(("row", "text"), [(1, "row 0"), (2, "row 1")], more=False)
    say(draft, 0, "edited")
    draft.do(lambda table: changes.delete(table, [1]), "me")
    assert ask(querier, draft, first).rows == [(1, "edited")]
    draft.undo()
    assert ask(querier, draft, first).rows == [(1, "edited"), (2, "row 1")]
    draft.undo()
    say(draft, 1, "another first change")  # as many changes as before, and other ones
    assert ask(querier, draft, first).rows == [(1, "row 0"), (2, "another first change")]
    draft.save("me")
    assert ask(querier, draft, first).rows == [(1, "row 0"), (2, "another first change")]


def test_a_long_text_takes_little_memory_here(querier: Querier, draft: Draft) -> None:
    before = psutil.Process().memory_info().rss
    answer = ask(querier, draft, "SELECT repeat('a', 2000000) AS a FROM range(150)")
    assert {cell for (cell,) in answer.rows} == {"a" * CELL_LETTERS}
    assert psutil.Process().memory_info().rss - before < 100_000_000


def test_rows_beyond_the_answers_size_are_left_out(querier: Querier, tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    write_rows([{f"c{i}": "x" * 1_000 for i in range(100)} for _ in range(100)], path)
    answer = querier.ask(path, tmp_path, 0, "SELECT * FROM data")
    assert answer.more
    assert 1 < len(answer.rows) < 100


@pytest.mark.parametrize("query", ["SELECT repeat('a', 20000000) FROM range(2000)", "SELECT repeat('a', 4200000000)"])
def test_too_much_memory_is_refused(querier: Querier, draft: Draft, query: str) -> None:
    with pytest.raises(DatasetError, match="more memory than it may have"):
        ask(querier, draft, query)
    assert ask(querier, draft, "SELECT count(*) FROM data").rows == [(5,)]


def test_what_an_earlier_query_took_is_not_missing(querier: Querier, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(({"text": f"text {i} " * 20} for i in range(100_000)), path)
    with pytest.raises(DatasetError, match="more memory than it may have"):
        querier.ask(path, tmp_path, 0, "SELECT repeat('a', 2000000) FROM data")
    answer = querier.ask(path, tmp_path, 0, "SELECT text, count(*) FROM data GROUP BY 1 LIMIT 3")
    assert [count for _, count in answer.rows] == [1, 1, 1]


def test_a_query_that_cannot_be_interrupted_is_ended(workspace: Workspace, draft: Draft) -> None:
    querier = Querier(workspace, seconds=3)
    try:
        with pytest.raises(DatasetError, match="was ended"):
            ask(querier, draft, "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))")
        assert pid(querier) is None
    finally:
        querier.close()


def test_a_process_that_died_is_replaced(querier: Querier, draft: Draft) -> None:
    assert ask(querier, draft, "SELECT 1").rows == [(1,)]
    first = pid(querier)
    assert first is not None
    psutil.Process(first).kill()
    assert querier.child._process is not None
    querier.child._process.wait(20)  # until who started it knows, too
    assert ask(querier, draft, "SELECT 2").rows == [(2,)]
    assert pid(querier) != first


def test_cells_of_every_type_arrive(querier: Querier, tmp_path: Path) -> None:
    path = tmp_path / "types.parquet"
    maps = pyarrow.array([[(date(2020, 1, 2), b"\xffx")]], pyarrow.map_(pyarrow.date32(), pyarrow.binary()))
    cells = {"when": [date(2020, 1, 2)], "price": [Decimal("1.50")], "raw": [b"ab"], "truth": [True], "map": maps}
    pyarrow.parquet.write_table(pyarrow.table(cells), path)
    (row,) = querier.ask(path, tmp_path, 0, "SELECT * FROM data").rows
    assert row == (1, "2020-01-02", "1.50", "ab", True, '{"2020-01-02": "�x"}')


def test_what_is_wrong_with_a_query_is_said(querier: Querier, draft: Draft) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        ask(querier, draft, "SELECT * FROM nowhere")
    with pytest.raises(DatasetError, match="Only one SELECT"):
        ask(querier, draft, "DROP VIEW data")


def test_a_draft_that_is_gone_by_now_is_said(querier: Querier, draft: Draft) -> None:
    say(draft, 0, "edited")
    with pytest.raises(DatasetError, match="changed meanwhile"):
        querier.ask(draft.table.path, draft.folder, 7, "SELECT 1")
