import json
import subprocess
import sys

import pytest

from studio.data import library
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.workspace import Workspace

CSV = "question,answer,note\na,b,c\nd,e,f\n"
SWAPPED = Mapping("instruction", {"instruction": "answer", "output": "question"})


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace").create()


@pytest.fixture
def upload(tmp_path):
    path = tmp_path / "blob"
    path.write_text(CSV)
    return path


def test_an_upload_can_be_listed_opened_and_removed(workspace, upload):
    name = library.add(workspace, upload, "My Data!.csv")
    assert library.names(workspace)[0] == library.Choice(name, "My Data!", "yours")
    opened = library.open_source(name, workspace)
    assert opened.title == "My Data!"
    assert opened.train.name == "My Data!.csv"
    assert opened.train.rows[0]["answer"] == "b"
    assert opened.mapping == Mapping("instruction", {"instruction": "question", "output": "answer"})
    assert opened.path is None
    library.remove(workspace, name)
    assert [choice.kind for choice in library.names(workspace)] == ["sample"] * len(library.samples())
    assert list(workspace.datasets.iterdir()) == []
    with pytest.raises(DatasetError, match="There is no data set"):
        library.open_source(name, workspace)


def test_the_same_file_or_sample_twice_is_two_data_sets(workspace, upload):
    """Thirty people begin with one sample: nobody's edits may show in another's."""
    first = library.add(workspace, upload, "one.csv")
    second = library.add(workspace, upload, "one.csv")
    assert second != first
    copies = {library.copy(workspace, "reviews", person) for person in ("Ann", "Bob")}
    assert len(copies) == 2
    for name in copies:
        library.remove(workspace, name)
    assert {choice.name for choice in library.names(workspace) if choice.kind == "yours"} == {first, second}


def test_uploads_are_listed_newest_first(workspace, upload, monkeypatch):
    names = []
    for second in (10, 30, 20):
        monkeypatch.setattr("time.time", lambda second=second: second)
        upload.write_text(f"{CSV}{second},x,y\n")
        names.append(library.add(workspace, upload, "a.csv"))
    listed = [choice.name for choice in library.names(workspace) if choice.kind == "yours"]
    assert listed == [names[1], names[2], names[0]]


@pytest.mark.parametrize(
    "original", ["../../etc/cron.csv", "..\\..\\x.csv", "/etc/passwd.csv", "a\0b\n.csv", "é" * 3000 + ".csv", "...csv"]
)
def test_hostile_names_stay_in_the_folder(workspace, upload, original):
    name = library.add(workspace, upload, original)
    assert [path.name for path in workspace.datasets.iterdir()] == [name]
    assert sorted(path.name for path in (workspace.datasets / name).iterdir()) == ["about.json", "versions"]
    (choice,) = (choice for choice in library.names(workspace) if choice.kind == "yours")
    assert choice.title.isprintable()
    assert not set("/\\") & set(choice.title)
    assert len(choice.title) <= 80
    assert library.open_source(name, workspace).train.rows


@pytest.mark.parametrize(
    ("original", "content"), [("a.csv", b""), ("a.csv", b"PK\x03\x04"), ("a.exe", b"a,b\n1,2\n"), ("", b"a,b\n1,2\n")]
)
def test_what_is_no_data_is_refused_before_anything_is_written(workspace, upload, original, content):
    upload.write_bytes(content)
    with pytest.raises(DatasetError):
        library.add(workspace, upload, original)
    assert list(workspace.datasets.iterdir()) == []


