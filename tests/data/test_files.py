import gzip
import json

import pytest

from studio.data.files import open_rows, read
from studio.errors import DatasetError

ROWS = [{"question": "What, then?", "answer": 'A "yes"\nand more'}, {"question": "Größe?", "answer": "42 €"}]
CSV = 'question,answer\n"What, then?","A ""yes""\nand more"\nGröße?,42 €\n'
PARTS = [json.dumps(row, ensure_ascii=False) for row in ROWS]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.csv", CSV.replace("\n", "\r\n").replace('yes""\r\n', 'yes""\n')),
        ("a.CSV", CSV.replace("question,answer", "question;answer").replace('?",', '?";').replace("?,42", "?;42")),
        ("a.csv", "sep=;\n" + CSV.replace("question,", "question;").replace('?",', '?";').replace("?,42", "?;42")),
        ("a.csv", CSV.replace("question,", "question|").replace('?",', '?"|').replace("?,42", "?|42")),
        ("a.tsv", CSV.replace("question,", "question\t").replace('?",', '?"\t').replace("?,42", "?\t42")),
        ("a.csv", CSV.encode("utf-8-sig")),
        ("a.csv", CSV.encode("utf-16")),
        ("a.csv", CSV.encode("utf-16-le")),
        ("a.csv", CSV.encode("utf-16-be")),
        ("a.csv", CSV.encode("utf-32")),
        ("a.json", "[" + ",".join(PARTS) + "]"),
        ("a.json", json.dumps(ROWS, indent=2).encode("utf-16")),
        ("a.json", json.dumps({"version": 1, "data": ROWS}, indent=2)),
        ("a.jsonl", "\n".join(PARTS)),
        ("a.ndjson", "\r\n".join(PARTS) + "\r\n\r\n"),
        ("a.json", "\n".join(PARTS)),  # JSON Lines in a .json
        ("a.jsonl", json.dumps(ROWS, indent=1)),  # a list in a .jsonl
        ("a.csv", "\n".join(PARTS)),  # JSON Lines in a .csv
    ],
)
def test_the_same_rows_come_out_of_every_format(write, name, content):
    dataset = read(write(name, content))
    assert dataset.rows == ROWS
    assert dataset.columns == ("question", "answer")
    assert dataset.set_aside == []
    assert dataset.notes == ()
    assert dataset.name == name


def test_parquet_with_nested_columns(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"messages": [{"role": "user", "content": "hi"}], "n": 1}, {"messages": [], "n": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").rows == rows
    (tmp_path / "a.parquet").rename(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").rows == rows


def test_parquet_that_swells_beyond_measure_is_refused(tmp_path, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"a": [0] * 1_000_000})  # 8 MB in 5 kB
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="zstd")
    assert next(iter(open_rows(tmp_path / "a.parquet"))) == {"a": 0}
    monkeypatch.setattr("studio.data.files._BOMB_SIZE", 1_000_000)
    with pytest.raises(DatasetError, match=r"a\.parquet unpacks to 8 MB or more, which is beyond what is read"):
        read(tmp_path / "a.parquet")


