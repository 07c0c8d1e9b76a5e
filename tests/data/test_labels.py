"""What a label column is taken for, and what is refused, said or left out."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from studio.data.labels import Head, count, count_column, encode, settle, target
from studio.data.parquet import write_rows
from studio.errors import DatasetError
from studio.models.tiny import tiny_tokenizer


def head_of(cells: list[Any], **options: Any) -> Head:
    return settle("x", count(cells), **options)[0]


@pytest.mark.parametrize(
    ("cells", "kind", "labels"),
    [
        (["b", "a", "b", None, " "], "classes", ("a", "b")),
        ([True, False, True], "classes", ("false", "true")),
        ([10, 9, 1, 9], "classes", ("1", "9", "10")),
        ([1.0, 2.0, None, math.nan], "classes", ("1", "2")),
        (["1", 1.0, 2], "classes", ("1", "2")),
        (["1", "1.0", "01", "2", "2"], "classes", ("1", "2")),
        (["01", "02", "11"], "classes", ("01", "02", "11")),
        ([0.5, 1, 2], "number", ()),
        (list(range(30)), "number", ()),
        (["rain; wind", "rain", "sun"], "labels", ("rain", "sun", "wind")),
        ([["rain", "wind"], [], ["sun"]], "labels", ("rain", "sun", "wind")),
    ],
)
def test_a_column_is_taken_for_what_it_holds(cells: list[Any], kind: str, labels: tuple[str, ...]) -> None:
    head = head_of(cells)
    assert (head.kind, head.labels) == (kind, labels)


def test_a_person_may_say_otherwise() -> None:
    assert head_of([1, 2, 5], kind="number").mean == pytest.approx(8 / 3)
    assert head_of([0.5, 1.5, 0.5], kind="classes").labels == ("0.5", "1.5")
    assert head_of(["a;b", "c"], kind="classes").labels == ("a;b", "c")
    assert head_of(["a|b", "c"], separator="|").labels == ("a", "b", "c")
    assert head_of(["a;b", "c"], separator="").kind == "classes"


@pytest.mark.parametrize(
    ("cells", "options", "said"),
    [
        ([None, "", " "], {}, "No row has a label"),
        (["a", "a", None], {}, "All 2 labels .* are 'a'"),
        ([3, 3.0], {"kind": "number"}, "All 2 labels"),
        ([["a", "b"], ["b", "a"]], {}, "All 2 labels"),
        ([1.5, "good", 2.5], {}, "mix numbers and words, such as '1.5' and 'good'"),
        ([1.5, "good", 2.5], {"kind": "number"}, "holds 'good'"),
        (["1", "nan", "2"], {"kind": "number"}, "holds 'nan'"),
        ([f"name {i}" for i in range(50)], {}, "50 different labels in 50 rows"),
    ],
)
def test_what_teaches_nothing_is_refused(cells: list[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        head_of(cells, **options)
    assert caught.value.remedy


def test_the_run_says_how_it_read_the_column() -> None:
    (said,) = settle("stars", count([1, 2, 3] * 2))[1]
    assert "3 different whole numbers; each is taken for a class" in said
    (said,) = settle("x", count(["a"] * 5 + ["b"]))[1]
    assert "Only one row has the label 'b'" in said
    (said,) = settle("x", count(["a"] * 40 + ["b"] * 2))[1]
    assert "uneven: 2 rows are 'b', 40" in said
    assert settle("x", count(["a"] * 40 + ["b"] * 2), balanced=True)[1] == []


def test_balanced_weights_are_inverse_to_how_often_a_label_occurs() -> None:
    head = head_of(["a"] * 6 + ["b"] * 2, balanced=True)
    assert head.balance == pytest.approx((8 / (2 * 6), 8 / (2 * 2)))
    assert sum(w * n for w, n in zip(head.balance, (6, 2), strict=True)) == pytest.approx(8)  # 1 on average
    assert head_of([["a"], ["a", "b"], ["a"], []], balanced=True).balance == pytest.approx((4 / 6, 4 / 2))
    assert head_of([["a"], ["a", "b"]], balanced=True).balance == pytest.approx((1, 1))  # 'a' as if one row lacked it


def test_a_target_for_each_kind() -> None:
    classes, labels = head_of(["a", "b"]), head_of(["a; b", "c"])
    assert (target(classes, "b", ";"), target(classes, "c", ";")) == ([1.0], None)
    assert (target(labels, "c;a", ";"), target(labels, (), ";"), target(labels, ("d",), ";")) == (
        [1, 0, 1],
        [0, 0, 0],
        None,
    )
    assert target(head_of([1.0, 4.0], kind="number"), "4", ";") == [pytest.approx(1)]
    whole = head_of(["1", "1.0", "02"])
    assert [target(whole, cell, ";") for cell in ("01", "1.0", "2", "3", "x")] == [[0.0], [0.0], [1.0], None, None]
    words = head_of(["1", "1.0", "one"], kind="classes")
    assert [target(words, cell, ";") for cell in ("1", "1.0", "01")] == [[0.0], [1.0], None]


def test_a_remedy_names_a_setting_that_the_objective_has() -> None:
    words = "name the column under 'Columns with classes'"
    for kind in ("auto", "number"):
        with pytest.raises(DatasetError) as caught:
            settle("x", count([1.5, "good"]), kind=kind, as_classes=words)
        assert words in caught.value.remedy


@pytest.mark.parametrize(
    "cells",
    [
        ["a", "b", None, "a"],
        [1, 2, 2, None],
        [1.5, 2.0, 2.0, None],
        [True, False, True, None],
        [["a", "b"], ["a"], None, []],
        [1, "one", None, ["x"]],
    ],
)
def test_a_file_is_counted_as_its_cells_are(cells: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(({"text": "t", "x": cell} for cell in cells), path)
    assert count_column(path, "x") == count(cells)


def test_another_programs_lists_are_counted_too(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    cells = [["a", "b"], None, ["a"]]
    pyarrow.parquet.write_table(pyarrow.table({"x": cells}), tmp_path / "x.parquet")
    assert count_column(tmp_path / "x.parquet", "x") == Counter({("a", "b"): 1, ("a",): 1})


def test_rows_become_tokens_and_targets() -> None:
    heads = [head_of(["a", "b"]), head_of([["x"], ["y"]])]
    heads = [Head("one", "classes", heads[0].labels), Head("two", "labels", heads[1].labels)]
    rows = [
        {"text": "abc", "one": "b", "two": ["y"]},
        {"text": "abcdefgh", "one": None, "two": []},
        {"text": " ", "one": "a"},
        {"text": "no label"},
        {"text": "strange", "one": "c", "two": ["x"]},
    ]
    told: list[int] = []
    found, unknown = encode(rows, "text", heads, tiny_tokenizer(), max_length=5, separator=";", progress=told.append)
    assert [each.text for each in found] == ["abc", "abcdefgh", "strange"]
    assert [(len(each.input_ids), each.truncated) for each in found] == [(3, False), (5, True), (5, True)]
    assert found[0].labels == [1, 0, 1]
    assert math.isnan(found[1].labels[0])
    assert found[1].labels[1:] == [0, 0]
    assert +unknown == Counter({"one": 1})
    assert told == [5]