def test_a_copy_that_fails_leaves_nothing(workspace, upload, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("studio.data.collection.write_rows", full)
    with pytest.raises(DatasetError, match="No space left"):
        library.add(workspace, upload, "a.csv")
    assert list(workspace.datasets.iterdir()) == []


@pytest.mark.parametrize("name", ["../runs", "x/../../y", "", "a-00000000", ".hidden-00000000", "a\0-00000000"])
def test_names_that_are_none(workspace, name):
    for use in (library.open_source, lambda name, workspace: library.remove(workspace, name)):
        with pytest.raises(DatasetError):
            use(name, workspace)
    with pytest.raises(DatasetError):
        library.set_mapping(workspace, name, SWAPPED)


def test_an_upload_cannot_be_reached_by_a_detour(workspace, upload):
    name = library.add(workspace, upload, "a.csv")
    for detour in (f"../datasets/{name}", f"./{name}", f"{name}/", str(workspace.datasets / name)):
        with pytest.raises(DatasetError):
            library.remove(workspace, detour)
    assert library.open_source(name, workspace).train.rows


def test_a_damaged_upload_is_passed_over(workspace, upload):
    name = library.add(workspace, upload, "a.csv")
    (workspace.datasets / name / "about.json").write_text("{")
    assert all(choice.kind == "sample" for choice in library.names(workspace))


def test_the_given_mapping_counts_before_the_stored_before_the_detected(workspace, upload):
    name = library.add(workspace, upload, "a.csv")
    library.set_mapping(workspace, name, SWAPPED)
    assert library.open_source(name, workspace).mapping == SWAPPED
    given = Mapping("text", {"text": "note"})
    assert library.open_source(name, workspace, given).mapping == given
    with pytest.raises(DatasetError, match="no column 'nowhere'"):
        library.open_source(name, workspace, Mapping("text", {"text": "nowhere"}))
    with pytest.raises(DatasetError, match="no column 'nowhere'"):
        library.set_mapping(workspace, name, Mapping("text", {"text": "nowhere"}))
    assert library.open_source(name, workspace).mapping == SWAPPED


def test_a_file_by_its_path_is_read_again_when_it_changed(workspace, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    opened = library.open_source(str(path), workspace)
    assert opened.path == path
    assert library.open_source(str(path), workspace).train == opened.train
    assert len(list(workspace.cache.glob("*.parquet"))) == 1
    path.write_text('{"prompt": "a", "completion": "changed"}\n')
    assert library.open_source(str(path), workspace).train.rows[0]["completion"] == "changed"


def test_the_samples(workspace):
    sample = library.samples()["customer_messages"]
    assert sample.licence == "CC0-1.0"
    opened = library.open_source("customer_messages", workspace)
    assert opened.validation is not None
    assert (opened.train.total, opened.validation.total) == (600, 100)
    sides = library.divided(opened, (0.5, 0.0), seed=0)
    assert (sides.train, sides.validation, sides.test) == (opened.train.load(), opened.validation.load(), None)
    sides = library.divided(opened, (0.5, 0.1), seed=0)
    assert sides.test is not None
    assert (len(sides.train.rows), len(sides.test.rows)) == (540, 60)
    with pytest.raises(DatasetError, match="sample cannot be changed"):
        library.remove(workspace, "customer_messages")
    with pytest.raises(DatasetError, match="sample cannot be changed"):
        library.set_mapping(workspace, "customer_messages", SWAPPED)


def test_held_out_rows_are_split_off(workspace, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"prompt": str(number), "completion": "x"} for number in range(10)]))
    opened = library.open_source(str(path), workspace)
    sides = library.divided(opened, (0.2, 0.1), seed=3)
    assert sides.validation is not None
    assert sides.test is not None
    assert (len(sides.train.rows), len(sides.validation.rows), len(sides.test.rows)) == (7, 2, 1)
    assert sides.train.fingerprint != opened.train.load().fingerprint
    assert library.divided(opened, (0, 0), seed=3).validation is None


def test_the_page_can_use_it_without_torch():
    code = (
        "import sys, studio.data.library, studio.data.tokens, studio.evaluation.metrics;"
        "assert not {'torch', 'transformers', 'pyarrow', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_dataset_info_beside_a_file_says_how_it_is_read(workspace, tmp_path):
    path, info = tmp_path / "faq.json", tmp_path / "dataset_info.json"
    path.write_text(json.dumps([{"frage": "was?", "antwort": "das"}]))
    with pytest.raises(DatasetError, match="no columns that are known"):
        library.open_source(str(path), workspace)
    info.write_text(
        json.dumps({"faq": {"file_name": path.name, "columns": {"prompt": "frage", "response": "antwort"}}})
    )
    opened = library.open_source(str(path), workspace)
    assert opened.mapping == Mapping("instruction", {"instruction": "frage", "output": "antwort"})
    info.write_text(
        json.dumps({"faq": {"file_name": path.name, "columns": {"prompt": "nowhere", "response": "antwort"}}})
    )
    assert "dataset_info.json beside it was not used" in library.look(str(path), workspace).train.notes[-1]
