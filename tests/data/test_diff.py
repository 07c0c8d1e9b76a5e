import pytest

from studio.data.diff import MOST_SHOWN, Diff, diff
from studio.data.parquet import Row, write_rows
from studio.errors import DatasetError


@pytest.fixture
def compare(tmp_path):
    def made(older: list[Row], newer: list[Row]) -> Diff:
        write_rows(older, tmp_path / "older")
        write_rows(newer, tmp_path / "newer")
        return diff(tmp_path / "older", tmp_path / "newer")

    return made


def rows(*texts: str | None) -> list[Row]:
    return [{"text": text, "number": 1, "turns": [text]} for text in texts]


def counts(found: Diff) -> tuple[int, int, int, int]:
    return found.same, found.changed, found.added, found.removed


def pairs(found: Diff) -> list[tuple[int | None, int | None]]:
    return [(each.old_row, each.new_row) for each in found.shown]


@pytest.mark.parametrize(
    ("older", "newer", "expected", "shown"),
    [
        ("abc", "abc", (3, 0, 0, 0), []),
        ("abc", "aXc", (2, 1, 0, 0), [(1, 1)]),
        ("abc", "ac", (2, 0, 0, 1), [(1, None)]),
        ("ac", "abc", (2, 0, 1, 0), [(None, 1)]),
        ("abc", "abcd", (3, 0, 1, 0), [(None, 3)]),
        ("aab", "ab", (2, 0, 0, 1), [(1, None)]),
        ("ab", "aaab", (2, 0, 2, 0), [(None, 1), (None, 2)]),
        ("aaa", "aab", (2, 1, 0, 0), [(2, 2)]),
        ("abcd", "badc", (4, 0, 0, 0), []),
        ("abc", "xyz", (0, 3, 0, 0), [(0, 0), (1, 1), (2, 2)]),
        ("abcdef", "aXcef", (4, 1, 0, 1), [(1, 1), (3, None)]),
    ],
)
def test_rows_are_compared_by_content(compare, older, newer, expected, shown):
    found = compare(rows(*older), rows(*newer))
    assert counts(found) == expected
    assert pairs(found) == shown


def test_the_cells_of_both_are_shown(compare):
    found = compare(rows("a", "b", "c"), [*rows("a"), {"text": None, "number": 1, "turns": ["b"]}, *rows("c", "d")])
    assert [(each.old, each.new) for each in found.shown] == [
        ({"text": "b", "number": 1, "turns": ["b"]}, {"text": None, "number": 1, "turns": ["b"]}),
        (None, {"text": "d", "number": 1, "turns": ["d"]}),
    ]


def test_of_several_rows_those_most_alike_are_a_change(compare):
    older = [{"a": "x", "b": "1", "c": "p"}, {"a": "y", "b": "2", "c": "q"}, {"a": "z", "b": "3", "c": "r"}]
    found = compare(older, [{"a": "y!", "b": "2", "c": "q"}, {"a": "z", "b": "3", "c": "r!"}])
    assert counts(found) == (0, 2, 0, 1)
    assert pairs(found) == [(0, None), (1, 0), (2, 1)]


def test_kinds_of_cell_are_kept_apart(compare):
    assert counts(compare([{"a": 1}, {"a": "x"}], [{"a": True}, {"a": "x"}])) == (1, 1, 0, 0)
    assert counts(compare([{"a": None}, {"a": "x"}], [{"a": ""}, {"a": "x"}])) == (1, 1, 0, 0)
    assert counts(compare([{"a": float("nan")}], [{"a": float("nan")}])) == (1, 0, 0, 0)


def test_many_differences_are_counted_and_the_first_shown(compare):
    older = rows(*(f"a{i}" for i in range(MOST_SHOWN + 500)))
    found = compare(older, rows(*(f"b{i}" for i in range(MOST_SHOWN + 700))))
    assert counts(found) == (0, MOST_SHOWN + 500, 200, 0)
    assert pairs(found) == [(i, i) for i in range(MOST_SHOWN)]


def test_other_columns_cannot_be_compared(compare):
    with pytest.raises(DatasetError, match="different columns"):
        compare([{"a": 1}], [{"b": 1}])
