"""What follows from measured steps, worked out by hand."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from studio.pace import Found, Span, Step, Trial, duration, end_of_sizes, foretell, largest, settled, sizes_for


def test_time_is_what_a_step_takes_and_what_its_tokens_take() -> None:
    measured = [Step(tokens, 0.5 + 0.01 * tokens) for tokens in (100, 200, 300, 400)]
    span = duration(measured, steps=10, tokens=2_500)
    assert span.likely == pytest.approx(10 * 0.5 + 0.01 * 2_500)
    assert (span.low, span.high) == pytest.approx((0.97 * span.likely, 1.03 * span.likely))  # no machine is steadier


def test_the_more_steps_scatter_the_wider_the_bounds() -> None:
    def width(noise: float) -> float:
        off = (noise, -noise, -noise, noise)
        span = duration([Step(100 * i, i + each) for i, each in enumerate(off, 1)], 10, 2_500)
        return span.high - span.low

    assert 0 < width(0.02) < width(0.2) < width(0.4)


@pytest.mark.parametrize("tokens", [(100, 100, 100), (100, 101, 100)])
def test_batches_of_one_size_say_nothing_of_a_start(tokens: Sequence[int]) -> None:
    span = duration([Step(each, 2.0) for each in tokens], steps=5, tokens=1_000)
    assert span.likely == pytest.approx(20, rel=0.01)


def test_a_line_that_would_fall_or_start_below_nothing_is_none() -> None:
    falling = duration([Step(100, 3.0), Step(200, 1.0), Step(300, 2.0)], 1, 200)
    assert falling.likely == pytest.approx(2.0)
    steep = duration([Step(100, 0.1), Step(200, 1.0), Step(300, 1.9)], 1, 200)
    assert steep.likely == pytest.approx(1.0)
    assert 0 < steep.low < steep.likely  # a run is nowhere faster than the fastest step


def test_one_step_alone_gives_wide_bounds() -> None:
    assert duration([Step(100, 1.0)], 10, 1_000) == Span(8.0, 10.0, 12.0)


def test_what_comes_on_top_keeps_the_bounds_in_proportion() -> None:
    assert Span(8.0, 10.0, 12.0).plus(5.0) == Span(12.0, 15.0, 18.0)


# -- the batch --------------------------------------------------------------------------------------


def search(
    sizes: Sequence[int], *, fits: int, limit: int = 10**9, fastest: int = 10**9, memory: int = 10
) -> tuple[list[int], Found]:
    """Rows tried in order, and what was found, where `fits` rows fit and more than `fastest` bring no speed."""
    asked: list[int] = []

    def measure(rows: int) -> Generator[Any, None, Trial]:
        asked.append(rows)
        yield "on its way"
        seconds = rows / min(rows, fastest)
        return Trial(rows, 100 * rows, 1_000 + memory * rows, seconds if rows <= fits else 0.0)

    told: list[Any] = []

    def exhaust() -> Generator[Any, None, None]:
        told.append((yield from largest(sizes, lambda rows: 100 * rows, measure, limit)))

    seen = list(exhaust())
    [found] = told
    assert [each for each in seen if isinstance(each, Trial)] == found.trials
    return asked, found


@pytest.mark.parametrize("fits", range(1, 33))
def test_doubling_and_halving_find_what_fits(fits: int) -> None:
    asked, found = search(range(1, 33), fits=fits)
    assert found.best is not None
    assert fits - max(0, fits // 8 - 1) <= found.best.rows <= fits
    assert len(asked) <= 10
    assert len(set(asked)) == len(asked)
    assert found.why == ("rows" if fits == 32 else "memory")


def test_nothing_fits() -> None:
    asked, found = search([1, 2, 4], fits=0)
    assert (asked, found.best, found.why) == ([1], None, "memory")


def test_it_stops_growing_where_that_makes_nothing_faster() -> None:
    asked, found = search(range(1, 1025), fits=1024, fastest=4)
    assert asked == [1, 2, 4, 8]
    assert found.best is not None
    assert (found.best.rows, found.why) == (4, "speed")


def test_why_no_larger_sizes_are_there() -> None:
    assert end_of_sizes(8, 300) == "update"
    assert end_of_sizes(8, 5) == "data"
    assert end_of_sizes(8, 300, larger=True) == "data"
    assert end_of_sizes(8, 5_000, larger=True) == end_of_sizes(4_000, 5_000) == "most"


def test_only_what_divides_is_tried_where_updates_must_stay_as_they_are() -> None:
    assert search(sizes_for(12, 300), fits=300)[0] == [1, 2, 4, 12]
    asked, found = search(sizes_for(12, 300), fits=7)
    assert asked == [1, 2, 4, 12, 6]
    assert found.best is not None
    assert found.best.rows == 6


def test_what_is_foretold_not_to_fit_is_never_tried() -> None:
    asked, found = search(range(1, 65), fits=64, limit=1_000 + 10 * 21)
    assert max(asked) <= 21
    assert found.best is not None
    assert found.best.rows in (20, 21)
    untried = [trial for trial in found.trials if not trial.fits]
    assert untried
    assert all(trial.memory > 1_210 for trial in untried)


def test_memory_is_foretold_from_the_two_largest() -> None:
    assert foretell([], 100) == foretell([Trial(1, 100, 50, 1.0)], 100) == 0
    assert foretell([Trial(1, 100, 50, 1.0), Trial(2, 200, 60, 1.0), Trial(4, 300, 99, 0.0)], 400) == 80


def test_an_update_sees_as_many_rows_as_before() -> None:
    assert sizes_for(8, 300) == [1, 2, 4, 8]
    assert sizes_for(8, 5) == [1, 2, 4]
    assert sizes_for(8, 3, larger=True) == [1, 2, 3]
    assert [settled(8, rows) for rows in (1, 3, 4, 8, 20)] == [(1, 8), (2, 4), (4, 2), (8, 1), (20, 1)]
