import numpy
import pyarrow
import pyarrow.parquet
import pytest

from studio.data import table as tables
from studio.data.changes import add, delete, duplicate, edit, inverse, replace, rewrite
from studio.data.draft import write_table
from studio.data.parquet import Row, rows_of, write_rows
from studio.data.table import Table
from studio.data.views import ALL, OPERATORS, Condition, View
from studio.errors import DatasetError

HOSTILE = ["'; DROP TABLE patch; --", "a\\b\\n", "a\0b", "line\nline", "🙂 नमस्ते", "%_*?[x](.+)$^|", 'quo"te', "$1 {c0}"]


def made(folder, rows: list[Row]) -> Table:
    write_rows(rows, folder / "rows.parquet")
    return Table(folder / "rows.parquet")


@pytest.fixture
def mixed(tmp_path) -> Table:
    rows: list[Row] = [
        {"text": "Apple", "whole": 3, "number": 0.5, "json": [1, "Äpfel"]},
        {"text": "apple pie", "whole": -1, "number": 20.0, "json": {"a": None}},
        {"text": " \n\t", "whole": None, "number": None, "json": None},
        {"text": None, "whole": 10, "number": 3.0, "json": "text"},
        {"text": "banana", "whole": 2, "number": -4.0, "json": 7},
    ]
    return made(tmp_path, rows)


def where(table: Table, column: str, operator: str, value: str = "") -> list[int]:
    return table.ids(View(conditions=(Condition(column, operator, value),))).tolist()


EXPECTED = [
    ("text", "contains", "APPLE", [0, 1]),
    ("text", "lacks", "apple", [2, 3, 4]),
    ("text", "is", "Apple", [0]),
    ("text", "is_not", "Apple", [1, 2, 3, 4]),
    ("text", "is", "", [3]),
    ("text", "empty", "", [2, 3]),
    ("text", "filled", "", [0, 1, 4]),
    ("text", "longer", "5", [1, 4]),
    ("text", "shorter", "5", [2, 3]),
    ("text", "matches", "^[a-b].*a$", [4]),
    ("text", "above", "0", []),
    ("whole", "above", "2", [0, 3]),
    ("whole", "below", "2.5", [1, 4]),
    ("whole", "is", "10", [3]),
    ("whole", "empty", "", [2]),
    ("whole", "contains", "1", [1, 3]),
    ("number", "above", "-4", [0, 1, 3]),
    ("number", "is", "20.0", [1]),
    ("json", "contains", "äpfel", [0]),
    ("json", "contains", "null", [1]),
    ("json", "above", "6", [4]),
    ("json", "empty", "", [2]),
    ("json", "longer", "9", [0, 1]),
]


@pytest.mark.parametrize(("column", "operator", "value", "rows"), EXPECTED)
def test_conditions(mixed, column, operator, value, rows):
    assert where(mixed, column, operator, value) == rows


def test_every_condition_has_an_example():
    assert {operator for _, operator, *_ in EXPECTED} == set(OPERATORS)


def test_conditions_hold_together(mixed):
    both = (Condition("text", "contains", "apple"), Condition("whole", "below", "0"))
    assert mixed.ids(View(search="PIE", conditions=both)).tolist() == [1]
    assert mixed.ids(View(search="banana", conditions=both)).tolist() == []


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "1e999", "1; DROP TABLE patch"])
def test_what_is_no_number_is_refused(mixed, value):
    for operator in ("longer", "shorter", "above", "below"):
        with pytest.raises(DatasetError, match="is not a number"):
            where(mixed, "whole", operator, value)


def test_what_cannot_be_asked_is_said(mixed):
    for view, problem in (
        (View(conditions=(Condition("nowhere", "is"),)), "no column 'nowhere'"),
        (View(sort="nowhere"), "no column 'nowhere'"),
        (View(conditions=(Condition("text", "resembles"),)), "'resembles' is no condition"),
        (View(conditions=(Condition("text", "matches", "("),)), "missing"),
    ):
        with pytest.raises(DatasetError, match=problem):
            mixed.ids(view)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_search_finds_what_stands_there_and_nothing_else(tmp_path, text):
    table = made(tmp_path, [{"a": f"before {each} after", "b": i} for i, each in enumerate(HOSTILE)])
    at = HOSTILE.index(text)
    assert table.ids(View(search=text)).tolist() == [at]
    assert where(table, "a", "contains", text) == [at]
    assert where(table, "a", "is", f"before {text} after") == [at]
    assert at not in where(table, "a", "lacks", text)
    assert len(table.ids()) == len(HOSTILE)


