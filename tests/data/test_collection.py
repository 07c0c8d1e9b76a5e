import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread

import pyarrow
import pyarrow.parquet
import pytest

from studio.data import changes, collection
from studio.data.collection import Kept
from studio.data.draft import Draft
from studio.data.parquet import Row, rows_of
from studio.data.templates import Mapping
from studio.data.views import View
from studio.errors import DatasetError
from studio.workspace import Workspace

CSV = "question,answer\na,b\nc,d\n"


@pytest.fixture
def bring(workspace: Workspace, tmp_path) -> Callable[..., Kept]:
    """Upload a file of that content."""

    def made(content: str | bytes | pyarrow.Table, name: str = "mine.csv", progress=None) -> Kept:
        path = tmp_path / "upload"
        if isinstance(content, pyarrow.Table):
            pyarrow.parquet.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        kept = collection.find(workspace, collection.add(workspace, path, name, progress))
        assert kept is not None
        return kept

    return made


def test_columns_and_version_saved_at_the_same_time_are_both_kept(bring):
    kept = bring(CSV)
    first = kept.current
    opened = Draft(kept)
    opened.do(lambda table: changes.edit(table, 0, "answer", "better"), "me")
    second = opened.save("me").key
    mapping = Mapping("prompt_completion", {"prompt": "question", "completion": "answer"})
    for key in (first, second) * 30:
        together = Barrier(2)

        def save_columns(together: Barrier = together) -> None:
            together.wait()
            collection.store_mapping(kept, mapping)

        thread = Thread(target=save_columns)
        thread.start()
        together.wait()
        collection.set_current(kept, key)
        thread.join()
        found = collection.reread(kept.folder)
        assert found is not None
        assert (found.current, found.mapping) == (key, mapping)


def test_what_is_kept_of_a_deleted_one_is_refused(bring):
    kept = bring(CSV)
    collection.remove(kept)
    with pytest.raises(DatasetError, match="deleted meanwhile"):
        collection.store_mapping(kept, Mapping("prompt_completion", {}))
    assert not kept.folder.exists()


def rows(kept: Kept) -> list[Row]:
    return list(rows_of(kept.path()))


def test_the_same_rows_twice_are_two_data_sets_of_one_version(bring, workspace):
    """The first may be another person's: what they edit must not show in the second."""
    edited, own = bring(CSV), bring('{"question": "a", "answer": "b"}\n{"question": "c", "answer": "d"}', "x.jsonl")
    assert edited.name != own.name
    assert edited.current == own.current  # a version is named by its rows
    opened = Draft(edited)
    opened.do(lambda table: changes.edit(table, 0, "answer", "better"), "me")
    opened.save("me")
    assert [row["answer"] for row in rows(own)] == ["b", "d"]
    assert {kept.name for kept in collection.listed(workspace)} == {edited.name, own.name}


def test_a_version_tells_where_it_comes_from(bring):
    kept = bring(CSV)
    (version,) = collection.versions(kept)
    assert (version.key, version.rows, version.by, version.parent, version.what) == (kept.current, 2, "upload", "", ())
    assert kept.path() == kept.path(version.key)
    assert list(kept.history(version.key).parent.glob("*")) == []
    for strange in ("0" * 16, "../x", "", "A" * 16):
        with pytest.raises(DatasetError, match="has no version"):
            collection.set_current(kept, strange or "-")


def test_a_version_without_its_rows_is_none(bring):
    kept = bring(CSV)
    (kept.folder / "versions" / f"{'0' * 16}.json").write_text((kept.path().with_suffix(".json")).read_text())
    (kept.folder / "versions" / "broken.json").write_text("{")
    assert [version.key for version in collection.versions(kept)] == [kept.current]


FOREIGN = {
    "text": pyarrow.array([f"row {i}" if i % 10 else None for i in range(25_000)], pyarrow.large_string()),
    "label": pyarrow.array(["good", "bad"] * 12_500).dictionary_encode(),
    "turns": pyarrow.array([[{"role": "user", "content": f"hello {i}"}] for i in range(25_000)]),
    "when": pyarrow.array([datetime.datetime(2024, 1, 1, 12, 0, 0, i) for i in range(25_000)], pyarrow.timestamp("us")),
    "zoned": pyarrow.array([1_700_000_000_000 + i for i in range(25_000)], pyarrow.timestamp("ms", "Europe/Paris")),
    "price": pyarrow.array([Decimal(i).scaleb(-2) for i in range(25_000)], pyarrow.decimal128(12, 2)),
    "none": pyarrow.nulls(25_000),
}


