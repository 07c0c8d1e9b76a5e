import json
import threading
from pathlib import Path

import pyarrow
import pytest

from studio.data import changes, collection
from studio.data.changes import Change
from studio.data.collection import Kept
from studio.data.draft import Desk, Draft, change_of, history_of
from studio.data.parquet import Row, rows_of
from studio.data.table import Table
from studio.errors import DatasetError
from studio.workspace import Workspace

START: list[Row] = [{"text": f"row {i}", "n": i, "turns": [{"role": "user", "content": str(i)}]} for i in range(20)]


@pytest.fixture
def kept(workspace: Workspace) -> Kept:
    name = collection.add_rows(workspace, "Mine", START, mapping=None, by="me")
    found = collection.find(workspace, name)
    assert found is not None
    return found


def again(kept: Kept) -> Draft:
    """The data set opened by another process, which knows what lies on disk."""
    found = collection.reread(kept.folder)
    assert found is not None
    return Draft(found)


def rows(opened: Draft) -> list[Row]:
    return [row for _, row in opened.table.rows()]


def say(opened: Draft, row: int, text: str) -> Change:
    return opened.do(lambda table: changes.edit(table, row, "text", text), "me")


def test_a_change_outlives_the_process(kept):
    first = Draft(kept)
    say(first, 0, "edited")
    first.do(lambda table: changes.delete(table, [1]), "you")
    first.do(lambda table: changes.duplicate(table, 0), "me")
    second = again(kept)
    assert rows(second) == rows(first) != START
    assert second.head == 3
    assert [(e.what, e.who, e.rows, e.undone) for e in second.history()] == [
        ("Edited 'text' of row 1", "me", 1, False),
        ("Deleted row 2", "you", 1, False),
        ("Duplicated row 1", "me", 1, False),
    ]
    assert changes.cells(change_of(second.folder, 1), second.table.columns, 5) == [(0, "text", "row 0", "edited")]


def test_what_was_undone_can_be_done_again_after_a_restart(kept):
    first = Draft(kept)
    say(first, 0, "one")
    say(first, 0, "two")
    assert first.undo() == "Edited 'text' of row 1"
    second = again(kept)
    assert rows(second)[0]["text"] == "one"
    assert [entry.undone for entry in second.history()] == [False, True]
    second.redo()
    assert rows(second)[0]["text"] == "two"
    second.undo()
    second.undo()
    assert rows(second) == START
    third = again(kept)
    assert rows(third) == START
    with pytest.raises(DatasetError, match="nothing to undo"):
        third.undo()
    third.redo()
    third.redo()
    with pytest.raises(DatasetError, match="nothing to do again"):
        third.redo()
    assert rows(third)[0]["text"] == "two"


def test_a_new_change_drops_what_was_undone(kept):
    opened = Draft(kept)
    for text in ("one", "two", "three"):
        say(opened, 0, text)
    opened.undo()
    opened.undo()
    say(opened, 1, "other")
    with pytest.raises(DatasetError, match="nothing to do again"):
        opened.redo()
    assert [entry.what for entry in again(kept).history()] == ["Edited 'text' of row 1", "Edited 'text' of row 2"]


def test_a_change_that_is_refused_leaves_the_draft_as_it_was(kept):
    opened = Draft(kept)
    say(opened, 0, "one")
    say(opened, 0, "two")
    opened.undo()
    too_large = pyarrow.table(
        {"row": [1], "place": [1.0], "before": ['{"c1": 1}'], "after": ['{"c1": 99999999999999999999}']}
    )
    with pytest.raises(DatasetError, match="cannot hold such a value"):
        opened.do(lambda _: Change("Too large", too_large), "me")
    with pytest.raises(DatasetError, match="Nothing would change"):
        say(opened, 0, "one")
    assert rows(opened)[0]["text"] == "one"
    opened.redo()
    assert rows(again(kept))[0]["text"] == "two"


@pytest.mark.parametrize("failing", ["_write", "Draft._set_head"])
def test_a_full_disk_is_said_and_the_rows_stay(kept, monkeypatch, failing):
    def full(*_):
        raise OSError(28, "No space left on device")

    opened = Draft(kept)
    say(opened, 0, "one")
    with monkeypatch.context() as patched:
        patched.setattr(f"studio.data.draft.{failing}", full)
        with pytest.raises(DatasetError, match="No space left"):
            say(opened, 0, "two")
    assert rows(opened) == rows(again(kept))
    assert rows(opened)[0]["text"] == "one"
    say(opened, 0, "three")
    assert rows(again(kept))[0]["text"] == "three"