def test_a_search_for_half_a_character_finds_nothing(mixed):
    assert mixed.ids(View(search="\ud800")).tolist() == []


def test_a_search_looks_into_every_column(mixed):
    assert mixed.ids(View(search="ÄPFEL")).tolist() == [0]
    assert mixed.ids(View(search="20.0")).tolist() == [1]
    assert mixed.ids(View(search="10")).tolist() == [3]


@pytest.mark.parametrize(
    ("sort", "by", "descending", "rows"),
    [
        ("whole", "value", False, [1, 4, 0, 3, 2]),
        ("whole", "value", True, [3, 0, 4, 1, 2]),
        ("number", "value", False, [4, 0, 3, 1, 2]),
        ("text", "length", False, [2, 0, 4, 1, 3]),
        ("text", "length", True, [1, 4, 0, 2, 3]),
        ("", "value", True, [0, 1, 2, 3, 4]),
    ],
)
def test_sorting_puts_empty_cells_last(mixed, sort, by, descending, rows):
    assert mixed.ids(View(sort=sort, by=by, descending=descending)).tolist() == rows


def test_equal_cells_keep_their_order(tmp_path):
    table = made(tmp_path, [{"a": i % 3} for i in range(3_000)])
    assert table.ids(View(sort="a")).tolist() == sorted(range(3_000), key=lambda row: row % 3)


def test_only_named_rows_can_be_looked_at(mixed):
    assert mixed.ids(View(only=(4, 0, 99))).tolist() == [0, 4]
    assert mixed.ids(View(only=(4, 0), sort="whole")).tolist() == [4, 0]
    assert mixed.ids(View(only=())).tolist() == []


def test_rows_come_in_the_order_asked_for(mixed):
    assert [row for row, _ in mixed.fetch([4, 99, 0, -1, 2])] == [4, 0, 2]
    assert mixed.fetch([]) == []
    assert mixed.fetch(numpy.array([3]))[0][1] == {"text": None, "whole": 10, "number": 3.0, "json": "text"}
    assert [row for row, _ in mixed.rows([3, 1, 2], batch=2)] == [3, 1, 2]
    assert [row for row, _ in mixed.rows(batch=2)] == [0, 1, 2, 3, 4]


def test_cells_are_cut_for_a_page(tmp_path):
    table = made(tmp_path, [{"a": "x" * 1_000, "b": [{"k": "y" * 1_000}], "n": 12345}, {"a": None, "b": "z", "n": 1}])
    found = dict(table.fetch([0, 1], letters=5))
    assert found[0] == {"a": "xxxxxx", "b": '[{"k":'[:6], "n": 12345}
    assert found[1] == {"a": None, "b": '"z"', "n": 1}


def test_edits_are_seen_at_once(mixed):
    assert where(mixed, "text", "is", "cherry") == []
    mixed.apply(edit(mixed, 4, "text", "cherry").table)
    assert where(mixed, "text", "is", "cherry") == [4]
    mixed.apply(delete(mixed, [0]).table)
    mixed.apply(add(mixed, [{"text": "cherry"}], "Added", behind=1).table)
    assert mixed.ids().tolist() == mixed.ids(ALL).tolist() == [1, 5, 2, 3, 4]
    assert where(mixed, "text", "is", "cherry") == [5, 4]
    assert mixed.touched([0, 1, 4, 5]) == {0, 4, 5}
    assert mixed.overlay() == {0: None, 4: mixed.fetch([4])[0][1], 5: mixed.fetch([5])[0][1]}
    assert (mixed.called(4), mixed.called(5)) == ("row 5", "added row 1")


