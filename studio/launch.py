"""How the process of a run is started, and how it makes sure that no other has the run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import filelock

from studio.distributed import identity
from studio.events import Started
from studio.models.catalog import on_hub
from studio.processes import memory_kills, own_device, own_devices
from studio.redaction import is_secret
from studio.workspace import RunFolder, Workspace

WORKER = "studio.worker"
HUB = ("HF_*", "HUGGING_FACE_*")  # names of variables with which models and data are fetched
_OF_TRACKERS = {"wandb": ("WANDB_*",), "mlflow": ("MLFLOW_*",), "trackio": ("TRACKIO_*", *HUB)}
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "GRADIO_ANALYTICS_ENABLED": "False"}


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
                env=worker_environment(device, keys_for(folder) if folder else ()),
                start_new_session=True,  # a Ctrl-C in the server's terminal must not reach a run
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def take(self, folder: RunFolder) -> bool:
        """Hand over a run. False where the worker is gone, or has not the keys that the run needs: it has none."""
        assert self.process.stdin is not None
        if keys_for(folder):
            self.dismiss()
            return False
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
    """What runs `folder`: it trains the run, follows it in the cloud, or tells it again."""
    if folder.replay.exists():
        return "studio.replayer"
    return "studio.follower" if folder.cloud.exists() else WORKER


def keys_for(folder: RunFolder) -> tuple[str, ...]:
    """What `worker_environment` takes for a run: what fetches its model, and what its trackers ask for."""
    try:
        values: dict[str, Any] = json.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()  # the worker will say what is wrong with it
    fetches = folder.cloud.exists() or on_hub(values.get("model", "")) or values.get("rewards")
    told = values.get("trackers", {})
    tracked = [key for name, keys in _OF_TRACKERS.items() if told.get(name) not in (None, False, "off") for key in keys]
    return (*(HUB if fetches else ()), *tracked)


def worker_environment(device: str | None = None, keys: Sequence[str] = ()) -> dict[str, str]:
    """A worker finds this studio wherever it was started from, and talks to nobody about it.

    `device` is the only one it sees, called as in CUDA_VISIBLE_DEVICES; None: the first of this process. Of what is a
    secret by its name it gets what one of the patterns `keys` fits.
    """
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {"PYTHONPATH": os.pathsep.join(paths), **_QUIET}
    if not set(HUB) <= set(keys):
        told |= {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}  # nor is the one used that 'hf auth login' keeps in a file
    # One GPU a process: the library would divide each batch among all it sees.
    told["CUDA_VISIBLE_DEVICES"] = own_device() if device is None else device
    own = {name: value for name, value in os.environ.items() if not is_secret(name) or _fits(name, keys)}
    return {**_of_a_cpu(), **own, **_preloads(), **told}


def _fits(name: str, keys: Sequence[str]) -> bool:
    return any(fnmatchcase(name.upper(), key) for key in keys)


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
