"""What it costs to find near duplicates among 100,000 texts.

Claim: texts → verified groups at least 10 times as fast as datasketch, the usual MinHash library, at
equal or better recall. Both get the same texts, the same shingles of three words and the same last
step, an exact comparison. Beside it TF-IDF with all pairs compared, at sizes it can manage.

    pip install datasketch scikit-learn
    python benchmarks/duplicates.py [ROWS]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import _report

from studio.data.duplicates import bands, clusters

THRESHOLD = 0.85
ROUNDS = 3
VOCABULARY = 50_000  # words, the common ones far more frequent, as in a language
SIZES = (2000, 4000, 8000)  # rows that TF-IDF compares with each other
Pair = tuple[int, int]


def made(count: int) -> tuple[list[str], dict[Pair, float]]:
    """(texts of 60 to 120 words, likeness of each planted pair). One text in ten has a copy, 0 to 6 words changed."""
    dice = random.Random(20261121)  # noqa: S311 - the same texts for everyone, no secret
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(VOCABULARY)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(VOCABULARY)))
    originals = [dice.choices(words, cum_weights=weights, k=dice.randint(60, 120)) for _ in range(count - count // 11)]
    texts, planted = [" ".join(each) for each in originals], {}
    for index in dice.sample(range(len(originals)), count - len(originals)):
        copy = list(originals[index])
        for place in dice.sample(range(len(copy)), dice.randint(0, 6)):
            copy[place] = dice.choice(words)
        planted[index, len(texts)] = likeness(" ".join(originals[index]), " ".join(copy))
        texts.append(" ".join(copy))
    return texts, planted


def triples(text: str) -> set[bytes]:
    words = text.lower().split()
    return {" ".join(each).encode() for each in zip(words, words[1:], words[2:], strict=False)}


def likeness(one: str, other: str) -> float:
    return len(triples(one) & triples(other)) / len(triples(one) | triples(other))


def ours(texts: Sequence[str]) -> set[Pair]:
    return {pair for group in clusters(texts, THRESHOLD) for pair in pairwise(group)}


def theirs(params: tuple[int, int] | None) -> Callable[[Sequence[str]], set[Pair]]:
    """Texts → pairs by datasketch, with its own choice of bands or a given one."""
    from datasketch import MinHash, MinHashLSH  # pyright: ignore[reportMissingImports]

    hashes = params[0] * params[1] if params else 128

    def find(texts: Sequence[str]) -> set[Pair]:
        index = MinHashLSH(threshold=THRESHOLD, num_perm=hashes, params=params)
        sketches = MinHash.bulk((triples(text) for text in texts), num_perm=hashes)
        pairs: set[Pair] = set()
        for number, sketch in enumerate(sketches):
            pairs.update((other, number) for other in index.query(sketch))
            index.insert(number, sketch, check_duplication=False)
        return {pair for pair in pairs if likeness(texts[pair[0]], texts[pair[1]]) >= THRESHOLD}

    return find


def tfidf(texts: Sequence[str]) -> int:
    """How many pairs are alike by TF-IDF's cosine, all of them compared, 500 rows at a time."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # pyright: ignore[reportMissingImports]

    vectors: Any = TfidfVectorizer().fit_transform(texts)
    return sum(int(((vectors[at : at + 500] @ vectors.T) >= 0.9).nnz) for at in range(0, len(texts), 500))


def timed(find: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = find(texts)
    return time.perf_counter() - began, found


def quality(found: set[Pair], planted: dict[Pair, float]) -> str:
    """Of the planted pairs that reach the threshold, and of those that were found."""
    wanted = {pair for pair, score in planted.items() if score >= THRESHOLD}
    return f"recall {len(found & wanted) / len(wanted):.4f}, precision {len(found & wanted) / max(len(found), 1):.4f}"


def main() -> None:
    print(_report.machine())
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    texts, planted = made(count)
    wanted = sum(score >= THRESHOLD for score in planted.values())
    print(f"{count:,} texts, {len(planted):,} planted copies, {wanted:,} of them at {THRESHOLD} or more\n")
    ways: dict[str, Callable[[Sequence[str]], set[Pair]]] = {"ours": ours}
    try:
        ways[f"datasketch, our bands {bands(THRESHOLD)}"] = theirs(bands(THRESHOLD))
        ways["datasketch, its own bands"] = theirs(None)
    except ImportError:
        print("datasketch is not installed: pip install datasketch")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for find in ways.values():
        find(texts[:500])  # imports are no part of it
    for number in range(ROUNDS):
        for name, find in ways.items():
            seconds, found = timed(find, texts)
            taken[name].append(seconds)
            if number == 0:
                print(f"{name}: {quality(found, planted)}")
    for name, seconds in taken.items():
        print(_report.row(name, seconds, "s"))
    for name in list(ways)[1:]:
        print(_report.ratio(f"{name} / ours", taken["ours"], taken[name]))
    all_pairs(texts, count)


def all_pairs(texts: Sequence[str], count: int) -> None:
    try:
        tfidf(texts[:500])
    except ImportError:
        print("scikit-learn is not installed: pip install scikit-learn")
        return
    print()
    last = 0.0
    for size in SIZES:
        last, _ = timed(tfidf, texts[:size])
        print(_report.row(f"TF-IDF, all pairs of {size:,}", [last], "s"))
    print(f"at four times the cost for twice the rows: {last * (count / SIZES[-1]) ** 2 / 60:.1f} min for {count:,}")


if __name__ == "__main__":
    main()