@pytest.mark.parametrize("folder", ["a=b", "my [data]", "st*r", "what?", "it's", 'quo"te', "ü ñ"])
def test_a_folder_may_be_called_anything(tmp_path, folder):
    (tmp_path / folder).mkdir()
    table = made(tmp_path / folder, [{"a": 1, "b": 2}])
    assert table.fetch([0]) == [(0, {"a": 1, "b": 2})]
    assert table.sql("SELECT b FROM data").rows == [(2,)]


@pytest.mark.parametrize(
    "name", ["", "a.b", 'quo"te', "it's", "row", "r", "c0", "place", "gone", "日本", "file_row_number"]
)
def test_a_column_may_be_called_anything(tmp_path, name):
    table = made(tmp_path, [{"first": "x", name: "y"}, {"first": "z", name: "w"}])
    assert table.fetch([1]) == [(1, {"first": "z", name: "w"})]
    assert where(table, name, "is", "y") == [0]
    table.apply(edit(table, 0, name, "w").table)
    assert [cells[2] for cells in table.sql("SELECT * FROM data ORDER BY 1").rows] == ["w", "w"]


def test_columns_that_differ_in_case_alone_are_two(tmp_path):
    table = made(tmp_path, [{"Text": "a", "text": "b", "TEXT": "c"}])
    assert where(table, "text", "is", "b") == [0]
    answer = table.sql("SELECT * FROM data")
    assert answer.columns == ("row", "Text", "text_2", "TEXT_3")
    assert answer.rows == [(1, "a", "b", "c")]


def test_sql_answers_on_the_rows_as_they_are_now(mixed):
    mixed.apply(edit(mixed, 0, "whole", "100").table)
    mixed.apply(delete(mixed, [1]).table)
    assert mixed.sql("SELECT row, whole FROM data WHERE whole > 5 ORDER BY row").rows == [(1, 100), (4, 10)]
    assert mixed.sql("FROM data SELECT count(*) AS n;").columns == ("n",)
    assert mixed.sql("SELECT json->>'$[1]' FROM data WHERE row = 1").rows == [("Äpfel",)]
    assert mixed.sql("WITH a AS (SELECT 1 AS x) SELECT x FROM a").rows == [(1,)]


def test_sql_takes_json_that_holds_no_numbers(tmp_path):
    table = made(tmp_path, [{"a": [float("nan")]}, {"a": 10**40}])
    assert [row for row, _ in table.sql("SELECT row, a FROM data").rows] == [1, 2]


def test_sql_shows_a_thousand_rows(tmp_path):
    table = made(tmp_path, [{"a": i} for i in range(1_500)])
    answer = table.sql("SELECT * FROM data")
    assert (len(answer.rows), answer.more) == (1_000, True)
    answer = table.sql("SELECT * FROM data LIMIT 1000")
    assert (len(answer.rows), answer.more) == (1_000, False)
    assert table.sql("SELECT * FROM data", limit=2).rows == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   -- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE patch",
        "INSERT INTO patch SELECT * FROM patch",
        "WITH x AS (INSERT INTO patch SELECT 0, 0, true, '', 0, 0, '' RETURNING *) SELECT * FROM x",
        "DELETE FROM patch",
        "DROP VIEW data",
        "CREATE TABLE mine AS SELECT 1",
        "COPY data TO 'stolen.csv'",
        "EXPORT DATABASE 'stolen'",
        "ATTACH 'other.db'",
        "PRAGMA database_list",
        "SET memory_limit = '99GB'",
        "RESET memory_limit",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT * FROM read_csv('{other}')",
        "SELECT * FROM read_text('{other}')",
        "SELECT * FROM read_blob('{other}')",
        "SELECT * FROM read_json('{other}')",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM parquet_metadata('{other}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x')",
        "SELECT * FROM query('DROP VIEW data')",
        "SELECT * FROM statements",  # a name of Python's, where the query is asked
        "SELECT '\ud800' FROM nowhere",
        "SELECT",
        "SELECT nothing FROM data",
    ],
)
def test_sql_can_do_nothing_but_look_at_these_rows(mixed, tmp_path, query):
    other = tmp_path / "other.parquet"
    write_rows([{"secret": "s"}], other)
    before = mixed.ids().tolist()
    with pytest.raises(DatasetError):
        mixed.sql(query.replace("{other}", str(other)).replace("{folder}", str(tmp_path)))
    mixed._ids.cache_clear()
    assert mixed.ids().tolist() == before
    assert mixed.touched(before) == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.parquet", "rows.parquet"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
        "SELECT x FROM range(10000000000) a(x) ORDER BY hash(x)",
        "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x FROM a) SELECT max(x) FROM a",
    ],
)
def test_an_endless_query_is_ended(mixed, monkeypatch, query):
    monkeypatch.setattr(tables, "SQL_SECONDS", 0.3)
    with pytest.raises(DatasetError, match="was ended"):
        mixed.sql(query)
    assert mixed.sql("SELECT count(*) FROM data").rows == [(5,)]


