import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from studio.data.parquet import MOST_COLUMNS, Row, adopt, kind_of, rows_of, schema_of, write_rows
from studio.errors import DatasetError

TURNS = [{"role": "user", "content": "नमस्ते 👋"}, {"role": "assistant", "content": ""}]


def through(rows: list[Row], folder: Path) -> list[Row]:
    """What comes back; a missing cell and None are the same thing."""
    assert write_rows(iter(rows), folder / "rows") == len(rows)
    return list(rows_of(folder / "rows"))


def filled(rows: list[Row]) -> list[Row]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def exact(rows: list[Row]) -> str:
    """To compare with what Python thinks equal kept apart: 1, 1.0 and True; NaN equals itself."""
    return json.dumps(rows, ensure_ascii=False)


def kinds(path: Path) -> dict[str, str]:
    return {field.name: kind_of(field) for field in schema_of(path)}


@pytest.mark.parametrize(
    "cells",
    [
        ["", " ", "a\0b", "line\nline\r\n", "'; DROP TABLE patch; --", '"', "\\", "日本語 עברית 🧑🏽‍🚀"],
        [0, -(2**63), 2**63 - 1],
        [0, 2**63],
        [10**40, -(10**40)],
        [0.1, -0.0, 1e308, math.inf, -math.inf, math.nan],
        [True, False],
        [True, 1, 1.0],
        [1, 2.5],
        ["1", 1, None],
        [None, None],
        [[], [[]], [1, [2, {"a": None}]]],
        [{}, {"b": 1, "a": [TURNS]}, {"": {"": ""}}],
        [TURNS, "text", None, 3, {"x": math.nan}],
    ],
)
def test_cells_come_back_as_they_were(cells, tmp_path):
    rows: list[Row] = [{"x": cell} for cell in cells]
    assert exact(through(rows, tmp_path)) == exact(rows)
    assert exact(through(rows[::-1], tmp_path)) == exact(rows[::-1])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a"], "text"),
        ([1], "whole"),
        ([1.5, None], "number"),
        ([True], "truth"),
        ([True, 1], "json"),
        ([2**63], "json"),
        ([None], "text"),
        ([[]], "json"),
    ],
)
def test_a_column_has_the_kind_its_cells_agree_on(cells, kind, tmp_path):
    through([{"x": cell} for cell in cells], tmp_path)
    assert kinds(tmp_path / "rows") == {"x": kind}


@pytest.mark.parametrize("change", ["late", "text", 2**63, 1.5, True, [1], None])
def test_later_rows_may_be_of_another_kind(change, tmp_path):
    rows: list[Row] = [{"n": i, "same": f"r{i}"} for i in range(2_500)]
    rows[1_700]["n"] = change
    rows[2_499][f"late {change}"] = change
    assert exact(through(rows, tmp_path)) == exact(filled(rows))


def test_a_column_of_nothing_may_hold_anything_later(tmp_path):
    rows: list[Row] = [{"x": None, "y": None} for _ in range(1_500)]
    rows += [{"x": 7, "y": [1]}] * 600 + [{"x": "seven", "y": None}]
    assert exact(through(rows, tmp_path)) == exact(rows)


def test_missing_cells_are_empty_ones(tmp_path):
    rows: list[Row] = [{"a": 1}, {}, {"b": "x"}, {"a": None}]
    assert through(rows, tmp_path) == filled(rows)


def test_any_text_can_be_a_column_name(tmp_path):
    names = [
        "",
        " ",
        "a.b",
        'quo"te',
        "it's",
        "row",
        "r",
        "c0",
        "Text",
        "text",
        "日本",
        "$.c0",
        "a\nb",
        "file_row_number",
    ]
    rows: list[Row] = [{name: f"{name}!" for name in names}]
    assert through(rows, tmp_path) == rows
    assert list(through(rows, tmp_path)[0]) == names


def test_many_columns(tmp_path):
    rows: list[Row] = [{f"column {i}": [i, str(i), i / 2, i % 2 == 0][i % 4] for i in range(300)}] * 3
    assert exact(through(rows, tmp_path)) == exact(rows)


def test_what_is_no_character_becomes_the_sign_for_it(tmp_path):
    found = through([{"a": "x\ud800", "b": ["\udc00"]}, {"a": "🙂", "b": None}], tmp_path)
    assert found == [{"a": "x\ufffd", "b": ["\ufffd"]}, {"a": "🙂", "b": None}]


