"""How good predicted labels are: pure functions of what is right and what was predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

Matrix = list[list[int]]
Metrics = dict[str, float]

OTHERS = "(others)"


def confusion(right: Sequence[int], predicted: Sequence[int], classes: int) -> Matrix:
    """Rows with class i, by the class j they were given: a row per right class, a column per predicted one."""
    matrix = [[0] * classes for _ in range(classes)]
    for i, j in zip(right, predicted, strict=True):
        matrix[i][j] += 1
    return matrix


def class_report(matrix: Matrix) -> list[Metrics]:
    """Precision, recall, F1 (0 to 1; 0 where undefined) and rows of each class."""
    given = [sum(column) for column in zip(*matrix, strict=True)]
    return [_of_label(row[i], given[i], sum(row)) for i, row in enumerate(matrix)]


def set_report(right: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]]) -> list[Metrics]:
    """The same for labels of which several may be right; each row holds a 0 or 1 for every label."""
    pairs = list(zip(zip(*right, strict=True), zip(*predicted, strict=True), strict=True))
    return [_of_label(sum(a * b for a, b in zip(*pair, strict=True)), sum(pair[1]), sum(pair[0])) for pair in pairs]


def _of_label(hits: int, given: int, rows: int) -> Metrics:
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / rows if rows else 0.0,
        "f1": 2 * hits / (given + rows) if given + rows else 0.0,
        "rows": rows,
        "given": given,
    }


def averaged(right: Sequence[Any], predicted: Sequence[Any], report: list[Metrics]) -> Metrics:
    """Accuracy, and the macro averages of F1, precision and recall: every label counts the same.

    Of sets of labels, a row counts as accurate when all of them are right. Labels that are neither right
    nor predicted anywhere are left out of the averages.
    """
    seen = [each for each in report if each["rows"] or each["given"]] or [{"f1": 0.0, "precision": 0.0, "recall": 0.0}]
    accurate = sum(a == b for a, b in zip(right, predicted, strict=True)) / max(len(right), 1)
    return {"accuracy": accurate, **{name: _mean([each[name] for each in seen]) for name in seen[0] if name in _MACRO}}


_MACRO = ("f1", "precision", "recall")


def number_metrics(right: Sequence[float], predicted: Sequence[float]) -> Metrics:
    """Mean absolute and root mean squared error, in the labels' unit, and R2: 1 is perfect, 0 is the mean's."""
    errors = [a - b for a, b in zip(right, predicted, strict=True)]
    squares, mean = _mean([error * error for error in errors]), _mean(right)
    spread = _mean([(value - mean) ** 2 for value in right])
    r2 = 1 - squares / spread if spread else 0.0
    return {"mae": _mean([abs(error) for error in errors]), "rmse": squares**0.5, "r2": r2}


def constant(right: Sequence[Any], number: bool = False) -> list[Any]:
    """The best answer that looks at no text: the most frequent label, or the mean, for every row."""
    best = _mean(right) if number else Counter(right).most_common(1)[0][0]
    return [best] * len(right)


def folded(labels: Sequence[str], matrix: Matrix, most: int) -> tuple[list[str], Matrix]:
    """`labels` and their confusion matrix with at most `most` rows: rare labels become OTHERS."""
    if len(labels) <= most:
        return list(labels), matrix
    frequent = sorted(sorted(range(len(labels)), key=lambda i: -sum(matrix[i]))[: most - 1])
    place = {old: new for new, old in enumerate(frequent)}
    smaller = [[0] * most for _ in range(most)]
    for i, row in enumerate(matrix):
        for j, rows in enumerate(row):
            smaller[place.get(i, most - 1)][place.get(j, most - 1)] += rows
    return [*(labels[i] for i in frequent), OTHERS], smaller


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
