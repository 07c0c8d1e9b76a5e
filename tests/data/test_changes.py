"""Every change, taken back, gives the rows before."""

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from studio.data import changes
from studio.data.changes import Change, cell_text, cells, folded, inverse
from studio.data.parquet import Row, write_rows
from studio.data.table import Table
from studio.errors import DatasetError

NASTY = [
    "",
    "'; DROP TABLE patch; --",
    "a\0b",
    "back\\slash \\1",
    "line\nline",
    "नमस्ते 🙂",
    'quo"te',
    "NULL",
    "null",
    "[1]",
]


def rows_of(table: Table) -> list[tuple[int, Row]]:
    return list(table.rows())


def laid(table: Table, change: Change) -> Change:
    """Lay a change over the rows, having seen that it can be taken back and done again."""
    before = rows_of(table)
    table.apply(change.table)
    after = rows_of(table)
    assert after != before
    table.apply(inverse(change.table))
    assert rows_of(table) == before
    table.apply(change.table)
    assert rows_of(table) == after
    return change


@pytest.fixture
def table(tmp_path) -> Table:
    rows: list[Row] = [
        {"text": text, "whole": i, "number": i / 2, "truth": i % 2 == 0, "json": [{"a": text}, i] if i % 3 else f"{i}"}
        for i, text in enumerate(NASTY)
    ]
    write_rows(rows, tmp_path / "rows.parquet")
    return Table(tmp_path / "rows.parquet")


@pytest.fixture
def native(tmp_path) -> Table:
    """Types that Parquet has and JSON has not."""
    turns = [[{"role": "user", "content": text, "at": None}] for text in NASTY]
    columns = {
        "turns": pyarrow.array([*turns[:-2], [], None]),
        "when": pyarrow.array([datetime.datetime(2024, 1, 2, 3, 4, 5, i) for i in range(10)], pyarrow.timestamp("us")),
        "zoned": pyarrow.array([1_700_000_000_000_000 + i for i in range(10)], pyarrow.timestamp("us", "UTC")),
        "fine": pyarrow.array([1_700_000_000_123_456_789 + i for i in range(10)], pyarrow.timestamp("ns")),
        "price": pyarrow.array([Decimal(f"1234567890123456789{i}.123456789") for i in range(10)]),
        "prices": pyarrow.array([[Decimal("12345678901234567890.123456789")], None] * 5),
        "bytes": pyarrow.array([b"\x00\xff\\x00'", None] * 5),
        "image": pyarrow.array([{"bytes": b"\x00\xff", "path": text} for text in NASTY]),
        "nothing": pyarrow.array([[], None] * 5, pyarrow.list_(pyarrow.null())),
        "large": pyarrow.array([2**64 - 1 - i for i in range(10)], pyarrow.uint64()),
        "small": pyarrow.array([i / 10 for i in range(10)], pyarrow.float32()),
        "odd": pyarrow.array([float("inf"), None] * 5),
        "day": pyarrow.array([datetime.date(2024, 2, 29)] * 10),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "native.parquet")
    return Table(tmp_path / "native.parquet")


@pytest.mark.parametrize("text", NASTY)
def test_a_text_can_be_any(table, text):
    row = 1 if text != NASTY[1] else 0
    change = laid(table, changes.edit(table, row, "text", text, seen=NASTY[row]))
    assert table.fetch([row])[0][1]["text"] == text
    assert cells(change, table.columns, 5) == [(row, "text", NASTY[row], text)]
    assert change.what == f"Edited 'text' of row {row + 1}"


def test_half_a_character_becomes_the_sign_for_it(table):
    laid(table, changes.edit(table, 1, "text", "x\ud800"))
    laid(table, changes.edit(table, 1, "json", '["\\ud800"]'))
    assert table.fetch([1])[0][1]["text"] == "x\ufffd"
    assert table.fetch([1])[0][1]["json"] == ["\ufffd"]


@pytest.mark.parametrize(
    ("column", "text", "cell"),
    [
        ("whole", "-12", -12),
        ("whole", " ", None),
        ("number", "3", 3.0),
        ("number", "1e400", float("inf")),
        ("truth", "false", False),
        ("json", '{"b": [1, 2.0, true, null]}', {"b": [1, 2.0, True, None]}),
        ("json", "[]", []),
        ("json", "123456789012345678901234567890", 123456789012345678901234567890),
        ("json", "", None),
    ],
)
def test_a_cell_is_read_by_its_columns_kind(table, column, text, cell):
    laid(table, changes.edit(table, 4, column, text))
    assert json.dumps(table.fetch([4])[0][1][column]) == json.dumps(cell)