def test_a_crash_before_a_change_counts_is_harmless(kept):
    first = Draft(kept)
    say(first, 0, "one")
    head = (first.folder / "draft.json").read_text()
    say(first, 0, "two")
    (first.folder / "draft.json").write_text(head)  # the change's file is there, and does not count yet
    (first.folder / "000003.partial").write_bytes(b"PAR1")
    second = again(kept)
    assert rows(second)[0]["text"] == "one"
    say(second, 0, "other")
    assert rows(again(kept))[0]["text"] == "other"
    assert second.save("me").rows == 20


@pytest.mark.parametrize("content", ["", "{", "[]", '{"base": 1}', '{"head": 1}', '{"base": null, "head": "x"}'])
def test_a_damaged_head_loses_no_saved_row(kept, content):
    opened = Draft(kept)
    say(opened, 0, "one")
    (opened.folder / "draft.json").write_text(content)
    assert rows(again(kept)) == START


def test_a_head_beyond_the_files_counts_those_there_are(kept):
    opened = Draft(kept)
    say(opened, 0, "one")
    (opened.folder / "draft.json").write_text(json.dumps({"base": kept.current, "head": 9}))
    assert rows(again(kept))[0]["text"] == "one"


def test_a_draft_that_was_saved_is_not_laid_over_its_own_version(kept, monkeypatch):
    """A crash between naming the version and clearing the draft away."""
    opened = Draft(kept)
    opened.do(lambda table: changes.duplicate(table, 0), "me")
    expected = rows(opened)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            opened.save("me")
    reopened = again(kept)
    assert rows(reopened) == expected
    assert reopened.history() == []
    with pytest.raises(DatasetError, match="nothing to do again"):
        reopened.redo()


def test_saving_makes_a_version_of_the_rows(kept):
    opened = Draft(kept)
    say(opened, 3, "edited")
    opened.do(lambda table: changes.delete(table, [0, 5]), "you")
    opened.do(lambda table: changes.add(table, [{"text": "new", "turns": []}], "Added a row", behind=7), "me")
    expected = rows(opened)
    version = opened.save("me")
    assert (version.rows, version.by, version.parent) == (19, "me", kept.current)
    assert version.what == ("Edited 'text' of row 4", "Deleted 2 rows", "Added a row")
    assert list(rows_of(kept.path(version.key))) == expected == rows(opened) == rows(again(kept))
    assert list(rows_of(kept.path(kept.current))) == START
    assert [each.key for each in collection.versions(kept)] == [version.key, kept.current]
    assert [entry.what for entry in history_of(kept, version.key)] == list(version.what)
    assert history_of(kept, kept.current) == []
    assert not opened.folder.exists()
    with pytest.raises(DatasetError, match="nothing to save"):
        opened.save("me")
    with pytest.raises(DatasetError, match="nothing to undo"):
        opened.undo()


def test_the_same_rows_are_the_same_version(kept):
    opened = Draft(kept)
    say(opened, 0, "edited")
    first = opened.save("me")
    opened.go_to(kept.current)
    assert rows(opened) == START
    opened.do(lambda table: changes.replace(table, range(20), ["text"], "row 0", "edited", pattern=False), "you")
    assert opened.save("you") == first
    assert [entry.what for entry in history_of(kept, first.key)] == ["Edited 'text' of row 1"]
    assert len(collection.versions(kept)) == 2


def test_rows_edited_and_edited_back_are_the_version_they_were(kept):
    opened = Draft(kept)
    say(opened, 0, "edited")
    say(opened, 0, "row 0")
    opened.do(lambda table: changes.duplicate(table, 4), "me")
    opened.do(lambda table: changes.delete(table, [20]), "me")
    version = opened.save("me")
    assert version.key == kept.current
    assert version.parent == ""
    assert [each.key for each in collection.versions(kept)] == [kept.current]
    assert history_of(kept, kept.current) == []
    assert rows(opened) == rows(again(kept)) == START


def test_each_version_keeps_its_own_history(kept):
    opened = Draft(kept)
    say(opened, 0, "one")
    first = opened.save("me")
    say(opened, 0, "two")
    say(opened, 1, "three")
    opened.undo()
    second = opened.save("me")
    assert [len(history_of(kept, key)) for key in (kept.current, first.key)] == [0, 1]
    assert second.parent == first.key
    assert second.what == ("Edited 'text' of row 1",)
    assert changes.cells(change_of(kept.history(second.key), 1), opened.table.columns, 5) == [(0, "text", "one", "two")]


def test_another_version_is_looked_at_only_without_unsaved_changes(kept):
    opened = Draft(kept)
    say(opened, 0, "one")
    version = opened.save("me")
    say(opened, 0, "two")
    with pytest.raises(DatasetError, match="1 unsaved changes"):
        opened.go_to(kept.current)
    opened.discard()
    assert rows(opened)[0]["text"] == "one"
    assert opened.history() == []
    opened.go_to(kept.current)
    assert rows(opened) == rows(again(kept)) == START
    opened.go_to(version.key)
    assert rows(again(kept))[0]["text"] == "one"
    for key in ("0" * 16, "../../x", "x"):
        with pytest.raises(DatasetError, match="has no version"):
            opened.go_to(key)


