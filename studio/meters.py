"""What the machine is doing, how much memory of it is this studio's, and giving that of idle models back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import pynvml

from studio.child import Child
from studio.jobs import Jobs
from studio.models.machine import Gpu, Memory, gpus, host_memory

SECONDS = 2.0  # for which a sample serves everybody who asks


@dataclass(frozen=True)
class Sample:
    """One look at the machine."""

    cpu: float  # % of all cores since the look before
    ram: Memory
    own: dict[str, int]  # which part of this studio -> bytes, only those that run
    gpus: list[Gpu]


@dataclass(frozen=True)
class Freed:
    """What `Meters.free` ended: bytes of the machine's memory and of its GPUs', and who was left as it was busy."""

    ram: int
    gpu: int
    busy: list[str]


class Meters:
    """One sampler for all browsers: whoever asks within SECONDS of another gets the same sample."""

    def __init__(self, jobs: Jobs, children: Mapping[str, Child], nvml: Any = pynvml) -> None:
        """`children` by what people call them."""
        self._jobs, self._children, self._nvml = jobs, children, nvml
        self._lock = threading.Lock()
        self._sample: Sample | None = None
        self._taken = 0.0
        self._cpu = psutil.cpu_times()

    def read(self) -> Sample:
        """The machine as it is, or was a moment ago."""
        with self._lock:
            if self._sample is None or time.monotonic() - self._taken >= SECONDS:
                self._sample, self._taken = self._look(), time.monotonic()
            return self._sample

    def free(self, also_busy: bool = False) -> Freed:
        """End the children that hold memory; never a run. Those that somebody waits for only with `also_busy`."""
        with self._lock:
            alive = {name: child for name, child in self._children.items() if child.pid is not None}
            holds, on_gpu = {name: _memory_of(child.pid) for name, child in alive.items()}, self._on_gpus()
            # Looked at last: who asked meanwhile is not to lose an answer.
            busy = [] if also_busy else [name for name, child in alive.items() if child.busy]
            ending = [child for name, child in alive.items() if name not in busy]
            for child in ending:
                child.close()
            held = sum(size for name, size in holds.items() if name not in busy)
            self._sample = None
            return Freed(held, max(0, on_gpu - self._on_gpus()) if ending else 0, busy)

    def _look(self) -> Sample:
        before, self._cpu = self._cpu, psutil.cpu_times()
        parts = self._jobs.processes()
        parts |= {name: [child.pid] for name, child in self._children.items()}
        parts["page"] = [os.getpid()]
        own = {name: sum(map(_memory_of, pids)) for name, pids in parts.items()}
        return Sample(_busy(before, self._cpu), host_memory(), {k: v for k, v in own.items() if v}, gpus(self._nvml))

    def _on_gpus(self) -> int:
        return sum(gpu.memory.used for gpu in gpus(self._nvml) if gpu.memory)


def _memory_of(pid: int | None) -> int:
    """Bytes; what several processes share counts for each in part, so that parts add up. 0 where it is gone."""
    try:
        info = psutil.Process(pid).memory_full_info() if pid else None
    except psutil.Error:
        return 0
    return getattr(info, "pss", 0) or getattr(info, "uss", 0)  # only Linux knows the former


def _busy(before: Any, now: Any) -> float:
    """Percent of the time between two psutil.cpu_times; its own cpu_percent keeps a count for each thread."""

    def spent(times: Any) -> tuple[float, float]:
        guests = getattr(times, "guest", 0) + getattr(times, "guest_nice", 0)  # user and nice hold them already
        return sum(times) - guests, times.idle + getattr(times, "iowait", 0)

    (total_before, idle_before), (total, idle) = spent(before), spent(now)
    passed = total - total_before
    return min(100.0, max(0.0, 100 * (1 - (idle - idle_before) / passed))) if passed > 0 else 0.0
