"""The background thread: it owns the queue and starts one worker process per run.

Everything it knows is on disk. A server that is killed and started again reads the run folders and
goes on; a run that was training meanwhile never noticed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import psutil

from studio import ledger
from studio.cloud import DEVICE, Cloud, cancel
from studio.config import RunConfig
from studio.distributed import wanted
from studio.errors import ConfigError, RunError, explain
from studio.events import Failed, Note, Paused, Queued, Stopped
from studio.job import shrink
from studio.launch import WORKER, WorkerProcess, worker_module
from studio.models import machine
from studio.preflight import check
from studio.processes import memory_kills
from studio.replayer import create_replay
from studio.store import RESTING, State, Store
from studio.turns import Turns
from studio.watchdog import Watchdog
from studio.workshop import Limits, check_limits, limits_of, too_much
from studio.workspace import RunFolder, Workspace

POLL_SECONDS = 0.1
WARM_AFTER_SECONDS = 4.0  # the page comes first: imports of a worker would slow its start
WATCH_SECONDS = 5.0  # between two looks at whether runs give signs of life
WARM_AGAIN_SECONDS = 15.0  # a worker that cannot start must not be tried without a breath


def create_run(workspace: Workspace, config: RunConfig, cloud: Cloud | None = None) -> RunFolder:
    """A folder with a checked config, and nothing started. Raises StudioError before anything is made."""
    config = check(config, workspace, here=cloud is None)
    folder = workspace.new_run(f"{config.method_name}-{Path(config.dataset.source).stem}")
    if cloud:
        cloud.write(folder)
    config.save(folder.config)
    return folder


def _about_clock(jump: float) -> str:
    hours, minutes = divmod(round(abs(jump) / 60), 60)
    where = "ahead" if jump > 0 else "back"
    return (
        f"The clock went {hours} h {minutes} min {where}: the machine slept, or its clock was set. Training is not "
        f"harmed; times of day before and after cannot be compared."
    )


def unfinished(workspace: Workspace, config: RunConfig, cloud: Cloud | None = None) -> RunFolder | None:
    """The newest run of `config`, here or in the cloud, that rests, was stopped or failed.

    Raises StudioError where it could not start, or is under way already.
    """
    store, wanted = Store(workspace), check(config, workspace, here=cloud is None)
    for folder in workspace.run_folders():
        state = store.state(folder.id)
        if state.status == "done" or folder.cloud.exists() != bool(cloud) or not _same(state.config, wanted):
            continue
        if state.active:
            raise RunError(f"{folder.id} trains this config already.", remedy="Wait for its end, or stop it first.")
        if cloud:
            Cloud.read(folder).asked(cloud).write(folder)
        return folder
    return None


def _same(values: dict[str, Any], config: RunConfig) -> bool:
    try:
        return RunConfig.parse(values) == config
    except ConfigError:  # of another version
        return False


def unleash(folder: RunFolder) -> None:
    """Take back what asks a run to end."""
    folder.stop_flag.unlink(missing_ok=True)
    folder.pause_flag.unlink(missing_ok=True)


class Jobs:
    """The queue of one workspace: as many runs at once as there are devices, one on each."""

    def __init__(
        self, workspace: Workspace, store: Store, *, keep_warm: bool = True, devices: Sequence[str] | None = None
    ) -> None:
        """`devices` are called as in CUDA_VISIBLE_DEVICES; None: those that the machine has."""
        self.workspace = workspace
        self.store = store
        self.keep_warm = keep_warm
        self._lock = threading.RLock()
        self._warm: WorkerProcess | None = None
        self._running: dict[str, WorkerProcess] = {}
        self._warmed = 0.0  # when the last one was started
        self._waiting: list[str] = []
        self._kept: list[str] = []  # the same as it is on disk
        self.watchdog = Watchdog()
        self._watched = 0.0  # when
        self._devices = list(devices) if devices is not None else machine.devices()
        self._active: dict[str, str] = {}  # run → the devices it has
        self._turns = Turns.of(workspace)
        self._limits = limits_of(workspace)
        self._close = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._owner: filelock.BaseFileLock | None = None

    def claim(self) -> None:
        """Take over the workspace. Raises RunError where another studio has it."""
        self._owner = self._owner or self.workspace.claim()

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
            with contextlib.suppress(OSError):  # a full disk
                self._keep_order()
        for run_id, worker in self._running.items():
            with contextlib.suppress(RunError, subprocess.TimeoutExpired):
                if not self.store.state(run_id).active:
                    worker.process.wait(timeout=5)
        if self._warm:
            self._warm.dismiss()
        if self._owner:
            self._owner.release()

    def submit(self, config: RunConfig) -> str:
        """Queue a run; its id. Raises StudioError before anything is made."""
        check_limits(self.workspace, config)
        return self._queue(create_run(self.workspace, config))

    def replay(self, speed: float) -> str:
        """Queue a recorded run, to be told at so many times its speed; its id. Raises ConfigError."""
        check_limits(self.workspace)
        return self._queue(create_replay(self.workspace, speed))

    def _queue(self, folder: RunFolder) -> str:
        folder.events.append(Queued())
        folder.events.close()
        with self._lock:
            self._waiting.append(folder.id)
        return folder.id

    def stop(self, run_id: str) -> None:
        """Ask a run to end after its step and save. One that still waits ends at once."""
        self._end(run_id, self.workspace.run(run_id).stop_flag, Stopped)

    def pause(self, run_id: str) -> None:
        """Ask a run to rest after its step, its memory given back. One that still waits rests at once."""
        self._end(run_id, self.workspace.run(run_id).pause_flag, Paused)

    def _end(self, run_id: str, flag: Path, event: type[Stopped | Paused]) -> None:
        folder = self.workspace.run(run_id)
        with self._lock:
            flag.touch()
            if run_id in self._waiting:
                self._waiting.remove(run_id)
                folder.events.append(event(step=self.store.state(run_id).step))
                folder.events.close()

    def resume(self, run_id: str) -> None:
        """Queue a run that rests, was stopped or failed; it goes on from its last whole checkpoint.

        Nothing happens where it is under way already. Raises StudioError where it is done, or could not start.
        """
        folder = self.workspace.run(run_id)
        with self._lock:
            state = self.store.state(run_id)
            if state.active:
                return
            if state.status not in RESTING:
                raise RunError("This run is done.", remedy="Copy it, with more epochs, to train further.")
            check(RunConfig.parse(state.config), self.workspace, here=not folder.cloud.exists())
            check_limits(self.workspace)
            unleash(folder)
            folder.events.append(Queued())
            folder.events.close()
            self._waiting.append(run_id)

    def move(self, run_id: str, before: str | None) -> None:
        """Let a run that waits go before another one; None, or one that waits no more: after all, or before all.

        Raises RunError where it does not wait itself.
        """
        with self._lock:
            if run_id not in self._waiting:
                raise RunError("This run waits no more.", remedy="Look again: it may have begun.")
            others = [each for each in self._waiting if each != run_id]
            at = len(others) if before is None else others.index(before) if before in others else 0
            if before != run_id:
                self._waiting = [*others[:at], run_id, *others[at:]]
            with contextlib.suppress(OSError):  # a full disk; it is tried again
                self._keep_order()  # now: who was shown the new order must find it again

    def delete(self, run_id: str) -> None:
        """Move a run to the trash. Raises RunError where it is under way, or cannot be moved."""
        with self._lock:  # it must not begin meanwhile
            if self.store.state(run_id).active:
                raise RunError(
                    "A run that is under way cannot be deleted.", remedy="Stop it, or take it out of the queue."
                )
            if (folder := self.workspace.run(run_id)).cloud.exists():
                cancel(folder)
            ledger.throw_away(self.workspace, run_id)

    def kill(self, run_id: str) -> None:
        """End a run that does not answer, losing what it learnt since it last saved."""
        folder = self.workspace.run(run_id)
        process = self.store.state(run_id).process()
        if process is None:
            return
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            for child in process.children():  # of several devices, each in a session of its own
                child.kill()
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # its session is its own: children go with it
            else:
                process.kill()
            process.wait(timeout=5)
        if folder.cloud.exists():
            cancel(folder)
        after = self.store.state(run_id)
        # It may have come to its own end just before, or may not have been killed at all.
        if after.status == "failed" and after.process() is None:
            folder.events.append(Stopped(step=after.step))
            folder.events.close()

    def queue(self) -> list[str]:
        """Ids of the runs that wait, first first."""
        with self._lock:
            return list(self._waiting)

    def ahead(self) -> int:
        """How many other people's queues come before this one at the machine's devices."""
        return self._turns.ahead() if self._turns else 0

    def processes(self) -> dict[str, list[int]]:
        """Ids of the processes that train, and of the worker that waits for the next run, its imports done."""
        with self._lock:
            training = [worker.process.pid for worker in self._running.values() if worker.alive]
            for run_id in self._active.keys() - self._running.keys():  # of an earlier server
                with contextlib.suppress(RunError):  # its folder was deleted
                    process = self.store.state(run_id).process()
                    training += [process.pid] if process else []
            warm = [self._warm.process.pid] if self._warm and self._warm.alive else []
        return {"run": training, "waiting worker": warm}

    # -- the thread ----------------------------------------------------------------------------

    def _recover(self) -> None:
        states = [self.store.state(folder.id) for folder in self.workspace.run_folders()]
        self._kept = ledger.order(self.workspace)  # the others came after it was written
        place = {run_id: at for at, run_id in enumerate(self._kept)}
        states.sort(key=lambda state: (place.get(state.id, len(place)), state.created))
        self._waiting = [state.id for state in states if state.status == "queued"]
        self._active = {s.id: s.device for s in states if s.active and s.status != "queued"}

    def _loop(self) -> None:
        self._warmed, pause = time.monotonic(), WARM_AFTER_SECONDS
        while not self._close.wait(POLL_SECONDS):
            try:
                with self._lock:
                    self._reap()
                    self._watch()
                    if self._turns:
                        self._turns.tell(bool(self._waiting), self._held())
                    if self._waiting and (devices := self._won(self._waiting[0])):
                        self._launch_next(devices)
                    elif not self._active and self.keep_warm and time.monotonic() > self._warmed + pause:
                        self._ensure_warm()
                        pause = WARM_AGAIN_SECONDS
                    self._keep_order()
            except Exception:  # a full disk, a deleted run: the next run must still get its turn
                traceback.print_exc()
                self._close.wait(1)

    def _keep_order(self) -> None:
        if self._waiting != self._kept:
            ledger.keep_order(self.workspace, self._waiting)
            self._kept = list(self._waiting)

    def _won(self, run_id: str) -> str:
        """As `_free`; of queues that share the devices one alone is told so, and the others know before it starts."""
        devices = self._free(run_id)
        if not self._turns or devices in ("", DEVICE):
            return devices
        with self._turns.deciding:
            if devices := self._free(run_id):
                self._turns.tell(True, [*self._held(), *devices.split(",")])
            return devices

    def _free(self, run_id: str) -> str:
        """The devices that a run can have now, as CUDA_VISIBLE_DEVICES lists them; '' while too few are free."""
        folder = RunFolder(self.workspace.runs / run_id)
        if worker_module(folder) != WORKER:
            return "" if run_id in self._active else DEVICE  # let go on before its last follower has left
        if self._turns and self._turns.ahead():
            return ""
        held = {*self._held(), *(self._turns.held() if self._turns else ())}
        free = [device for device in self._devices if device not in held]
        # On a CPU all of its processes share the one device.
        needed = min(wanted(folder), len(self._devices))
        return ",".join(free[:needed]) if len(free) >= needed else ""

    def _held(self) -> list[str]:
        """The devices of this machine that its runs have."""
        return [each for devices in self._active.values() for each in devices.split(",") if each not in ("", DEVICE)]

    def _watch(self) -> None:
        if time.monotonic() < self._watched + WATCH_SECONDS:
            return
        self._watched = time.monotonic()
        folders = [self.workspace.run(run_id) for run_id in self._active]
        if self._limits:
            for folder in folders:
                self._end_in_time(folder, self._limits)
        found = ((folder, self.store.state(folder.id).process()) for folder in folders)
        self.watchdog.look((folder.id, folder.events.size(), process) for folder, process in found if process)
        if jump := self.watchdog.jumped():
            for folder in folders:
                folder.events.append(Note(text=_about_clock(jump)))
                folder.events.close()

    def _end_in_time(self, folder: RunFolder, limits: Limits) -> None:
        """Stop a run that has had what a person may take, and say so in its log."""
        state = self.store.state(folder.id)
        why = too_much(limits, state.step, state.seconds)
        if why and not folder.stop_flag.exists():
            folder.stop_flag.touch()
            folder.events.append(Note(text=why))
            folder.events.close()

    def _ensure_warm(self) -> None:
        if self._warm is None or not self._warm.alive:
            self._warm = WorkerProcess(self.workspace, self._devices[0])
            self._warmed = time.monotonic()

    def _launch_next(self, devices: str) -> None:
        run_id = self._waiting[0]
        try:
            self._launch(run_id, devices)
        except OSError as error:  # no process can be had
            traceback.print_exc()
            said, folder = explain(error), self.workspace.run(run_id)
            folder.events.append(Failed(problem=said.problem, remedy=said.remedy))
            folder.events.close()
        finally:
            self._waiting.pop(0)

    def _launch(self, run_id: str, device: str) -> None:
        folder = self.workspace.run(run_id)
        worker = self._warm if self._warm and self._warm.device == device else None
        if worker:
            self._warm = None
        if worker is None or not worker.take(folder):
            worker = WorkerProcess(self.workspace, device, folder)  # which imports what this run needs, and no more
        self._running[run_id] = worker
        self._active[run_id] = device

    def _reap(self) -> None:
        """Let go of runs that ended; say so for those that died before they could."""
        for run_id in list(self._active):
            worker = self._running.get(run_id)
            if worker is not None and worker.alive:
                continue
            try:
                state = self.store.state(run_id)
            except RunError:  # its folder was deleted
                self._active.pop(run_id)
                self._running.pop(run_id, None)
                continue
            if state.active and state.status != "queued":
                continue  # of an earlier server, or found by ours at work: alive as long as its process is
            if worker is not None and state.status == "queued" and run_id not in self._waiting:  # let go on since
                self._fail(run_id, worker.process.returncode)
            if worker is not None and state.lost and worker.device != DEVICE and memory_kills() > worker.kills:
                self._shrink(state)
            self._active.pop(run_id)
            self._running.pop(run_id, None)

    def _shrink(self, state: State) -> None:
        """Let a run whose process was killed for its memory go on in smaller batches, before all others."""
        smaller = shrink(RunConfig.parse(state.config).training, state.shrunk, state.step)
        if smaller is None:
            return
        folder = self.workspace.run(state.id)
        for event in (smaller, Queued()):
            folder.events.append(event)
        folder.events.close()
        self._waiting.insert(0, state.id)

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