def test_no_rows_are_not_saved(kept):
    opened = Draft(kept)
    opened.do(lambda table: changes.delete(table, range(20)), "me")
    assert rows(opened) == []
    with pytest.raises(DatasetError, match="No rows are left"):
        opened.save("me")
    assert [path.suffix for path in sorted((kept.folder / "versions").iterdir())] == [".json", ".parquet"]
    opened.undo()
    assert rows(opened) == rows(again(kept)) == START


def test_several_at_once_lose_nothing(kept):
    opened = Draft(kept)
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            for i in range(8):
                opened.do(lambda table, i=i: changes.add(table, [{"text": f"{number}.{i}"}], "Added"), f"{number}")
                say(opened, number, f"{number} says {i}")
                len(opened.table.ids())
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    texts = [row["text"] for row in rows(opened)]
    assert texts[:3] == [f"{number} says 7" for number in range(3)]
    assert sorted(texts[20:]) == [f"{number}.{i}" for number in range(3) for i in range(8)]
    assert rows(again(kept)) == rows(opened)


def test_of_a_deleted_data_set_nothing_comes_back(kept):
    opened = Draft(kept)
    say(opened, 0, "one")
    collection.remove(kept)
    for call in (lambda: say(opened, 0, "two"), opened.undo, opened.redo, lambda: opened.save("me"), opened.discard):
        with pytest.raises(DatasetError, match="deleted meanwhile"):
            call()
    assert not kept.folder.exists()


def test_one_that_came_again_under_its_old_name_is_another(kept, workspace):
    desk = Desk()
    old = desk.draft(kept)
    old.do(lambda table: changes.delete(table, [0]), "me")
    collection.remove(kept)
    (workspace.datasets / collection.add_rows(workspace, "Mine", START, mapping=None, by="me")).rename(kept.folder)
    found = collection.find(workspace, kept.name)
    assert found is not None
    assert rows(desk.draft(found)) == START
    with pytest.raises(DatasetError, match="deleted meanwhile"):
        say(old, 1, "nobody sees this")
    assert rows(again(kept)) == START


def test_a_large_table_is_saved_in_its_order(workspace):
    name = collection.add_rows(workspace, "Big", ({"n": i} for i in range(7_500)), mapping=None, by="me")
    kept = collection.find(workspace, name)
    assert kept is not None
    opened = Draft(kept)
    for behind in (0, 999, 1_000, 7_499, 7_501):
        opened.do(lambda table, b=behind: changes.add(table, [{"n": -b}, {"n": None}], "Added", behind=b), "me")
    opened.do(lambda table: changes.delete(table, [0, 998, 999, 5_000]), "me")
    opened.do(lambda table: changes.add(table, [{"n": 8}], "Added"), "me")
    expected = rows(opened)
    assert len(expected) == 7_500 + 10 - 4 + 1
    assert list(rows_of(kept.path(opened.save("me").key))) == expected


@pytest.fixture
def several(workspace) -> list[Kept]:
    for number in range(4):
        collection.add_rows(workspace, "Mine", [{"text": f"set {number}"}], mapping=None, by="me")
    return collection.listed(workspace)


def test_a_desk_keeps_the_drafts_asked_for_last(several):
    desk = Desk(most=2)
    held = desk.draft(several[0])
    assert desk.draft(several[0]) is held
    for kept in several[1:]:
        desk.draft(kept)
    say(held, 0, "still works")
    assert desk.draft(several[0]) is held  # another one would not know of the change's lock
    assert desk.draft(several[0]).head == 1
    desk.forget(several[0])
    other = desk.draft(several[0])
    assert other is not held
    assert rows(other)[0]["text"] == "still works"


def test_one_that_takes_long_to_open_keeps_nobody_else_waiting(several, monkeypatch):
    slow, go_on, opened = several[0].path(), threading.Event(), []

    class Slow(Table):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            assert path != slow or go_on.wait(60)
            super().__init__(path)

    monkeypatch.setattr("studio.data.draft.Table", Slow)
    desk, got = Desk(), []
    waiting = [threading.Thread(target=lambda: got.append(desk.table(slow))) for _ in range(2)]
    for thread in waiting:
        thread.start()
    try:
        assert desk.table(several[1].path()).base_rows == 1
        assert got == []
    finally:
        go_on.set()
        for thread in waiting:
            thread.join()
    assert got[0] is got[1]
    assert opened.count(slow) == 1


def test_a_desk_opens_versions_to_look_at(several):
    desk = Desk(most=2)
    table = desk.table(several[0].path())
    assert isinstance(table, Table)
    assert desk.table(several[0].path()) is table
    with pytest.raises(DatasetError):
        desk.table(several[0].folder / "nothing.parquet")
