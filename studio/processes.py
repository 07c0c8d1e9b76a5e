"""Which process is which, however clocks and pids change; and what memory may be had by one."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

LIMIT = "FINETUNE_STUDIO_MEMORY_LIMIT"  # environment variable: GB of main memory that a run may take
_SAME = 2.0  # seconds; the system rounds the time of its own start


@dataclass(frozen=True)
class Identity:
    """One process for ever: no other has all three, not after a restart of the machine nor a change of its clock."""

    pid: int
    born: float  # seconds after the machine's start; where only a time of day is known, since the epoch
    boot: str  # names the machine's current start; '' where nothing does

    @classmethod
    def of(cls, process: psutil.Process) -> Identity:
        """Raises psutil.Error where it is gone."""
        started = psutil.boot_time() if sys.platform == "linux" else 0.0
        return cls(process.pid, process.create_time() - started, _boot())

    def process(self) -> psutil.Process | None:
        """The living one; None where it has ended, though its pid may have been given to another."""
        if not self.pid:
            return None
        try:
            process = psutil.Process(self.pid)
            found = Identity.of(process)
            same = abs(found.born - self.born) < _SAME and found.boot == self.boot
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def own_devices() -> list[str]:
    """The GPUs that this process was given, as CUDA_VISIBLE_DEVICES calls them; the CPU has a name there, too."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")


def own_device() -> str:
    """The first of `own_devices`."""
    return own_devices()[0]


def memory_limit() -> int | None:
    """Bytes that `LIMIT` says; None where it says nothing that makes sense."""
    with suppress(ValueError):
        return int(1e9 * float(os.environ.get(LIMIT, ""))) or None
    return None


def bound(limit: int) -> None:
    """Let memory run out for this process at `limit` bytes. Nothing happens where the system knows no such bound."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if most < 0 else min(limit, most), most))


def go_first() -> None:
    """Where the machine runs out of memory, let this process be killed rather than the server or a person's editor."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def memory_kills() -> int:
    """Processes that the system has killed since its start because its memory, or a container's, ran out."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
