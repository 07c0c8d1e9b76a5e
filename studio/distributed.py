"""One run on several devices of this machine: how its processes come about, and who of them speaks.

The worker of such a run becomes accelerate's launcher, which starts it anew once for each device. The process of rank
0 does what a single one does: it alone tells events, heeds flags and writes. The others take their share of the rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import psutil

from studio.events import DataReady, Event, EventLog
from studio.processes import Identity
from studio.workspace import RunFolder

_FROM = "FINETUNE_STUDIO_LOG_FROM"  # environment variable: bytes that the log held before the launcher started


def ranks() -> int:
    """Processes that train this run together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def wanted(folder: RunFolder) -> int:
    """Processes that a run asks for; 1 where its config cannot be read, of which others tell."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return int(json.loads(folder.config.read_text(encoding="utf-8"))["training"]["num_processes"])
    return 1


def launch(folder: RunFolder, processes: int, *, gpu: bool) -> NoReturn:
    """Become the launcher: the same process to whoever watches it."""
    os.environ[_FROM] = str(folder.events.size())
    if not gpu:  # the launcher's own option for it means one process, or MPI
        os.environ["ACCELERATE_USE_CPU"] = "true"
    options = {
        "--num_processes": processes,
        "--num_machines": 1,
        "--main_process_port": 0,
        "--mixed_precision": "no",
        "--dynamo_backend": "no",
        "--num_cpu_threads_per_process": max(1, (os.cpu_count() or 1) // processes),
    }
    told = [f"{each}" for pair in options.items() for each in pair]
    command = ["-m", "accelerate.commands.launch", "--multi_gpu", *told, "--module", "studio.worker"]
    os.execv(sys.executable, [sys.executable, *command, os.fspath(folder.path)])  # noqa: S606


def identity() -> Identity:
    """Of the process that stands for the run: this one, or the launcher that ends with all that it started."""
    return Identity.of(psutil.Process(os.getppid() if ranks() > 1 else os.getpid()))


class Silent(EventLog):
    """A log that can be read. Whoever has no say writes into it."""

    def append(self, event: Event) -> None:
        pass


def follow(folder: RunFolder, poll: float = 0.1) -> None:
    """Wait until rank 0 has the device, the model's files and the rows' tokens, so that nothing is made twice."""
    offset = int(os.environ.get(_FROM, "0"))
    while True:
        new, offset = folder.events.read_from(offset)
        if any(isinstance(event, DataReady) for event in new):
            return
        time.sleep(poll)


def end_others() -> None:
    """End the other ranks, which would wait for this one for ever."""
    for each in psutil.Process(os.getppid()).children():
        if each.pid != os.getpid():
            with suppress(psutil.Error):
                each.terminate()


def die_with_launcher() -> None:
    """Let nobody train on after the launcher was killed; it puts each rank into a session of its own."""
    with suppress(ImportError):
        import signal

        from torch.multiprocessing import _prctl_pr_set_pdeathsig  # pyright: ignore[reportAttributeAccessIssue]

        set_signal: Callable[[int], None] = _prctl_pr_set_pdeathsig
        set_signal(signal.SIGKILL)  # of Linux; elsewhere it does nothing
