"""Summaries of a list of numbers."""

from collections.abc import Sequence
from itertools import pairwise


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; raise ValueError where there are no values.

    >>> mean([2, 4, 9])
    5.0
    """
    if not values:
        raise ValueError("no values have no mean")
    return sum(values) / len(values)


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones.

    >>> median([7, 1, 3]), median([4, 1, 3, 2])
    (3, 2.5)
    """
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else mean(ordered[middle - 1 : middle + 1])


def variance(values: Sequence[float]) -> float:
    """Return the mean squared distance from the mean, of a whole population.

    >>> variance([2, 4, 4, 4, 5, 5, 7, 9])
    4.0
    """
    centre = mean(values)
    return mean([(value - centre) ** 2 for value in values])


def moving_average(values: Sequence[float], width: int) -> list[float]:
    """Smooth a series: the mean of each window of `width` values in a row.

    >>> moving_average([1, 2, 3, 6], 2)
    [1.5, 2.5, 4.5]
    """
    return [mean(values[begin : begin + width]) for begin in range(len(values) - width + 1)]


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count the values between neighbouring edges; the lower edge belongs to the bin, the upper does not.

    >>> histogram([1, 2, 2, 5, 9], [0, 2, 4, 10])
    [1, 2, 2]
    """
    return [sum(low <= value < high for value in values) for low, high in pairwise(edges)]
