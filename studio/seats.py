"""How many processes may hold a model beside the runs, where many people share a machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

SEATS = "FINETUNE_STUDIO_SEATS"  # environment variable: FOLDER:NUMBER
A_SEAT = 2e9  # bytes of memory that one takes, as the starter model does in a chat, with something to spare
_LOOK = 0.2  # seconds


def seats_for(memory: float) -> int:
    """How many there is room for in so many bytes."""
    return max(1, min(2 * (os.cpu_count() or 1), int(memory / A_SEAT)))


def shared() -> bool:
    """Whether this process has been told of seats."""
    return bool(os.environ.get(SEATS))


@contextmanager
def seat() -> Iterator[None]:
    """Wait for one, and hold it; nothing happens where nobody shares the machine."""
    if not shared():
        yield
        return
    folder, _, number = os.environ[SEATS].rpartition(":")
    locks = [filelock.FileLock(str(Path(folder) / f"seat-{at}.lock"), thread_local=False) for at in range(int(number))]
    while (taken := next(filter(_taken, locks), None)) is None:
        time.sleep(_LOOK)
    try:
        yield
    finally:
        taken.release()


def _taken(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True