def test_columns_of_parquet_that_share_a_name(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    dataset = read(tmp_path / "a.parquet")
    assert dataset.rows == [{"a": 1, "a 2": 2}]
    assert dataset.notes == ("Columns without a name of their own were given one.",)


def test_paragraphs_of_a_text_file(write):
    dataset = read(write("a.txt", "One\r\nstill one\r\n \t\r\n\r\nTwo\r\n"))
    assert dataset.rows == [{"text": "One\nstill one"}, {"text": "Two"}]


def test_windows_1252_is_read_with_a_note(write):
    dataset = read(write("a.csv", "a,b\ncafé,42 €\n".encode("cp1252")))
    assert dataset.rows == [{"a": "café", "b": "42 €"}]
    assert "Windows-1252" in dataset.notes[0]


def test_one_column_keeps_its_commas(write):
    assert read(write("a.csv", 'text\nHello, you; there\n"quoted, too"\n')).rows == [
        {"text": "Hello, you; there"},
        {"text": "quoted, too"},
    ]


def test_a_cell_longer_than_the_csv_modules_limit(write):
    assert len(read(write("a.csv", f"a,b\n{'x' * 300_000},y\n")).rows[0]["a"]) == 300_000


def test_columns_without_a_name_of_their_own_get_one(write):
    assert read(write("a.csv", ",text,text\n0,a,b\n")).rows == [{"column 1": "0", "text": "a", "text 2": "b"}]


def test_records_that_do_not_fit_the_header(write):
    dataset = read(write("a.csv", 'a,b\n1,"x\ny"\n\n1,2,3\n4\n5,6,\n'))
    assert dataset.rows == [{"a": "1", "b": "x\ny"}, {"a": "4", "b": ""}, {"a": "5", "b": "6"}]
    assert [(one.line, one.reason) for one in dataset.set_aside] == [(5, "3 fields where the header has 2")]


def test_bad_lines_are_set_aside_with_their_number(write):
    dataset = read(write("a.jsonl", '{"a": 1}\n\n{"a": \n[1]\n{}\n{"a": 2, "b": 3}\n'))
    assert dataset.rows == [{"a": 1}, {"a": 2, "b": 3}]
    assert dataset.columns == ("a", "b")
    assert [one.line for one in dataset.set_aside] == [3, 4, 5]
    assert "not JSON" in dataset.set_aside[0].reason
    assert dataset.set_aside[1].reason == "a list, not an object"


def test_a_line_separator_inside_a_text_does_not_end_the_line(write):
    assert read(write("a.jsonl", '{"a": "x\u2028y"}\n{"a": "z"}')).rows == [{"a": "x\u2028y"}, {"a": "z"}]


def test_half_characters_are_replaced_and_whole_ones_kept(write):
    (row,) = read(write("a.jsonl", '{"a": "x\\ud800y", "b": "\\ud83d\\ude00"}')).rows
    assert row == {"a": "x\ufffdy", "b": "😀"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.json", "\ufeff \n", "a.json is empty"),
        ("a.csv", "question,answer\n", "has no rows"),
        ("a.json", "[]", "has no rows"),
        ("a.csv", b"PK\x03\x04rest of a workbook", "Excel"),
        ("a.csv.gz", gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "gzip archive within"),
        ("a.json", b"%PDF-1.7 ...", "PDF"),
        ("a.csv", b"a,b\n1,\x00\x01\x02\n", "binary"),
        ("a.txt", bytes(range(128, 256)) * 20, "binary"),
        ("a.xlsx", b"PK\x03\x04", "not of a kind"),
        ("data", "a,b\n1,2\n", "not of a kind"),
        ("a.json", "<!DOCTYPE html><html></html>", "web page"),
        ("a.json", '[{"a": \n1 2},\n{"a": 2}]', "line 2, column 3"),
        ("a.json", "not json at all", "not valid JSON"),
        ("a.jsonl", '{"a": 1\n{"b": 2\n', "not valid JSON"),
        ("a.json", "[1, 2, 3]", "the first entry is a number, not an object"),
        ("a.json", "7", "a number, not an object"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("a.csv", 'a,"b\n1,2\n', "never closed, or not where it should be, in its header on line 1"),
        ("a.parquet", b"PAR1 and then nothing of the kind PAR1", "damaged Parquet"),
        ("a.parquet", "a,b\n1,2\n", "not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(write, name, content, says):
    path = write(name, content)
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert says in caught.value.problem
    assert caught.value.problem.endswith(".")
    assert name in caught.value.problem
    assert str(path.parent) not in str(caught.value)
    assert caught.value.remedy.endswith(".")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no file a\.csv"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(DatasetError, match=r"folder b\.csv holds no source code"):
        read(tmp_path / "b.csv")
    for hostile in ("a\0.csv", "a" * 5000 + ".csv"):
        with pytest.raises(DatasetError):
            read(tmp_path / hostile)


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # chmod does not stop root
    with pytest.raises(DatasetError, match=r"a\.csv cannot be read \(Permission denied\)"):
        read(path)


def test_rows_come_as_they_are_read(write):
    reading = open_rows(write("a.jsonl", "".join(f'{{"a": "{number:0100}"}}\n' for number in range(60_000))))
    rows = iter(reading)
    assert next(rows) == {"a": f"{0:0100}"}
    assert 0 < reading.share < 0.5
    assert sum(1 for _ in rows) == 59_999
    assert reading.share == 1


@pytest.mark.parametrize("longest", [40, 41, 47, 64])
def test_chunks_may_end_anywhere(write, monkeypatch, longest):
    """Whatever is cut in two by the end of a chunk is read as if it were not."""
    monkeypatch.setattr("studio.data.text.CHUNK", longest)
    wanted = [{"a": "Größe 😀", "b": 'x\r\ny "z"'}, {"a": "12", "b": "\u2028"}] * 3
    table = "a,b\r\n" + 'Größe 😀,"x\r\ny ""z"""\r\n12,\u2028\r\n' * 3
    for name, content in (
        ("a.csv", table),
        ("b.csv", table.encode("utf-16")),
        ("a.csv.gz", gzip.compress(table.encode(), mtime=0)),
        ("a.json", json.dumps(wanted)),
        ("b.json", json.dumps({"rows": wanted}, indent=1, ensure_ascii=False)),
        ("a.jsonl", "\r\n".join(map(json.dumps, wanted))),
    ):
        assert list(open_rows(write(name, content))) == wanted, name
    numbers = {"data": [{"n": 123456}, {"n": -1.5e3}, 987654]}
    reading = open_rows(write("c.json", json.dumps(numbers)))
    assert list(reading) == numbers["data"][:2]
    assert [(one.line, one.raw) for one in reading.set_aside] == [(3, "987654")]
