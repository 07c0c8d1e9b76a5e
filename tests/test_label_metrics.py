"""Metrics of labels against cases worked by hand."""

from __future__ import annotations

import pytest

from studio.evaluation.labels import (
    OTHERS,
    averaged,
    class_report,
    confusion,
    constant,
    folded,
    number_metrics,
    set_report,
)

RIGHT = [0, 0, 0, 1, 1, 2]
SAID = [0, 0, 1, 1, 2, 2]
MATRIX = [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_a_row_per_right_class_and_a_column_per_predicted_one() -> None:
    assert confusion(RIGHT, SAID, 3) == MATRIX


def test_precision_recall_and_f1_of_each_class() -> None:
    first, second, third = class_report(MATRIX)
    assert (first["precision"], first["recall"], first["f1"]) == pytest.approx((1, 2 / 3, 0.8))
    assert (second["precision"], second["recall"], second["f1"]) == pytest.approx((0.5, 0.5, 0.5))
    assert (third["precision"], third["recall"], third["f1"]) == pytest.approx((0.5, 1, 2 / 3))
    assert [each["rows"] for each in (first, second, third)] == [3, 2, 1]


def test_the_macro_average_counts_every_class_the_same() -> None:
    found = averaged(RIGHT, SAID, class_report(MATRIX))
    assert found == pytest.approx(
        {"accuracy": 4 / 6, "f1": (0.8 + 0.5 + 2 / 3) / 3, "precision": 2 / 3, "recall": (2 / 3 + 0.5 + 1) / 3}
    )


def test_a_class_that_occurs_nowhere_does_not_pull_the_average_down() -> None:
    assert averaged([0, 1], [0, 1], class_report(confusion([0, 1], [0, 1], 3)))["f1"] == 1
    assert averaged([0, 0], [0, 1], class_report(confusion([0, 0], [0, 1], 2)))["f1"] == pytest.approx(1 / 3)


def test_of_sets_all_labels_must_be_right_to_be_accurate() -> None:
    right = [(1, 0), (1, 1), (0, 0)]
    said = [(1, 0), (1, 0), (0, 1)]
    report = set_report(right, said)
    assert (report[0]["precision"], report[0]["recall"], report[0]["rows"]) == (1, 1, 2)
    assert (report[1]["precision"], report[1]["recall"], report[1]["f1"]) == (0, 0, 0)
    assert averaged(right, said, report) == pytest.approx(
        {"accuracy": 1 / 3, "f1": 0.5, "precision": 0.5, "recall": 0.5}
    )


def test_numbers_are_scored_in_their_unit() -> None:
    found = number_metrics([1, 2, 3, 6], [2, 2, 3, 4])
    assert found == pytest.approx({"mae": 0.75, "rmse": (5 / 4) ** 0.5, "r2": 1 - 5 / 14})


def test_the_constant_answer() -> None:
    assert constant(RIGHT) == [0] * 6
    assert number_metrics([1, 3], constant([1, 3], number=True))["r2"] == 0


def test_rare_labels_share_a_row_of_the_matrix() -> None:
    labels, matrix = folded(["a", "b", "c"], [[5, 0, 0], [1, 0, 1], [0, 1, 1]], 2)
    assert labels == ["a", OTHERS]
    assert matrix == [[5, 0], [1, 3]]
    assert folded(["a", "b", "c"], MATRIX, 3) == (["a", "b", "c"], MATRIX)
