"""The background thread: it owns the queue and starts one worker process per run.

Everything it knows is on disk. A server that is killed and started again reads the run folders and
goes on; a run that was training meanwhile never noticed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import filelock
import psutil

from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Failed, Queued, Stopped
from studio.preflight import check
from studio.store import Store
from studio.workspace import RunFolder, Workspace

POLL_SECONDS = 0.1
WARM_AFTER_SECONDS = 4.0  # the page comes first: imports of a worker would slow its start
WARM_AGAIN_SECONDS = 15.0  # a worker that cannot start must not be tried without a breath


class WorkerProcess:
    """A child that takes `folder`, a run, or waits for one, its imports done."""

    def __init__(self, workspace: Workspace, folder: RunFolder | None = None) -> None:
        run = [os.fspath(folder.path)] if folder else []
        with (workspace.root / "idle-worker.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "studio.worker", *run],
                stdin=subprocess.DEVNULL if folder else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=worker_environment(),
                start_new_session=True,  # a Ctrl-C in the server's terminal must not reach a run
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def take(self, folder: RunFolder) -> bool:
        """Hand over a run. False where the worker is gone."""
        assert self.process.stdin is not None
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


def worker_environment() -> dict[str, str]:
    """A worker finds this studio wherever it was started from, and talks to nobody about it."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_DISABLE_TELEMETRY": "1"}
    # One GPU a process: the library would divide each batch among all it sees.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    return {**_of_a_cpu(), **os.environ, **_preloads(), **told, "CUDA_VISIBLE_DEVICES": first}


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


def create_run(workspace: Workspace, config: RunConfig) -> RunFolder:
    """A folder with a checked config, and nothing started. Raises StudioError before anything is made."""
    config = check(config, workspace)
    folder = workspace.new_run(f"{config.method_name}-{Path(config.dataset.source).stem}")
    config.save(folder.config)
    return folder


class Jobs:
    """The queue of one workspace."""

    def __init__(self, workspace: Workspace, store: Store, *, keep_warm: bool = True) -> None:
        self.workspace = workspace
        self.store = store
        self.keep_warm = keep_warm
        self._lock = threading.RLock()
        self._warm: WorkerProcess | None = None
        self._running: dict[str, WorkerProcess] = {}
        self._warmed = 0.0  # when the last one was started
        self._waiting: list[str] = []
        self._active: set[str] = set()
        self._close = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._owner = filelock.FileLock(str(workspace.server_lock))

    def claim(self) -> None:
        """Take over the workspace. Raises RunError where another studio has it."""
        if self._owner.is_locked:
            return
        try:
            self._owner.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(
                f"Another studio already works in {self.workspace.root}.",
                remedy="Use that one, close it, or choose another folder with --workspace.",
            ) from None

    def start(self) -> None:
        """`claim` the workspace, find what runs and what waits in it, and go on."""
        self.claim()
        self._recover()
        self._thread.start()

    def close(self) -> None:
        """Stop starting runs. A run that trains goes on without us; one that has ended is seen off."""
        self._close.set()
        if self._thread.is_alive():
            self._thread.join()
        for run_id, worker in self._running.items():
            with contextlib.suppress(RunError, subprocess.TimeoutExpired):
                if not self.store.state(run_id).active:
                    worker.process.wait(timeout=5)
        if self._warm:
            self._warm.dismiss()
        self._owner.release()

    def submit(self, config: RunConfig) -> str:
        """Queue a run; its id. Raises StudioError before anything is made."""
        folder = create_run(self.workspace, config)
        folder.events.append(Queued())
        folder.events.close()
        with self._lock:
            self._waiting.append(folder.id)
        return folder.id

    def stop(self, run_id: str) -> None:
        """Ask a run to end after its step and save. One that still waits ends at once."""
        folder = self.workspace.run(run_id)
        with self._lock:
            folder.stop_flag.touch()
            if run_id in self._waiting:
                self._waiting.remove(run_id)
                folder.events.append(Stopped(step=0))
                folder.events.close()

    def kill(self, run_id: str) -> None:
        """End a run that does not answer, losing what it learnt since it last saved."""
        folder = self.workspace.run(run_id)
        process = self.store.state(run_id).process()
        if process is None:
            return
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # its session is its own: children go with it
            else:
                process.kill()
            process.wait(timeout=5)
        after = self.store.state(run_id)
        # It may have come to its own end just before, or may not have been killed at all.
        if after.status == "failed" and after.process() is None:
            folder.events.append(Stopped(step=after.step))
            folder.events.close()

    def queue(self) -> list[str]:
        """Ids of the runs that wait, first first."""
        with self._lock:
            return list(self._waiting)

    def processes(self) -> dict[str, list[int]]:
        """Ids of the processes that train, and of the worker that waits for the next run, its imports done."""
        with self._lock:
            training = [worker.process.pid for worker in self._running.values() if worker.alive]
            for run_id in self._active - self._running.keys():  # of an earlier server
                with contextlib.suppress(RunError):  # its folder was deleted
                    process = self.store.state(run_id).process()
                    training += [process.pid] if process else []
            warm = [self._warm.process.pid] if self._warm and self._warm.alive else []
        return {"run": training, "waiting worker": warm}

    # -- the thread ----------------------------------------------------------------------------

    def _recover(self) -> None:
        states = [self.store.state(folder.id) for folder in self.workspace.run_folders()]
        self._waiting = [s.id for s in sorted(states, key=lambda s: s.created) if s.status == "queued"]
        self._active = {s.id for s in states if s.active and s.status != "queued"}

    def _loop(self) -> None:
        self._warmed, pause = time.monotonic(), WARM_AFTER_SECONDS
        while not self._close.wait(POLL_SECONDS):
            try:
                with self._lock:
                    self._reap()
                    if not self._active and self._waiting:
                        self._launch(self._waiting.pop(0))
                    elif not self._active and self.keep_warm and time.monotonic() > self._warmed + pause:
                        self._ensure_warm()
                        pause = WARM_AGAIN_SECONDS
            except Exception:  # a full disk, a deleted run: the next run must still get its turn
                traceback.print_exc()
                self._close.wait(1)

    def _ensure_warm(self) -> None:
        if self._warm is None or not self._warm.alive:
            self._warm = WorkerProcess(self.workspace)
            self._warmed = time.monotonic()

    def _launch(self, run_id: str) -> None:
        folder = self.workspace.run(run_id)
        worker, self._warm = self._warm, None
        if worker is None or not worker.take(folder):
            worker = WorkerProcess(self.workspace, folder)  # which imports what this run needs, and no more
        self._running[run_id] = worker
        self._active.add(run_id)

    def _reap(self) -> None:
        """Let go of runs that ended; say so for those that died before they could."""
        for run_id in list(self._active):
            worker = self._running.get(run_id)
            if worker is not None and worker.alive:
                continue
            try:
                state = self.store.state(run_id)
            except RunError:  # its folder was deleted
                self._active.discard(run_id)
                self._running.pop(run_id, None)
                continue
            if worker is None and state.active:
                continue  # of an earlier server: alive as long as its process is
            if worker is not None and state.status == "queued":
                self._fail(run_id, worker.process.returncode)
            self._active.discard(run_id)
            self._running.pop(run_id, None)

    def _fail(self, run_id: str, code: int | None) -> None:
        log = self.workspace.root / "idle-worker.log"
        folder = self.workspace.run(run_id)
        folder.events.append(
            Failed(
                problem=f"The worker could not start (exit code {code}).",
                remedy=f"{log} says why; 'finetune-studio doctor' checks the installation.",
            )
        )
        folder.events.close()
