"""Sorting and searching, written out."""

from collections.abc import Sequence


def merge_sort(values: Sequence[float]) -> list[float]:
    """Sort by merging two sorted halves; equal values keep their order.

    >>> merge_sort([5, 2, 9, 2])
    [2, 2, 5, 9]
    """
    if len(values) < 2:
        return list(values)
    middle = len(values) // 2
    left, right = merge_sort(values[:middle]), merge_sort(values[middle:])
    merged: list[float] = []
    while left and right:
        merged.append((right if right[0] < left[0] else left).pop(0))
    return merged + left + right


def insertion_sort(values: Sequence[float]) -> list[float]:
    """Sort by moving each value left until the one before it is no larger.

    >>> insertion_sort([3, 1, 2])
    [1, 2, 3]
    """
    result = list(values)
    for place in range(1, len(result)):
        while place > 0 and result[place - 1] > result[place]:
            result[place - 1], result[place] = result[place], result[place - 1]
            place -= 1
    return result


def binary_search(values: Sequence[float], wanted: float) -> int | None:
    """Return where a value stands in a sorted list; None where it does not.

    >>> binary_search([1, 4, 7, 10], 7), binary_search([1, 4, 7, 10], 5)
    (2, None)
    """
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(values) and values[low] == wanted else None


def quickselect(values: Sequence[float], rank: int) -> float:
    """Return the value that would stand at `rank`, counted from 0, if the values were sorted.

    >>> quickselect([8, 3, 5, 1], 2)
    5
    """
    pivot = values[len(values) // 2]
    smaller = [value for value in values if value < pivot]
    equal = sum(value == pivot for value in values)
    if rank < len(smaller):
        return quickselect(smaller, rank)
    if rank < len(smaller) + equal:
        return pivot
    return quickselect([value for value in values if value > pivot], rank - len(smaller) - equal)
