"""A child process that answers requests, so that the page need not hold what they take.

It is talked to over two pipes, one JSON object a line. Requests: {"id", ...} and {"stop": id}. Replies:
{"id", ...} as often as the answer has parts, then {"id", "ended": true} or {"id", "error": [kind, problem, remedy]}.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from studio.errors import DatasetError, ModelError, StudioError, explain
from studio.launch import HUB, worker_environment
from studio.redaction import print_fault
from studio.seats import seat, shared

IDLE_SECONDS = 900.0  # after which a child gives its memory back
SHARED_SECONDS = 20.0  # the same, where others wait for that memory
_EVERY = 0.3  # seconds between two words on how far the same thing is

_CLOSED = ("This was ended to free its memory.", "Ask again; what it takes is then loaded anew.")
_KINDS: dict[str, type[StudioError]] = {"DatasetError": DatasetError}


class Died(ModelError):
    """The process ended amid an answer, and nobody here ended it."""


@dataclass(frozen=True)
class Progress:
    """What the child is busy with; total 0: unknown. Rows or texts at tokens, bytes at a model that is fetched."""

    doing: str
    done: float
    total: float


Part = Progress | dict[str, Any]  # of an answer: how far it is, or what came of it


class Child:
    """The parent's side. One request at a time; the process starts at the first one, and again if it ended."""

    def __init__(self, module: str, log: Path, problem: str, remedy: str, keys: Sequence[str] = HUB) -> None:
        """`problem` and `remedy` are what a person reads when the process dies during a request.

        `keys` are those of `worker_environment`; most may have to fetch the model that they are asked about.
        """
        self._module, self._log, self._death, self._keys = module, log, (problem, remedy), keys
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    @property
    def pid(self) -> int | None:
        """Of the process, where one is alive."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._turn.locked()

    def ask(self, request: dict[str, Any], seconds: float | None = None) -> Generator[dict[str, Any], None, None]:
        """The parts of the answer. Raises StudioError. Closing the iterator ends the answer.

        With `seconds`, a process that is longer about its answer is ended: TimeoutError.
        """
        with self._turn, seat():
            self._asked += 1
            late = threading.Event()
            process = None
            try:
                process = self._start()
                with _deadline(process, seconds, late):
                    _send(process, {"id": self._asked, **request})
                    yield from self._replies(process, self._asked)
            except (OSError, ValueError):
                closed = self._process is not process
                self.close()
                if late.is_set():
                    raise TimeoutError from None
                if closed:
                    raise ModelError(_CLOSED[0], remedy=_CLOSED[1]) from None
                raise Died(self._death[0], remedy=self._death[1]) from None

    def told(self, request: dict[str, Any]) -> Generator[Part, None, None]:
        """As `ask`, where the child says how far it is as `teller` does: that comes as Progress."""
        with contextlib.closing(self.ask(request)) as replies:
            for reply in replies:
                yield Progress(reply["doing"], reply["done"], reply["total"]) if "doing" in reply else reply

    def _replies(self, process: subprocess.Popen[bytes], asked: int) -> Generator[dict[str, Any], None, None]:
        assert process.stdout is not None
        try:
            while True:
                reply = json.loads(process.stdout.readline() or b"x")  # b"x": the pipe's end, a ValueError
                if reply["id"] != asked:
                    continue
                if "error" in reply:
                    kind, problem, remedy = reply["error"]
                    raise _KINDS.get(kind, ModelError)(problem, remedy=remedy)
                if "ended" in reply:
                    return
                yield reply
        except GeneratorExit:
            with contextlib.suppress(OSError, ValueError):  # it may have ended before us
                _send(process, {"stop": asked})
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=worker_environment(keys=self._keys),
                start_new_session=True,
            )
        return self._process

    def close(self) -> None:
        """End the process and free its memory, also amid an answer; the next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


@contextlib.contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float | None, late: threading.Event) -> Iterator[None]:
    """Kill the process if this takes longer; `late` says so."""

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds or 0, end)
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


# -- in the process ---------------------------------------------------------------------------------


class Reply(Protocol):
    """Sends a part of the answer."""

    def __call__(self, **values: Any) -> None: ...


class Stopped(Exception):
    """Nobody waits for the answer any more."""


Tell = Callable[[str, float, float], None]  # (what is being done, done, total); raises Stopped


def teller(reply: Reply, stop: Callable[[], bool]) -> Tell:
    """Sends {"doing", "done", "total"}: each new thing at once, of the same thing a few words a second."""
    said, when = "", 0.0

    def tell(doing: str, done: float, total: float) -> None:
        nonlocal said, when
        if stop():
            raise Stopped
        if doing != said or time.monotonic() > when + _EVERY:
            said, when = doing, time.monotonic()
            reply(doing=doing, done=done, total=total)

    return tell


Answer = Callable[[dict[str, Any], Reply, Callable[[], bool]], None]  # (request, reply, whether to stop)


def serve(answer: Answer, idle_seconds: float | None = None) -> None:
    """Answer until the parent is gone, or nobody has asked for that long."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be taken for a reply
    inbox = _Inbox()
    threading.Thread(target=inbox.listen, daemon=True).start()
    if idle_seconds is None:
        idle_seconds = SHARED_SECONDS if shared() else IDLE_SECONDS
    while (request := inbox.next(idle_seconds)) is not None:
        asked = request["id"]
        reply = _replier(replies, asked)
        try:
            with contextlib.suppress(Stopped):
                answer(request, reply, lambda asked=asked: inbox.stopped(asked))
            reply(ended=True)
        except BaseException as error:
            print_fault()
            said = explain(error)
            reply(error=[type(said).__name__, said.problem, said.remedy])


def _replier(replies: IO[bytes], asked: int) -> Reply:
    def reply(**values: Any) -> None:
        replies.write(json.dumps({"id": asked, **values}).encode() + b"\n")
        replies.flush()

    return reply


class _Inbox:
    """Read in a thread of its own, so that a stop is heard while an answer is being made."""

    def __init__(self) -> None:
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stopped: set[int] = set()
        self._over = False

    def listen(self) -> None:
        # Not sys.stdin, whose lock this thread would hold for ever: Python aborts over that when it ends.
        for line in os.fdopen(os.dup(0), "rb"):
            message = json.loads(line)
            if "stop" in message:
                self._stopped.add(message["stop"])
            else:
                self._requests.put(message)
        self._over = True
        self._requests.put(None)

    def next(self, seconds: float) -> dict[str, Any] | None:
        try:
            return self._requests.get(timeout=seconds)
        except queue.Empty:
            return None

    def stopped(self, asked: int) -> bool:
        return self._over or asked in self._stopped