def test_a_foreign_file_opens_pages_is_edited_and_saved(bring):
    table = pyarrow.table(FOREIGN)
    kept = bring(table, "theirs.parquet")
    assert rows(kept)[:3] == table.slice(0, 3).to_pylist()
    opened = Draft(kept)
    ids = opened.table.ids(View(search="ROW 2499"))
    assert ids.tolist() == [2499, *range(24991, 25000)]
    assert opened.table.fetch(ids[:1])[0][1]["turns"] == [{"role": "user", "content": "hello 2499"}]
    for column, text in (
        ("text", "edited"),
        ("label", "null"),
        ("turns", '[{"role": "user", "content": "edited"}]'),
        ("when", "2020-02-02 02:02:02"),
        ("price", "1.50"),
        ("none", "something"),
    ):
        opened.do(lambda table, c=column, t=text: changes.edit(table, 24_999, c, t), "me")
    opened.do(lambda table: changes.delete(table, [1]), "me")
    opened.do(lambda table: changes.duplicate(table, 2), "me")
    version = opened.save("me")
    assert version.rows == 25_000
    expected = table.to_pylist()
    expected[24_999] |= {
        "text": "edited",
        "label": "null",
        "turns": [{"role": "user", "content": "edited"}],
        "when": datetime.datetime(2020, 2, 2, 2, 2, 2),
        "price": Decimal("1.50"),
        "none": "something",
    }
    expected[1:3] = [expected[2]] * 2
    assert list(rows_of(kept.path(version.key))) == expected


def test_a_foreign_file_edited_and_edited_back_is_what_it_was(bring):
    kept = bring(pyarrow.table(FOREIGN), "theirs.parquet")
    opened = Draft(kept)
    opened.do(lambda table: changes.edit(table, 7, "price", "99.99"), "me")
    opened.do(lambda table: changes.edit(table, 7, "price", "0.07"), "me")
    assert opened.save("me").key == kept.current


def test_a_foreign_files_columns_get_names_of_their_own(bring):
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["x", "x", ""])
    kept = bring(table, "theirs.parquet")
    assert rows(kept) == [{"x": "a", "x 2": "b", "column 3": "c"}]
    opened = Draft(kept)
    opened.do(lambda table: changes.edit(table, 0, "x 2", "new"), "me")
    assert opened.table.fetch([0])[0][1] == {"x": "a", "x 2": "new", "column 3": "c"}


def test_a_damaged_foreign_file_leaves_nothing(bring, workspace, tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"a": [f"{i * 7919}" for i in range(9_000)]}), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for content in (whole[:-9], whole[:200] + b"\xff" * 20_000 + whole[20_200:], b"PAR1"):
        with pytest.raises(DatasetError):
            bring(content, "theirs.parquet")
    assert list(workspace.datasets.iterdir()) == []


def test_rows_that_could_not_be_read_are_kept_aside(bring):
    kept = bring('{"a": 1}\n{"a": \n{"a": 3}\n', "lines.jsonl")
    assert [row["a"] for row in rows(kept)] == [1, 3]
    (aside,) = kept.set_aside()
    assert aside.line == 2
    assert aside.reason
    assert bring(CSV).set_aside() == []


MESSAGES = [
    {"message_id": "1", "parent_id": None, "text": "Why?", "role": "prompter", "rank": None, "lang": "en"},
    {"message_id": "2", "parent_id": "1", "text": "Worse.", "role": "assistant", "rank": 1, "lang": "en"},
    {"message_id": "3", "parent_id": "1", "text": "Because.", "role": "assistant", "rank": 0, "lang": "en"},
    {"message_id": "4", "parent_id": "1", "text": " ", "role": "assistant", "rank": 2, "lang": "en"},
]
NESTED = [
    {
        "message_tree_id": "t",
        "prompt": {
            "text": "Why?",
            "role": "prompter",
            "replies": [
                {"text": "Worse.", "role": "assistant", "rank": 1, "replies": []},
                {"text": "Because.", "role": "assistant", "rank": 0, "replies": []},
            ],
        },
    }
]


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_message_trees_become_conversations(bring, shape, kind):
    tree = MESSAGES if shape == "flat" else NESTED
    content = "\n".join(map(json.dumps, tree)) if kind == "jsonl" else pyarrow.Table.from_pylist(tree)
    kept = bring(content, f"oasst.{kind}")
    (row,) = rows(kept)
    assert row["messages"] == [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    (note,) = (note for note in kept.notes if "trees" in note)
    assert ("1 messages had no place" in note) == (shape == "flat")


@pytest.mark.parametrize("name", ["write_rows", "adopt", "_write_json"])
def test_a_full_disk_leaves_nothing_behind(bring, workspace, monkeypatch, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"studio.data.collection.{name}", full)
    content = pyarrow.table({"a": [1]}) if name == "adopt" else CSV
    with pytest.raises(DatasetError, match="No space left on device"):
        bring(content, "mine.parquet" if name == "adopt" else "mine.csv")
    assert list(workspace.datasets.iterdir()) == []


def test_a_full_disk_leaves_the_versions_as_they_were(bring, monkeypatch):
    def full(path: Path, *_, **__):
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    kept = bring(CSV)
    opened = Draft(kept)
    opened.do(lambda table: changes.edit(table, 0, "answer", "better"), "me")
    before = sorted(path.name for path in (kept.folder / "versions").iterdir())
    for target in ("studio.data.draft.Writer", "pathlib.Path.write_text"):
        with monkeypatch.context() as patched:
            patched.setattr(target, full)
            with pytest.raises(DatasetError, match="cannot be kept"):
                opened.save("me")
        assert sorted(path.name for path in (kept.folder / "versions").iterdir()) == before
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_text", full)
        with pytest.raises(DatasetError, match="cannot be kept"):
            collection.store_mapping(kept, Mapping("text", {"text": "answer"}))
    assert collection.reread(kept.folder) == kept
    assert opened.save("me").rows == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"title": "x"}', '{"mapping": 3}', "\ud83d"])
