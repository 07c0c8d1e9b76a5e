"""Sets of demonstrations, and a race between prompts: what several strategies do."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from studio.prompt import Demonstration, Example, Prompt
from studio.prompts import Bench, Strategy
from studio.settings import setting

_LONG = 2  # times the median length: longer rows fill the window, and are no better an example
_LAST = 3  # prompts that see all rows: enough to choose among

Arm = tuple[Prompt, str]  # a prompt, and in a few words how it came about


class WithExamples(Strategy):
    """What shows sets of examples has this setting."""

    shots: int = setting(
        8,
        "Examples at most",
        ge=1,
        le=32,
        help="Shown before the question. Half of the sets have so many; the others half as many, a quarter, …",
        source="Brown et al. 2020, arXiv:2005.14165, section 2",
    )


def drawn(bench: Bench, shots: int, sets: int) -> Iterator[Arm]:
    """So many random sets of rows of the pool: every other one of `shots`, those between of half, a quarter and so on.

    The order is drawn too: small models mind it (Lu et al. 2022, arXiv:2104.08786).
    """
    pool = _shorter(bench.pool)
    most = min(shots, len(pool))
    sizes = [size for times in range(1, most.bit_length()) for size in (most, most >> times)] or [most]
    for number in range(sets):
        chosen = bench.dice.sample(pool, sizes[number % len(sizes)])
        shown = tuple(Demonstration(fields=each.fields, answer=each.answer) for each in chosen)
        words = "1 random example" if len(shown) == 1 else f"{len(shown)} random examples"
        yield bench.start.model_copy(update={"demonstrations": shown}), words


def race(bench: Bench, arms: Sequence[Arm], few: int) -> Prompt:
    """The best by successive halving: all on `few` of the examples or more, the better half on twice as many, to all.

    Jamieson & Talwalkar 2016, arXiv:1502.07943, figure 3. All see the same examples, so that chance favours none.
    """
    places = bench.dice.sample(range(len(bench.examples)), len(bench.examples))
    looks = [len(places)]
    while looks[0] >= 2 * few:
        looks.insert(0, (looks[0] + 1) // 2)
    left = list(arms)
    for look in looks:
        means = [statistics.fmean(bench.score(prompt, places[:look], how)) for prompt, how in left]
        ranked = sorted(range(len(left)), key=lambda place: -means[place])
        left = [left[place] for place in ranked[: max(_LAST, (len(left) + 1) // 2)]]
    return left[0][0]


def _shorter(pool: Sequence[Example]) -> list[Example]:
    lengths = [sum(map(len, each.fields.values())) + len(each.answer) for each in pool]
    most = _LONG * statistics.median(lengths)
    return [each for each, length in zip(pool, lengths, strict=True) if length <= most]
