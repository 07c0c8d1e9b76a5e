"""Texts that are nearly the same: sketches propose pairs, the shared words decide.

MinHash (Broder 1997) and its buckets (Leskovec et al., Mining of Massive Datasets, chapter 3) only find
candidates; a pair counts when the Jaccard similarity of its shingles reaches the threshold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from studio.data.shingles import Shingles, shingles

_SKETCH = 160  # hashes a text's sketch may have: more of them cost time and miss less
_MISSED = 0.001  # share of pairs just at the threshold that no bucket brings together
_CROWD = 16  # texts of one bucket that are all compared with each other; beyond it, with the first of each kind
_KEPT = 100  # texts of a group that the others are compared with before they may go
_SEED = 20261121


@dataclass(frozen=True, order=True)
class Copy:
    """A text that can go: it is like an earlier one that stays. `similarity` is in 0..1."""

    index: int
    of: int
    similarity: float


def clusters(texts: Sequence[str], threshold: float = 0.85) -> list[list[int]]:
    """Groups of two or more texts, each like another of its group; blank texts belong to none.

    Indices ascend within a group, groups by their first index. `threshold` is a Jaccard similarity in 0.5..1.
    """
    return _clusters(shingles(texts), threshold)


def copies(texts: Sequence[str], threshold: float = 0.85) -> list[Copy]:
    """The texts to delete so that hardly two like ones are left, by index.

    In a chain (a like b, b like c, a unlike c) `c` stays: what goes is always like a text that stays.
    """
    known = shingles(texts)
    return sorted(copy for group in _clusters(known, threshold) for copy in _copies(group, known, threshold))


def matches(texts: Sequence[str], others: Sequence[str], threshold: float = 0.85) -> list[Copy]:
    """The texts that are like one of the others, by index; `of` is the place of the likest among `others`."""
    known = shingles([*texts, *others])
    count = len(texts)
    found = []
    for group in _clusters(known, threshold):
        distinct = {frozenset(known[index]): index for index in reversed(group) if index >= count}
        theirs = [(index, set(own)) for own, index in distinct.items()]
        found += [_likest(index, theirs, known, threshold) for index in group if index < count]
    return sorted(Copy(copy.index, copy.of - count, copy.similarity) for copy in found if copy)


def similarity(one: set[int], other: set[int]) -> float:
    """Jaccard similarity: the share of all shingles that both have."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def bands(threshold: float) -> tuple[int, int]:
    """(bands, hashes in each): the most selective that miss at most `_MISSED` of the pairs at the threshold.

    A pair of similarity s meets in some band with probability 1 - (1 - s^hashes)^bands.
    """
    threshold = min(threshold, 0.99)
    choices = [(math.ceil(math.log(_MISSED) / math.log(1 - threshold**hashes)), hashes) for hashes in range(1, 17)]
    return max((choice for choice in choices if math.prod(choice) <= _SKETCH), key=lambda choice: choice[1])


def _copies(group: list[int], known: Shingles, threshold: float) -> Iterator[Copy]:
    kept: list[tuple[int, set[int]]] = []
    for index in group:
        copy = _likest(index, kept, known, threshold)
        if copy:
            yield copy
        elif len(kept) < _KEPT:
            kept.append((index, known[index]))


def _likest(index: int, others: list[tuple[int, set[int]]], known: Shingles, threshold: float) -> Copy | None:
    """The text as a copy of the one that is most like it; None where none reaches the threshold."""
    own = known[index]
    score, at = max(((similarity(own, other), -at) for at, other in others), default=(0.0, 0))
    return Copy(index, -at, score) if score >= threshold else None


def _clusters(known: Shingles, threshold: float) -> list[list[int]]:
    leader, join = _union(known, threshold)
    distinct = _distinct(known)
    for bucket in _buckets(known, distinct, threshold):
        _compare(bucket, join)
    firsts = [leader(first) if first >= 0 else -1 for first in distinct.tolist()]
    shared = {first for first, count in Counter(firsts).items() if count > 1 and first >= 0}
    groups: dict[int, list[int]] = {}
    for index, first in enumerate(firsts):
        if first in shared:
            groups.setdefault(first, []).append(index)
    return list(groups.values())


