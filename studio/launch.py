"""How the process of a run is started, and how it makes sure that no other has the run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import asdict
from functools import cache
from pathlib import Path

import filelock

from studio.distributed import identity
from studio.events import Started
from studio.processes import memory_kills, own_device, own_devices
from studio.workspace import RunFolder, Workspace

WORKER = "studio.worker"


def claim_run(folder: RunFolder) -> filelock.BaseFileLock | None:
    """The right to work on a run, told in its log; None where another process has it, however both came about."""
    own = filelock.FileLock(str(folder.path / "worker.lock"))
    try:
        own.acquire(timeout=0)
    except filelock.Timeout:
        return None
    folder.events.append(Started(**asdict(identity()), device=",".join(own_devices())))
    return own


class WorkerProcess:
    """A child that takes `folder`, a run, or waits for one, its imports done; it sees no device but `device`."""

    def __init__(self, workspace: Workspace, device: str, folder: RunFolder | None = None) -> None:
        self.device = device
        self.kills = memory_kills()  # by the system, before it could be among the killed
        run = [os.fspath(folder.path)] if folder else []
        module = worker_module(folder) if folder else WORKER
        with (workspace.root / "idle-worker.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *run],
                stdin=subprocess.DEVNULL if folder else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=worker_environment(device),
                start_new_session=True,  # a Ctrl-C in the server's terminal must not reach a run
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def take(self, folder: RunFolder) -> bool:
        """Hand over a run. False where the worker is gone."""
        assert self.process.stdin is not None
        self.kills = memory_kills()  # again: others may have been killed while it waited
        try:
            self.process.stdin.write(os.fsencode(folder.path) + b"\n")
            self.process.stdin.close()
        except OSError:
            return False
        return self.alive

    def dismiss(self) -> None:
        """Let an idle worker go."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0.2)
        if self.alive:
            self.process.kill()
        self.process.wait()


def worker_module(folder: RunFolder) -> str:
    """What runs `folder`: it trains the run, or follows it in the cloud."""
    return "studio.follower" if folder.cloud.exists() else WORKER


def worker_environment(device: str | None = None) -> dict[str, str]:
    """A worker finds this studio wherever it was started from, and talks to nobody about it.

    `device` is the only one it sees, called as in CUDA_VISIBLE_DEVICES; None: the first of this process.
    """
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_DISABLE_TELEMETRY": "1"}
    # One GPU a process: the library would divide each batch among all it sees.
    told["CUDA_VISIBLE_DEVICES"] = own_device() if device is None else device
    return {**_of_a_cpu(), **os.environ, **_preloads(), **told}


def _of_a_cpu() -> dict[str, str]:
    """What a CPU needs to train at its speed, where the person has set nothing else.

    Large buffers are soon used again, and returning their pages each time costs about a quarter, so torch asks for
    huge pages. Threads that wait for one another must soon let go of their core: beside other work, such as a
    browser, spinning takes away the very core that is waited for.
    """
    return {"THP_MEM_ALLOC_ENABLE": "1"} | ({} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": "2000"})


@cache  # the search asks the linker
def _preloads() -> dict[str, str]:
    """Google's allocator, where it is installed (libtcmalloc-minimal4): it keeps large buffers for their next use."""
    found = find_library("tcmalloc_minimal") or find_library("tcmalloc") if sys.platform == "linux" else None
    preloaded = [each for each in (os.environ.get("LD_PRELOAD"), found) if each]
    return {"LD_PRELOAD": ":".join(preloaded)} if preloaded else {}