def test_equal_rows_make_equal_files(tmp_path):
    rows: list[Row] = [{"a": f"text {i}", "b": [i] if i > 1_200 else i} for i in range(2_345)]
    for name in ("one", "two"):
        write_rows((dict(row) for row in rows), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    rows[2_000]["a"] += "."
    write_rows(rows, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("batch", [1, 7, 999, 1_000, 60_000])
def test_a_files_bytes_do_not_depend_on_the_batches_it_is_written_in(batch, tmp_path):
    """Saving puts a table together from pieces of any size, and must give the rows the name they had."""
    from studio.data.parquet import Writer

    rows: list[Row] = [{"a": f"text {i}", "b": i} for i in range(2_345)]
    write_rows(rows, tmp_path / "whole")
    table = pyarrow.parquet.read_table(tmp_path / "whole")
    with Writer(tmp_path / "pieces", table.schema) as writer:
        for at in range(0, len(table), batch):
            writer.write(table.slice(at, batch))
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_page_needs_few_rows_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("studio.data.parquet._GROUP_BYTES", 1_000_000)
    write_rows(({"a": i} for i in range(25_000)), tmp_path / "short")
    write_rows(({"a": f"{i:04}" * 200} for i in range(4_000)), tmp_path / "long")
    for name, rows, most in (("short", 25_000, 10_000), ("long", 4_000, 2_000)):
        about = pyarrow.parquet.read_metadata(tmp_path / name)
        groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        assert sum(groups) == rows
        assert max(groups) <= most


def test_only_the_file_itself_is_left(tmp_path):
    rows: list[Any] = [{"a": i if i < 1_500 else "x"} for i in range(3_000)]

    def broken():
        yield from rows
        raise RuntimeError("the source broke off")

    write_rows(rows, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="broke off"):
        write_rows(broken(), tmp_path / "broken")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_no_rows_are_a_file_of_none(tmp_path):
    assert through([], tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_a_million_rows_need_little_memory(tmp_path):
    code = (
        "import sys; from pathlib import Path; from studio.data.parquet import write_rows\n"
        "rows = ({'prompt': f'say {i}', 'n': i, 'score': i / 7} for i in range(1_000_000))\n"
        "print(write_rows(rows, Path(sys.argv[1])))\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])"  # kB at the most; unlike ru_maxrss without the parent's
    )
    path = tmp_path / "rows"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=120)
    count, kilobytes = map(int, done.stdout.split())
    assert count == pyarrow.parquet.read_metadata(path).num_rows == 1_000_000
    assert kilobytes < 400_000


def test_a_foreign_file_becomes_one_of_ours(tmp_path):
    table = pyarrow.table(
        [
            pyarrow.array(["a", "b", "a"]).dictionary_encode(),
            pyarrow.array(["x", None, "z"], pyarrow.large_string()),
            pyarrow.nulls(3),
            pyarrow.array([b"abc", None, b"def"], pyarrow.binary(3)),
            pyarrow.array([[{"role": "user", "n": 1}], [], None]),
            pyarrow.array([1, 2, 3], pyarrow.int8()),
        ],
        names=["same", "same", "", "bytes", "turns", "small"],
    ).replace_schema_metadata({"pandas": "{}"})
    pyarrow.parquet.write_table(table, tmp_path / "theirs")
    shares: list[float] = []
    adopt(tmp_path / "theirs", tmp_path / "ours", shares.append)
    assert next(rows_of(tmp_path / "ours")) == {
        "same": "a",
        "same 2": "x",
        "column 3": None,
        "bytes": b"abc",
        "turns": [{"role": "user", "n": 1}],
        "small": 1,
    }
    assert list(kinds(tmp_path / "ours").values()) == ["text", "text", "text", "other", "other", "whole"]
    assert shares == [1.0]


def test_a_big_row_group_is_cut_up(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"a": list(range(35_000))}), tmp_path / "theirs")
    assert pyarrow.parquet.read_metadata(tmp_path / "theirs").num_row_groups == 1
    shares: list[float] = []
    adopt(tmp_path / "theirs", tmp_path / "ours", shares.append)
    assert pyarrow.parquet.read_metadata(tmp_path / "ours").num_row_groups >= 4
    assert [row["a"] for row in rows_of(tmp_path / "ours")] == list(range(35_000))
    assert shares == sorted(shares)
    assert len(set(shares)) == 35


def test_our_own_file_is_adopted_byte_for_byte(tmp_path):
    write_rows(({"a": str(i), "b": [i, None]} for i in range(3_210)), tmp_path / "ours")
    adopt(tmp_path / "ours", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "ours").read_bytes()


def test_damaged_and_lying_files_are_refused(tmp_path):
    write_rows(({"a": f"{i * 7919 % 1000}"} for i in range(5_000)), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    damaged = {"short": whole[:-100], "middle": whole[:50] + b"\xff" * 5_000 + whole[5_050:], "none": b"PAR1PAR1"}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match="damaged"):
            adopt(tmp_path / name, tmp_path / "ours")
    mark = pyarrow.field("a", pyarrow.string(), metadata={b"studio": b"json"})
    pyarrow.parquet.write_table(pyarrow.table([["{no json"]], schema=pyarrow.schema([mark])), tmp_path / "marked")
    with pytest.raises(DatasetError, match="damaged"):
        adopt(tmp_path / "marked", tmp_path / "ours")


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path, monkeypatch):
    pyarrow.parquet.write_table(
        pyarrow.table({"a": ["x" * 1_000_000] * 50}), tmp_path / "bomb", compression="zstd", use_dictionary=False
    )
    schema_of(tmp_path / "bomb")
    monkeypatch.setattr("studio.data.files._BOMB_SIZE", 10_000)
    with pytest.raises(DatasetError, match="unpacks to"):
        schema_of(tmp_path / "bomb")


def test_rows_with_keys_of_their_own_are_refused_beyond_what_a_table_holds(tmp_path):
    with pytest.raises(DatasetError, match="more than 5,000 columns"):
        write_rows(({f"key {i}": i} for i in range(MOST_COLUMNS + 1)), tmp_path / "wide")
    wide = pyarrow.table({f"{i}": [1] for i in range(MOST_COLUMNS + 1)})
    pyarrow.parquet.write_table(wide, tmp_path / "foreign")
    with pytest.raises(DatasetError, match="more than 5,000 columns"):
        adopt(tmp_path / "foreign", tmp_path / "wide")
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_columns_of_different_parts_keep_their_cells(tmp_path):
    rows: list[Row] = [{"a": 1, "b": "x", "c": [1], "d": None} for _ in range(1_000)]
    rows += [{"a": "one", "b": "y", "c": "text", "e": 0.5} for _ in range(1_000)]
    rows += [{"a": 1, "b": "z", "c": None, "d": True, "e": None} for _ in range(1_000)]
    write_rows(rows, tmp_path / "rows")
    names = ("a", "b", "c", "d", "e")
    assert list(rows_of(tmp_path / "rows")) == [{name: row.get(name) for name in names} for row in rows]