def test_a_damaged_data_set_is_passed_over(bring, workspace, content):
    kept = bring(CSV)
    (kept.folder / "about.json").write_bytes(content.encode(errors="surrogatepass"))
    assert collection.listed(workspace) == []
    assert collection.find(workspace, kept.name) is None


def test_damaged_values_are_passed_over(bring, workspace):
    path = bring(CSV).folder / "about.json"
    about = json.loads(path.read_text())
    for broken in ({"mapping": 3}, {"mapping": {"format": "none"}}, {"notes": 3}, {"uploaded": None}, {"current": 7}):
        path.write_text(json.dumps({**about, **broken}))
        assert collection.listed(workspace) == []


def test_how_far_it_is_is_told(bring):
    lines = "\n".join(json.dumps({"text": f"line {i}" * 20}) for i in range(30_000))
    for content, name in ((lines, "a.jsonl"), (pyarrow.table({"text": [f"{i}" for i in range(30_000)]}), "b.parquet")):
        shares: list[float] = []
        bring(content, name, shares.append)
        assert len(set(shares)) > 3
        assert shares == sorted(shares)
        assert 0 <= shares[0] < shares[-1] <= 1


def test_rows_that_were_made_are_kept_too(workspace):
    mapping = Mapping("text", {"text": "a"})
    name = collection.add_rows(workspace, "Made / by hand", iter([{"a": "x"}]), mapping=mapping, by="me")
    kept = collection.find(workspace, name)
    assert kept is not None
    assert (kept.title, kept.mapping, kept.notes) == ("Made / by hand", mapping, ())
    with pytest.raises(DatasetError, match="No rows"):
        collection.add_rows(workspace, "Nothing", iter([]), mapping=None, by="me")
    assert [path.name for path in workspace.datasets.iterdir()] == [name]


def test_a_removed_data_set_is_gone(bring, workspace: Workspace):
    kept = bring(CSV)
    collection.remove(kept)
    assert list(workspace.datasets.iterdir()) == []
    assert not Path(kept.folder).exists()
    assert collection.find(workspace, kept.name) is None


def test_a_large_foreign_file_is_kept_as_it_came_until_it_is_saved(bring, tmp_path, monkeypatch):
    """A gigabyte is open at once; what cannot be edited as it is, is rewritten all the same."""
    monkeypatch.setattr("studio.data.collection._LARGE", 1)
    plain = pyarrow.table({"text": [f"row {i}" for i in range(5_000)], "n": list(range(5_000))})
    kept = bring(plain, "plain.parquet")
    assert pyarrow.parquet.ParquetFile(kept.path()).num_row_groups == 1
    opened = Draft(kept)
    opened.do(lambda table: changes.edit(table, 4_000, "text", "edited"), "me")
    opened.do(lambda table: changes.delete(table, [0]), "me")
    opened.save("me")
    saved = collection.reread(kept.folder)
    assert saved is not None
    assert pyarrow.parquet.ParquetFile(saved.path()).num_row_groups > 1
    assert [row["text"] for row in rows(saved)] == [
        *(f"row {i}" for i in range(1, 4_000)),
        "edited",
        *(f"row {i}" for i in range(4_001, 5_000)),
    ]
    foreign = bring(pyarrow.table({"label": pyarrow.array(["a", "b"] * 2_500).dictionary_encode()}), "foreign.parquet")
    assert pyarrow.parquet.ParquetFile(foreign.path()).num_row_groups > 1
