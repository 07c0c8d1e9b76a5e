import csv
import datetime
import json
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest

from studio.data import changes
from studio.data.changes import cell_text
from studio.data.edited import sendable
from studio.data.export import export, neutral
from studio.data.files import read
from studio.data.parquet import Row, rows_of, write_rows
from studio.data.table import Table
from studio.errors import DatasetError

TEXTS = [
    "plain",
    "",
    None,
    'quo"te, comma',
    "line\nline\r\nline",
    "नमस्ते 🙂",
    "'; DROP TABLE patch; --",
    " space ",
    "\\",
]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture
def table(tmp_path) -> Table:
    rows: list[Row] = [{"text": text, "turns": [{"role": text}, i], "n": i, "x": i / 3} for i, text in enumerate(TEXTS)]
    write_rows(rows, tmp_path / "rows")
    table = Table(tmp_path / "rows")
    table.apply(changes.edit(table, 0, "text", "edited").table)
    table.apply(changes.delete(table, [1]).table)
    table.apply(changes.add(table, [{"text": "added", "turns": None, "n": -5}], "Added", behind=4).table)
    return table


def now(table: Table) -> list[Row]:
    return [row for _, row in table.rows()]


def test_json_lines_hold_the_rows_as_they_are_now(table, tmp_path):
    assert export(table, tmp_path / "out.jsonl") == 0
    assert read(tmp_path / "out.jsonl").rows == now(table)
    assert [row["text"] for row in now(table)][:5] == ["edited", None, TEXTS[3], TEXTS[4], "added"]


def test_parquet_holds_the_rows_as_they_are_now(table, tmp_path):
    assert export(table, tmp_path / "out.parquet") == 0
    assert list(rows_of(tmp_path / "out.parquet")) == now(table)
    assert now(Table(tmp_path / "out.parquet")) == now(table)


def test_csv_holds_the_rows_as_text(table, tmp_path):
    assert export(table, tmp_path / "out.csv") == 0
    found = read(tmp_path / "out.csv").rows
    assert found == [{name: cell_text(cell) for name, cell in row.items()} for row in now(table)]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_spreadsheet_runs_a_cell(tmp_path, formula):
    write_rows([{"a": formula, "=b": -1}, {"a": f"x{formula}", "=b": 2}], tmp_path / "rows")
    assert export(Table(tmp_path / "rows"), tmp_path / "out.csv") == 1
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["a", "'=b"], [f"'{formula}", "-1"], [f"x{formula}", "2"]]
    assert neutral("a=b") == "a=b"


def test_spreadsheets_are_told_the_encoding(table, tmp_path):
    export(table, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_how_far_it_is_is_told(tmp_path, ending):
    write_rows(({"a": i} for i in range(12_000)), tmp_path / "rows")
    shares: list[float] = []
    export(Table(tmp_path / "rows"), tmp_path / f"out{ending}", shares.append)
    assert shares == sorted(shares)
    assert shares
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert [row["a"] for row in read(tmp_path / f"out{ending}").rows] == [
        f"{i}" if ending == ".csv" else i for i in range(12_000)
    ]


def test_every_line_is_json_of_its_own(table, tmp_path):
    export(table, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == now(table)
    assert lines[-1] == ""


def test_other_endings_are_refused(table, tmp_path):
    with pytest.raises(DatasetError, match=r"'\.exe' is no format"):
        export(table, tmp_path / "out.exe")
    assert not (tmp_path / "out.exe").exists()


def test_types_that_json_has_not_are_written_as_text(tmp_path):
    """At any depth, a map's keys included."""
    day = datetime.date(2024, 2, 29)
    columns = {
        "map": pyarrow.array([[(day, b"\xffx")]], pyarrow.map_(pyarrow.date32(), pyarrow.binary())),
        "nested": [[{"day": day, "raw": [b"=ab"], "price": Decimal("1.50")}]],
        "raw": [b"=1+1"],
        "price": [Decimal("-1.50")],
        "day": [day],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "rows")
    table = Table(tmp_path / "rows")
    expected = {
        "map": {"2024-02-29": "\ufffdx"},
        "nested": [{"day": "2024-02-29", "raw": ["=ab"], "price": "1.50"}],
        "raw": "=1+1",
        "price": "-1.50",
        "day": "2024-02-29",
    }
    ((_, row),) = table.rows()
    assert json.loads(json.dumps(sendable(row))) == expected
    assert json.loads(cell_text(row["nested"])) == expected["nested"]
    export(table, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == expected
    assert export(table, tmp_path / "out.csv") == 1
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert json.loads(cells.pop("map")) == expected["map"]
    assert json.loads(cells.pop("nested")) == expected["nested"]
    assert cells == {"raw": "'=1+1", "price": "-1.50", "day": "2024-02-29"}
    assert json.loads(str(table.sql("SELECT map FROM data").rows[0][0])) == expected["map"]


def test_a_map_can_be_edited(tmp_path):
    type_ = pyarrow.map_(pyarrow.date32(), pyarrow.int64())
    cells = pyarrow.array([[(datetime.date(2024, 2, 29), 1)], None], type_)
    pyarrow.parquet.write_table(pyarrow.table({"map": cells}), tmp_path / "rows")
    table = Table(tmp_path / "rows")
    table.apply(changes.edit(table, 0, "map", '{"2024-03-01": 2}', seen='{"2024-02-29": 1}').table)
    assert table.fetch([0]) == [(0, {"map": {datetime.date(2024, 3, 1): 2}})]