def test_rows_that_nobody_sees_are_not_worked_out(mixed):
    endless = "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a) SELECT * FROM a"
    answer = mixed.sql(endless, limit=3)
    assert (answer.rows, answer.more) == ([(1,), (2,), (3,)], True)


def test_a_cell_its_column_cannot_hold_changes_nothing(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([1, 2], pyarrow.int8())}), tmp_path / "a.parquet")
    table = Table(tmp_path / "a.parquet")
    revision, too_large = table.revision, edit(table, 0, "a", "300")
    with pytest.raises(DatasetError, match="cannot hold such a value"):
        table.apply(too_large.table)
    assert (table.revision, table.touched([0, 1])) == (revision, set())
    assert table.fetch([0]) == [(0, {"a": 1})]


def test_many_columns_are_changed_within_the_memory_there_is(tmp_path):
    names = [f"c{i}" for i in range(1_000)]
    start = [dict.fromkeys(names, f"row {i}") for i in range(20)]
    table = made(tmp_path, start)
    gone, new = delete(table, range(19)), add(table, [dict.fromkeys(names, "new"), {"c7": "new"}], "Added")
    nothing = rewrite(table, [19], lambda _, row: {**row, "c1": None, "c2": "other"}, "Emptied")
    everywhere = replace(table, range(20), names, "row", "line", pattern=False)
    table.apply(everywhere.table)
    assert table.fetch([3]) == [(3, dict.fromkeys(names, "line 3"))]
    table.apply(inverse(everywhere.table))
    for change in (gone, new, nothing):
        table.apply(change.table)
    emptied = {**start[19], "c1": None, "c2": "other"}
    assert [cells for _, cells in table.rows()] == [
        emptied,
        dict.fromkeys(names, "new"),
        dict.fromkeys(names) | {"c7": "new"},
    ]
    for change in (nothing, new, gone):
        table.apply(inverse(change.table))
    assert [cells for _, cells in table.rows()] == start
    table.apply(new.table)
    assert table.fetch([20]) == [(20, dict.fromkeys(names, "new"))]


def test_no_two_states_of_rows_share_a_revision(tmp_path):
    one, other = made(tmp_path, [{"a": "1"}, {"a": "2"}]), Table(tmp_path / "rows.parquet")
    seen = [one.revision, other.revision]
    for table, text in ((one, "x"), (other, "y"), (one, "z")):
        table.apply(edit(table, 0, "a", text).table)
        seen.append(table.revision)
    assert len(set(seen)) == len(seen)


def test_a_damaged_file_is_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    with pytest.raises(DatasetError, match="damaged"):
        Table(tmp_path / "a.parquet")


def test_a_row_can_be_duplicated_more_often_than_numbers_fit_in_between(tmp_path):
    table = made(tmp_path, [{"a": f"{i}"} for i in range(5)])
    for _ in range(80):
        table.apply(duplicate(table, 1).table)
    ids = table.ids().tolist()
    assert ids == table.ids(View(conditions=(Condition("a", "filled"),))).tolist()
    assert [cells["a"] for _, cells in table.rows()] == ["0", *["1"] * 81, "2", "3", "4"]
    write_table(table, tmp_path / "saved")
    assert [cells["a"] for cells in rows_of(tmp_path / "saved")] == ["0", *["1"] * 81, "2", "3", "4"]