def test_equal_to_python_is_not_the_same(table):
    laid(table, changes.edit(table, 1, "json", "[1]"))
    for text in ("[true]", "[1.0]"):
        table.apply(changes.edit(table, 1, "json", text).table)
        assert cell_text(table.fetch([1])[0][1]["json"]) == text
    with pytest.raises(DatasetError, match="Nothing would change"):
        changes.edit(table, 1, "json", " [1.0]")
    table.apply(changes.rewrite(table, [1], lambda _, row: {**row, "json": [True]}, "To truth").table)
    assert cell_text(table.fetch([1])[0][1]["json"]) == "[true]"


def test_a_text_among_other_kinds_stays_a_text(table):
    laid(table, changes.edit(table, 0, "json", "[1"))
    assert table.fetch([0])[0][1]["json"] == "[1"


@pytest.mark.parametrize(
    ("column", "text", "cell"),
    [
        (
            "turns",
            '[{"role": "assistant", "content": "it\'s", "at": null}]',
            [{"role": "assistant", "content": "it's", "at": None}],
        ),
        ("when", "2025-12-31 23:59:59.5", datetime.datetime(2025, 12, 31, 23, 59, 59, 500_000)),
        ("price", "99999999999999999999.000000001", Decimal("99999999999999999999.000000001")),
        ("large", "18446744073709551615", 2**64 - 1),
        ("day", "", None),
    ],
)
def test_cells_of_parquets_own_types_can_be_edited(native, column, text, cell):
    laid(native, changes.edit(native, 5, column, text))
    assert native.fetch([5])[0][1][column] == cell


def refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        make()
    assert caught.value.remedy


def test_what_cannot_be_edited(table, native):
    revisions = native.revision, table.revision
    refused(lambda: changes.edit(table, 0, "text", "new", seen="stale"), "changed by someone else")
    refused(lambda: changes.edit(table, 1, "text", NASTY[1]), "Nothing would change")
    refused(lambda: changes.edit(table, 0, "nowhere", "x"), "no column 'nowhere'")
    refused(lambda: changes.edit(table, 99, "text", "x"), "not there any more")
    refused(lambda: changes.edit(table, 0, "whole", "1.5"), "holds whole numbers, and '1.5' is none")
    refused(lambda: changes.edit(table, 0, "whole", "true"), "holds whole numbers, and 'true' is none")
    refused(lambda: changes.edit(table, 0, "number", "1,5"), "holds numbers")
    refused(lambda: changes.edit(table, 0, "truth", "1"), "holds true or false")
    refused(lambda: changes.edit(table, 1, "json", '[{"a": 1]'), "is not JSON")
    refused(lambda: changes.edit(native, 0, "turns", "[{"), "is not JSON")
    for column, text in (("when", "yesterday"), ("price", "much"), ("turns", '{"role": 1}'), ("large", "-1")):
        refused(lambda column=column, text=text: native.apply(changes.edit(native, 0, column, text).table), "hold")
    assert (native.revision, table.revision) == revisions


def test_a_row_can_be_twice(table, native):
    for each in (table, native):
        before = rows_of(each)
        laid(each, changes.duplicate(each, 2))
        laid(each, changes.duplicate(each, 9))
        laid(each, changes.duplicate(each, 10))
        assert [row for row, _ in rows_of(each)] == [0, 1, 2, 10, 12, 3, 4, 5, 6, 7, 8, 9, 11]
        assert [dict(rows_of(each))[row] for row in (10, 12, 11)] == [before[2][1], before[2][1], before[9][1]]
        refused(lambda each=each: changes.duplicate(each, 77), "not there any more")


def test_rows_come_at_the_end_or_in_between(table):
    laid(table, changes.add(table, [{"text": "last", "json": None}, {}], "Added 2 rows"))
    laid(table, changes.add(table, [{"text": "a"}, {"text": "b"}], "Added 2 rows", behind=0))
    assert [row for row, _ in rows_of(table)][:4] == [0, 12, 13, 1]
    assert [row for row, _ in rows_of(table)][-2:] == [10, 11]
    assert table.fetch([11]) == [(11, dict.fromkeys(table.columns))]
    refused(lambda: changes.add(table, [{"text": "a", "strange": 1}], "Added"), "no column 'strange'")
    refused(lambda: changes.add(table, [{"whole": "3"}], "Added"), "holds whole numbers")
    refused(lambda: changes.add(table, [{"text": 3}], "Added"), "holds text")
    refused(lambda: changes.add(table, [], "Added"), "Nothing would change")