def _distinct(known: Shingles) -> Any:
    """For each text the first one with the same shingles; -1 for a blank one.

    A thousand copies of one text would meet in every bucket, so only the first goes there.
    """
    import numpy

    first = numpy.full(len(known.lengths), -1)
    spoken = numpy.flatnonzero(known.lengths)
    if len(spoken):
        sums = numpy.add.reduceat(known.hashes, known.offsets[spoken])
        _, at, inverse = numpy.unique(sums, return_index=True, return_inverse=True)
        first[spoken] = spoken[at[inverse]]
    return first


def _union(known: Shingles, threshold: float) -> tuple[Callable[[int], int], Callable[[int, int], bool]]:
    """(index → first index of its group, two indices → whether they now share one): a union-find."""
    leaders = list(range(len(known.lengths)))
    sets: dict[int, set[int]] = {}
    unlike: set[tuple[int, int]] = set()

    def leader(index: int) -> int:
        while leaders[index] != index:
            leaders[index] = leaders[leaders[index]]
            index = leaders[index]
        return index

    def join(one: int, other: int) -> bool:
        first, second = sorted((leader(one), leader(other)))
        if first == second:
            return True
        if (one, other) in unlike:
            return False
        for index in (one, other):
            if index not in sets:
                sets[index] = known[index]
        if similarity(sets[one], sets[other]) < threshold:
            unlike.add((one, other))
            return False
        leaders[second] = first
        return True

    return leader, join


def _compare(bucket: list[int], join: Callable[[int, int], bool]) -> None:
    """Join what is alike in a bucket, without comparing each of a crowd with all others."""
    if len(bucket) <= _CROWD:
        for one, other in combinations(bucket, 2):
            join(one, other)
        return
    kinds = bucket[:1]
    for index in bucket[1:]:
        if not any(join(kind, index) for kind in kinds) and len(kinds) < _CROWD:
            kinds.append(index)


def _buckets(known: Shingles, distinct: Any, threshold: float) -> Iterator[list[int]]:
    """Ascending indices of two or more distinct texts whose sketches agree in a band."""
    import numpy
    from rensa import RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue] - compiled, without types

    count, width = bands(threshold)
    chosen = distinct == numpy.arange(len(distinct))
    if not chosen.any():
        return
    index = RMinHashLSH(threshold, count * width, count)
    met = index.query_duplicate_flags_matrix_one_shot(_sketches(known.chosen(chosen), count * width))
    chosen[chosen] = numpy.asarray(met, dtype=bool)
    # Only those that met another are sketched again, as numbers numpy can sort: most texts meet none.
    rows = _sketches(known.chosen(chosen), count * width).to_rows()
    digests = numpy.array(rows, dtype=numpy.uint32).reshape(-1, count, width)
    pairs = [numpy.empty((0, 2), dtype=numpy.int64)]
    for band in range(count):
        texts, begins, sizes = _alike(digests[:, band])
        members = numpy.flatnonzero(chosen)[texts]
        pairs.append(members[begins[sizes == 2][:, None] + numpy.arange(2)])
        crowds = zip(begins[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True)
        yield from (members[begin : begin + size].tolist() for begin, size in crowds)
    yield from numpy.unique(numpy.concatenate(pairs), axis=0).tolist()  # most pairs meet in many bands


def _alike(digests: Any) -> tuple[Any, Any, Any]:
    """(texts in order of their digest, where each run of equal digests begins, how long it is)."""
    import numpy

    keys = numpy.ascontiguousarray(digests).view(numpy.dtype((numpy.void, digests.shape[1] * 4))).ravel()
    order = numpy.argsort(keys, kind="stable")
    begins = numpy.flatnonzero(numpy.concatenate([keys[:1] == keys[:1], keys[order][1:] != keys[order][:-1]]))
    return order, begins, numpy.diff(begins, append=len(keys))


def _sketches(known: Shingles, size: int) -> Any:
    """A MinHash sketch of `size` hashes for each text."""
    import numpy
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - compiled, without types

    return RMinHash.digest_matrix_from_flat_token_hashes(known.hashes, known.offsets.astype(numpy.uint64), size, _SEED)
