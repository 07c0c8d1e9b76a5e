"""Starts our processes as forks of one that has imported what they need: most of a short run is imports.

`python -m tests.nursery SOCKET MODULE...` imports the modules, then listens. Each connection asks for one process:
three file descriptors beside the length of a JSON object, {"module", "arguments", "environment", "folder"}, which
follows. The answer is its process id and, once it has ended, its return code. `popen` is the other side. What is
started is a process of its own in a session of its own, the module run as `python -m` would; it starts others in the
same way.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from studio.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
WORKER, STUDIO = ("studio.worker",), ("tabs.app",)  # what is imported for a run or an answer, and for a studio
PLACE = "FINETUNE_STUDIO_TESTS_NURSERY"  # environment variable: the folder of the sockets
STARTED = {  # by whom it is started; `python -m` of any other module is started as ever
    "studio.worker": WORKER,
    **dict.fromkeys(
        (f"studio.{each}" for each in ("bencher", "carder", "examiner", "exporter", "previewer", "responder", "stage")),
        WORKER,
    ),
    **dict.fromkeys(
        (f"studio.{each}" for each in ("evaluator", "inspector", "prompter", "querier", "weigher", "writer")), WORKER
    ),
    "tabs._main": STUDIO,
    "tests.ui.brief": STUDIO,
    "tests.ui.first_tiny": STUDIO,
}
_NUMBER = struct.Struct("<i")


class Forked:
    """As subprocess.Popen, as far as it is used here."""

    def __init__(
        self, command: Sequence[str], nursery: str, streams: list[Any], environment: dict[str, str], folder: Path
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self._lock = threading.Lock()
        module, *arguments = command[2:]
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(nursery)
        given, (self.stdin, self.stdout, self.stderr) = _descriptors(streams)
        asked = {"module": module, "arguments": arguments, "environment": environment, "folder": str(folder)}
        message = json.dumps(asked).encode()
        socket.send_fds(self._socket, [_NUMBER.pack(len(message))], given)
        self._socket.sendall(message)
        for each in set(given) - {0, 1, 2}:
            os.close(each)
        self.pid: int = _NUMBER.unpack(_exactly(self._socket, _NUMBER.size))[0]

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.returncode if self.returncode is not None else self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is not None:
            return self.returncode
        if not select.select([self._socket], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = int(_NUMBER.unpack(_exactly(self._socket, _NUMBER.size))[0])
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __del__(self) -> None:
        self._socket.close()


class Subprocess:
    """The module `subprocess` to ours, but that what a nursery has is forked."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    @staticmethod
    def Popen(command: Sequence[str], **options: Any) -> Forked | subprocess.Popen[bytes]:
        return popen(command, **options)


def popen(command: Sequence[str], **options: Any) -> Any:
    """`subprocess.Popen`, forked where a nursery has imported what it needs."""
    environment = options.get("env") or dict(os.environ)
    ours = list(command[:2]) == [sys.executable, "-m"] and command[2] in STARTED
    if ours and environment.get("OMP_NUM_THREADS") == "1" and (path := _nursery(STARTED[command[2]])):
        streams = [options.get(each) for each in ("stdin", "stdout", "stderr")]
        return Forked(command, path, streams, environment, Path(options.get("cwd") or ".").absolute())
    return subprocess.Popen(command, **options)


def ready(module: str) -> None:
    """Have what `module` needs imported, so that whoever else starts it, such as a studio, need not."""
    _nursery(STARTED[module])


def install(*, starts: bool = False) -> None:
    """Let this process start what it starts through nurseries; which it `starts`, or only has where there are some."""
    global _starts
    if sys.platform != "linux" or Path("/dev/nvidiactl").exists():  # a fork cannot use a GPU that was looked at before
        return
    if starts:
        folder = tempfile.TemporaryDirectory(prefix="nursery-")
        atexit.register(folder.cleanup)
        os.environ[PLACE], _starts = folder.name, True
    for name in ("studio.launch", "studio.child", "studio.cli"):
        importlib.import_module(name).__dict__["subprocess"] = Subprocess()


_starts = False
_starting = threading.Lock()


def _descriptors(streams: list[Any]) -> tuple[list[int], list[IO[bytes] | None]]:
    """What the process is given as 0, 1 and 2, and our ends of its pipes."""
    given: list[int] = []
    ours: list[IO[bytes] | None] = [None, None, None]
    for number, stream in enumerate(streams):
        if stream == subprocess.PIPE:
            read, write = os.pipe()
            given.append(write if number else read)
            ours[number] = os.fdopen(read, "rb") if number else os.fdopen(write, "wb")
        elif stream == subprocess.DEVNULL:
            given.append(os.open(os.devnull, os.O_RDWR))
        elif stream == subprocess.STDOUT:
            given.append(os.dup(given[1]))
        else:
            given.append(os.dup(number if stream is None else stream.fileno()))
    return given, ours


def _nursery(modules: tuple[str, ...]) -> str | None:
    """The socket of the one that has imported `modules`; None where there is none, and a fork asks."""
    with _starting:
        path = os.path.join(os.environ[PLACE], "-".join(modules))
        if not os.path.exists(path):
            if not _starts:
                return None
            _start(path, modules)
        return path


def _start(path: str, modules: tuple[str, ...]) -> None:
    """It ends when this process does."""
    from studio.launch import worker_environment

    command = [sys.executable, "-m", "tests.nursery", path, *modules]
    environment = {**worker_environment(), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()

    def end() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait()

    atexit.register(end)


# -- the nursery ---------------------------------------------------------------------------------------------------


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        assert part, "the nursery has ended"
        parts += part
    return bytes(parts)


def _serve(listening: socket.socket) -> dict[str, Any] | None:
    """Fork for whoever asks: to the fork, what was asked; to the nursery None, when nobody is left to ask."""
    waiting: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for each in (listening, woken, sys.stdin):
            selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is woken:
                    woken.recv(1024)
                    _tell(waiting)
                    continue
                connection, _ = listening.accept()
                size, given, *_ = socket.recv_fds(connection, _NUMBER.size, 3)
                asked = json.loads(_exactly(connection, _NUMBER.unpack(size)[0]))
                if pid := os.fork():
                    waiting[pid] = connection
                    connection.sendall(_NUMBER.pack(pid))
                    for each in given:
                        os.close(each)
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listening, woken, wakes, connection, *waiting.values()):
                    each.close()
                for number, each in enumerate(given):
                    os.dup2(each, number)
                    os.close(each)
                return asked


def _tell(waiting: dict[int, socket.socket]) -> None:
    """Say of all that have ended how they did."""
    for pid in list(waiting):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with waiting.pop(pid) as connection, suppress(OSError):
                connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _begin(asked: dict[str, Any]) -> None:
    """Be what was asked for."""
    os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = [asked["module"], *asked["arguments"]]
    install()
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def _main() -> None:
    path, *modules = sys.argv[1:]
    for module in modules:
        imported = importlib.import_module(module)
        if hasattr(imported, "warm_up"):
            imported.warm_up()
    if "tabs.app" in modules:  # what is first imported when a page is built
        with tempfile.TemporaryDirectory() as folder:
            sys.modules["tabs.app"].make_app(Workspace(Path(folder)).create(), keep_warm=False)
    if "studio.worker" in modules:
        del sys.modules["studio.worker"]  # it is run as a program, and not twice
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        os.write(1, b"ready\n")
        asked = _serve(listening)
    if asked is not None:
        _begin(asked)


if __name__ == "__main__":
    _main()
