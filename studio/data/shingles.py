"""Texts → the runs of three words in them, as numbers: what near duplicates are measured by.

All texts are cut into words and hashed at once, as bytes in numpy; word by word in Python it takes ten times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

WORDS = 3  # in a shingle: two texts of 100 words that differ in one share 94 % of theirs
_CHUNK = 1 << 19  # characters hashed at once: what fits a processor's cache
_BASE = 0x9E3779B97F4A7C15  # odd, and so invertible modulo 2^64
_PLACES = (1, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # one odd factor a place: "a b c" is not "c b a"
_SPACES = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # as str.split() sees them
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # Thai … Han


@dataclass(frozen=True)
class Shingles:
    """64-bit hashes of the shingles of many texts. That two of a million differ and look alike: 1 in 10^7.

    `hashes`, uint64 of shape (all shingles,), text after text; `lengths`, int64 of shape (texts,).
    A text shorter than three words is one shingle, a blank one has none.
    """

    hashes: Any
    lengths: Any

    def __getitem__(self, index: int) -> set[int]:
        """The shingles of one text."""
        return set(self.hashes[self.offsets[index] : self.offsets[index + 1]].tolist())

    @cached_property
    def offsets(self) -> Any:
        """Where each text's hashes begin, and where the last one's end; int64 of shape (texts + 1,)."""
        import numpy

        return numpy.concatenate([[0], numpy.cumsum(self.lengths)])

    def chosen(self, which: Any) -> Shingles:
        """Those of the texts where `which`, bool of shape (texts,), is true."""
        import numpy

        return Shingles(self.hashes[numpy.repeat(which, self.lengths)], self.lengths[which])


def shingles(texts: Sequence[str]) -> Shingles:
    """Case and spacing do not count; in scripts without spaces each letter is a word."""
    import numpy

    parts = [_hashed(chunk) for chunk in _chunks(texts)]
    if not parts:
        return Shingles(numpy.empty(0, numpy.uint64), numpy.empty(0, numpy.int64))
    return Shingles(*(numpy.concatenate(each) for each in zip(*parts, strict=True)))


def _chunks(texts: Sequence[str]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        chunk.append(_plain(text))
        size += len(chunk[-1])
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _plain(text: str) -> bytes:
    """UTF-8 with ASCII's spaces only. The letters of ASCII are lowered later, by `_tables`."""
    if not text.isascii():
        text = " ".join(_UNSPACED.sub(r" \g<0> ", text.lower()).split())
    return text.encode(errors="replace")  # a lone surrogate, which JSON may hold, is no UTF-8


def _hashed(chunk: list[bytes]) -> tuple[Any, Any]:
    """(hashes of the shingles, how many each text has)."""
    import numpy

    words, counts = _words(chunk)
    left = numpy.repeat(numpy.cumsum(counts), counts) - numpy.arange(len(words))  # words from here to the text's end
    mixed = words.copy()
    for place in range(1, WORDS):
        mixed[:-place] += numpy.where(left[:-place] > place, words[place:], 0) * numpy.uint64(_PLACES[place])
    short = numpy.repeat(counts, counts) < WORDS
    begins = (left >= WORDS) | (short & (left == numpy.repeat(counts, counts)))
    return _scattered(mixed[begins]), numpy.maximum(counts - WORDS + 1, numpy.minimum(counts, 1))


def _words(chunk: list[bytes]) -> tuple[Any, Any]:
    """(hashes of the words, how many each text has).

    A word's hash is the sum of code(byte) · base^place: a difference of running sums, whose place in
    the chunk is divided out.
    """
    import numpy

    codes, spaces = _tables()
    joined = numpy.frombuffer(b" " + b" ".join(chunk) + b" ", numpy.uint8)
    edges = numpy.flatnonzero(numpy.diff(spaces[joined])) + 1
    begins, ends = edges[::2], edges[1::2]
    powers, inverses = (table[: len(joined)] for table in _powers(max(len(joined), 2 * _CHUNK)))
    sums = numpy.concatenate([[numpy.uint64(0)], numpy.cumsum(codes[joined] * powers)])
    text_ends = numpy.cumsum([len(text) + 1 for text in chunk])
    counts = numpy.diff(numpy.searchsorted(ends, text_ends, side="right"), prepend=0)
    return _scattered((sums[ends] - sums[begins]) * inverses[begins]), counts


@cache
def _tables() -> tuple[Any, Any]:
    """By byte: (a random-looking code, the same for a letter of either case; whether it is a space)."""
    import numpy

    codes = _scattered(numpy.arange(1, 257, dtype=numpy.uint64))
    codes[ord("A") : ord("Z") + 1] = codes[ord("a") : ord("z") + 1]
    spaces = numpy.zeros(256, dtype=bool)
    spaces[list(_SPACES)] = True
    return codes, spaces


@cache
def _powers(size: int) -> tuple[Any, Any]:
    """(base^0 … base^(size-1), their inverses), modulo 2^64."""
    import numpy

    def powers(base: int) -> Any:
        steps = numpy.full(size, base, dtype=numpy.uint64)
        steps[0] = 1
        return numpy.cumprod(steps)

    return powers(_BASE), powers(pow(_BASE, -1, 1 << 64))


def _scattered(numbers: Any) -> Any:
    """Each 64-bit number sent to one that looks random: the finaliser of splitmix64 (Steele et al. 2014)."""
    import numpy

    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> numpy.uint64(shift))) * numpy.uint64(factor)
    return numbers ^ (numbers >> numpy.uint64(31))
