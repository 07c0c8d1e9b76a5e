"""Signs of life of runs, and of the clock: what nobody tells of its own accord."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

JUMP = 20.0  # seconds by which a clock must have moved against the time that passed


@dataclass
class _Seen:
    sign: tuple[int, float]  # size of the log, seconds of processor time
    since: float


class Watchdog:
    """Is shown the runs every few seconds; knows how long each has given no sign of life.

    A sign is a word in the log or any work of the processor. `passed` and `clock` are seconds: since some moment,
    and since the epoch.
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._passed, self._clock = passed, clock
        self._seen: dict[str, _Seen] = {}
        self._apart = clock() - passed()

    def look(self, runs: Iterable[tuple[str, int, psutil.Process]]) -> None:
        """Each run as its id, the size of its log in bytes, and its process."""
        there = {}
        for run_id, size, process in runs:
            with suppress(psutil.Error):
                times = process.cpu_times()
                sign = size, times.user + times.system
                before = self._seen.get(run_id)
                there[run_id] = before if before and before.sign == sign else _Seen(sign, self._passed())
        self._seen = there

    def silent(self, run_id: str) -> float:
        """Seconds since the last sign of life of a run, as far as it was looked at."""
        seen = self._seen.get(run_id)
        return self._passed() - seen.since if seen else 0.0

    def jumped(self) -> float:
        """Seconds by which the clock was set, or the machine slept, since this was asked last; 0 for few."""
        before, self._apart = self._apart, self._clock() - self._passed()
        jump = self._apart - before
        return jump if abs(jump) > JUMP else 0.0
