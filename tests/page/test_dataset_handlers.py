"""The Dataset tab's handlers with several people at one data set: nobody's click may touch other rows than they saw."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from studio.data import changes, collection
from studio.data.draft import Desk
from studio.errors import DatasetError
from studio.examiner import Examiner
from studio.workspace import Workspace
from tabs._data import make, quality, rows
from tabs._data.bench import Handed, Looking, draft_of, table_of
from tabs._data.grid import MOST_COLUMNS, shown_rows

ANN: Any = SimpleNamespace(username="ann")


@pytest.fixture
def page(workspace: Workspace) -> Any:
    examiner = Examiner(workspace)
    yield SimpleNamespace(workspace=workspace, desk=Desk(), examiner=examiner)
    examiner.close()


@pytest.fixture
def name(workspace: Workspace) -> str:
    data = [{"prompt": f"question {i} is asked here", "answer": f" text {i} "} for i in range(12)]
    return collection.add_rows(workspace, "mine", data, mapping=None, by="ann")


def answers(page: Any, name: str) -> list[str]:
    return [row["answer"] for _, row in table_of(page, name).rows()]


def looked_at(page: Any, name: str, **seen: Any) -> Looking:
    looking = shown_rows(page, Looking(name))[0]
    return replace(looking, **seen)


def somebody_deletes_the_first_row_and_saves(page: Any, name: str) -> None:
    draft = draft_of(page, name)
    draft.do(lambda table: changes.delete(table, [0]), "bob")
    draft.save("bob")


def event(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def test_ticked_rows_are_those_that_were_seen(page: Any, name: str) -> None:
    looking = looked_at(page, name, picked=(5,), cell=(5, "answer"))
    somebody_deletes_the_first_row_and_saves(page, name)
    before = answers(page, name)
    for handler in (rows._delete, rows._duplicate, rows._add):
        with pytest.raises(DatasetError, match="counted anew"):
            handler(page, name, looking, 0, ANN)
    with pytest.raises(DatasetError, match="counted anew"):
        rows._keep(page, name, looking, "other text", " text 5 ", 0, ANN)
    assert answers(page, name) == before
    again = rows._again(page, name, looking)[0]
    assert (again.picked, again.cell) == ((), None)


def test_a_finding_is_of_the_rows_it_was_found_in(page: Any, name: str) -> None:
    chosen = [quality.checks()["whitespace"]()]
    *_, (report, *_) = quality._check(page, name, chosen, "")
    key = next(iter(report.findings))
    shown = quality._clicked(page, name, report, event(action="show", check=key))[0]
    assert rows._only(page, name, shown)[0].view.only == tuple(range(12))
    somebody_deletes_the_first_row_and_saves(page, name)
    before = answers(page, name)
    for refused in (
        lambda: quality._clicked(page, name, report, event(action="fix", check=key)),
        lambda: quality._apply(page, name, report, key, 0, ANN),
        lambda: rows._only(page, name, shown),
    ):
        with pytest.raises(DatasetError):
            refused()
    assert answers(page, name) == before


def test_rows_of_one_data_set_are_not_shown_in_another(page: Any, name: str) -> None:
    other = collection.add_rows(page.workspace, "other", [{"a": "x"}, {"a": "y"}], mapping=None, by="ann")
    with pytest.raises(DatasetError, match="another data set"):
        rows._only(page, other, Handed(name, table_of(page, name).path.name, (0,)))


def test_a_proposal_is_refused_where_rows_came_or_went_meanwhile(page: Any, name: str) -> None:
    maker = make.makers()["normalise"].parse({})
    *_, (_, proposed, _, _) = make._make(page, name, maker, None, "ann")
    assert proposed is not None
    draft_of(page, name).do(lambda table: changes.edit(table, 3, "answer", "bob's own"), "bob")
    with pytest.raises(DatasetError, match="changed meanwhile"):
        make._apply(page, name, proposed, 0, ANN)
    assert answers(page, name)[3] == "bob's own"
    *_, (_, proposed, _, _) = make._make(page, name, maker, None, "ann")
    make._apply(page, name, proposed, 0, ANN)
    assert answers(page, name)[4] == "text 4"


def test_what_is_edited_while_new_rows_are_made_stops_the_making(page: Any, name: str) -> None:
    making = make._make(page, name, make.makers()["normalise"].parse({}), None, "ann")
    next(making)
    draft_of(page, name).do(lambda table: changes.delete(table, [0]), "bob")
    with pytest.raises(DatasetError, match="changed meanwhile"):
        list(making)
    assert len(collection.listed(page.workspace)) == 1


def test_many_columns_are_not_all_sent(page: Any) -> None:
    wide = collection.add_rows(page.workspace, "wide", [{f"c{i}": "x" for i in range(300)}], mapping=None, by="ann")
    _, grid, place, *_ = shown_rows(page, Looking(wide))
    assert len(grid["columns"]) == len(grid["rows"][0]["cells"]) == MOST_COLUMNS
    assert "of 300 columns" in place


def test_a_mixed_cell_is_not_edited_in_its_place(page: Any) -> None:
    mixed = collection.add_rows(
        page.workspace, "mixed", [{"a": "two", "b": "x"}, {"a": 2, "b": "y"}], mapping=None, by="ann"
    )
    columns = shown_rows(page, Looking(mixed))[1]["columns"]
    assert [(each["name"], each["simple"]) for each in columns] == [("a", False), ("b", True)]