def test_rows_go(table, native):
    for each in (table, native):
        assert laid(each, changes.delete(each, [3])).what == "Deleted row 4"
        assert laid(each, changes.delete(each, [3, 0, 9, 99])).what == "Deleted 2 rows"
        refused(lambda each=each: changes.delete(each, [3]), "Nothing would change")
        assert [row for row, _ in rows_of(each)] == [1, 2, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("find", [text for text in NASTY if text])
def test_a_text_is_replaced_wherever_it_stands(table, find):
    everywhere = range(10)
    change = laid(table, changes.replace(table, everywhere, ["text", "whole"], find, "'new' \\0 \0", pattern=False))
    found = [row["text"] for _, row in rows_of(table)]
    assert found == [text.replace(find, "'new' \\0 \0") for text in NASTY]
    assert change.rows == sum(find in text for text in NASTY)


def test_a_pattern_is_replaced_with_its_groups(table):
    laid(table, changes.replace(table, [1, 8], ["text"], r"(\w)(\w+)", r"\2-\1", pattern=True))
    assert [row["text"] for _, row in table.fetch([1, 8])] == ["'; ROP-D ABLE-T atch-p; --", "ull-n"]


def test_only_touched_cells_stand_in_the_record(tmp_path):
    write_rows([{"a": "x", "b": "y"}, {"a": "y", "b": "y"}, {"a": None, "b": "x"}], tmp_path / "a")
    table = Table(tmp_path / "a")
    change = laid(table, changes.replace(table, [0, 1, 2], ["a", "b"], "x", "z", pattern=False))
    assert cells(change, table.columns, 10) == [(0, "a", "x", "z"), (2, "b", "x", "z")]
    assert len(cells(change, table.columns, 1)) == 1


def test_what_cannot_be_replaced(table):
    refused(lambda: changes.replace(table, [0], ["text"], "", "x", pattern=False), "nothing to look for")
    refused(lambda: changes.replace(table, [0], ["whole"], "1", "2", pattern=False), "None of the columns holds text")
    refused(lambda: changes.replace(table, [0], ["text"], "absent", "x", pattern=False), "Nothing would change")
    refused(lambda: changes.replace(table, [0], ["text"], "(", "x", pattern=True), "missing")
    refused(lambda: changes.replace(table, [0], ["nowhere"], "a", "x", pattern=False), "no column 'nowhere'")


def test_rows_are_rewritten(table):
    def shorter(row: int, old: Row) -> Row | None:
        return None if row == 2 else {**old, "text": f"{row}", "number": 7} if row < 5 else dict(old)

    change = laid(table, changes.rewrite(table, range(10), shorter, "Shortened"))
    assert change.rows == 5
    assert [row for row, _ in rows_of(table)] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert table.fetch([4])[0][1] | {"json": 0} == {"text": "4", "whole": 4, "number": 7.0, "truth": True, "json": 0}
    refused(lambda: changes.rewrite(table, range(10), lambda _, old: old, "Same"), "Nothing would change")
    refused(lambda: changes.rewrite(table, [0], lambda _, old: {**old, "whole": "x"}, "Wrong"), "holds whole numbers")


def test_what_python_knows_less_exactly_comes_back_exactly(native):
    """Nanoseconds, bytes: of a row that a fix takes out, or a cell written over."""
    exactly = "SELECT * FROM rows ORDER BY r"
    before = native.select(exactly)
    for make in (
        lambda: changes.rewrite(native, [0, 1, 2], lambda *_: None, "Left out"),
        lambda: changes.edit(native, 3, "fine", "2024-01-01 00:00:00.000000001"),
        lambda: changes.edit(native, 4, "bytes", "new"),
    ):
        change = make()
        native.apply(change.table)
        assert native.select(exactly) != before
        native.apply(inverse(change.table))
        assert native.select(exactly) == before


def test_cells_are_shown_as_text():
    assert [cell_text(cell) for cell in (None, "", "a", 1, True, [1, "é"])] == ["", "", "a", "1", "true", '[1, "é"]']


def test_numbers_of_rows_are_not_given_twice(table):
    """A row that came and went keeps its number, also when all changes are laid at once after a restart."""
    log = [laid(table, changes.duplicate(table, 1)).table]
    log.append(laid(table, changes.delete(table, [10])).table)
    reopened = Table(table.path)
    reopened.apply(folded(log))
    for each in (table, reopened):
        assert changes.duplicate(each, 4).table.column("row").to_pylist() == [11]
    reopened.apply(changes.duplicate(reopened, 4).table)
    reopened.apply(inverse(log[1]))
    assert [row for row, _ in rows_of(reopened)][:7] == [0, 1, 10, 2, 3, 4, 11]
