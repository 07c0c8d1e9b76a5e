"""A sandbox for programs that nobody knows, such as those that models write, and a verdict that they cannot forge.

bubblewrap (github.com/containers/bubblewrap) makes it: namespaces of its own for users, processes, the network, IPC
and the host's name; no environment; a read-only root of the interpreter, its standard library and the system's shared
libraries; a small /tmp in memory. A seccomp filter leaves it without new processes, sockets and the calls that only
attacks need; hard limits (setrlimit) are set before anything of the program is read. docs/code-execution.md says
what that is meant to withstand. Where no such sandbox can be had, nothing is run: there is no other way.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import platform
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from studio.errors import StudioError

WHY: dict[str, str] = {
    "passed": "passed all tests",
    "wrong": "a test failed: the result was another one",
    "error": "raised an exception",
    "syntax": "is no Python",
    "ended": "ended before its tests did",
    "time": "took too long",
    "memory": "took too much memory",
    "output": "wrote without end",
    "tests": "the tests themselves cannot be used",
}
_INSIDE = "/inside"  # where the sandbox has the two files that run there
_PRINTED = 2000  # letters of what a program wrote that are kept
_GRACE = 3.0  # seconds for a process that was ended to be gone


class SandboxError(StudioError):
    """No sandbox can be had, or one did not start."""


@dataclass(frozen=True)
class Limits:
    """For a program, and once more for its tests."""

    cpu: int = 5  # seconds of computing
    wall: float = 20.0  # seconds that both may last together, waiting included
    memory: int = 512 * 2**20  # bytes of address space
    files: int = 16 * 2**20  # bytes that may be written to /tmp
    output: int = 256 * 1024  # bytes that may be printed


@dataclass(frozen=True)
class Task:
    """What a program must do. All of it is text; nothing of it is run outside a sandbox."""

    tests: str  # Python that calls the program: assertions, HumanEval's check(candidate), functions named test_…
    prompt: str = ""  # what the model was asked; its code counts where that defines the entry point
    entry_point: str = ""  # the function that is tested; without it, what the tests use and do not define
    setup: str = ""  # Python that tests want before them


@dataclass(frozen=True)
class Outcome:
    """What came of one answer."""

    why: str  # of WHY; "stopped" where nobody wanted to know any more
    detail: str = ""  # the exception, or what failed; from the program, so text that nobody vouches for
    printed: str = ""  # the end of what it wrote
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all tests went through."""
        return self.why == "passed"

    @property
    def ran(self) -> bool:
        """Whether the program ran through its tests without failing by itself, be its results right or wrong."""
        return self.why in ("passed", "wrong")


# -- whether there can be one -----------------------------------------------------------------------

_PROVEN: set[str] = set()  # paths of a bwrap whose sandbox held

# Tries what a sandbox must not allow, and tells what of it worked.
_PROBE = """
import os, socket
def allowed():
    found = ["variables"] if set(os.environ) - {"PYTHONHOME", "PYTHONPATH", "PYTHONHASHSEED", "PWD", "LC_CTYPE"} else []
    acts = {"processes": os.fork, "sockets": socket.socket, "files": lambda: open("/probe", "w")}
    for name, act in acts.items():
        try:
            act()
            found.append(name)
        except OSError:
            pass
    return found
"""


def available() -> tuple[bool, str]:
    """(Whether programs can be run safely here, where not why not and what to do, in sentences).

    The first time it tries: what is installed may still be refused by the system.
    """
    found = _command()
    if isinstance(found, SandboxError):
        return False, str(found)
    if found not in _PROVEN:
        try:
            outcome = run(Task("assert allowed() == [], allowed()"), _PROBE)
        except SandboxError as error:
            return False, str(error)
        if not outcome.passed:
            return (
                False,
                f"The sandbox of this system does not hold ({outcome.detail or outcome.why}), so it is unused.",
            )
        _PROVEN.add(found)
    return True, ""


def _command() -> str | SandboxError:
    """Where bubblewrap is, or what is missing."""
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES:
        return SandboxError(
            "Programs that a model writes run only in a sandbox, and this system has none that is known here.",
            remedy="Evaluate them on Linux, on an x86-64 or ARM64 processor.",
        )
    return shutil.which("bwrap") or SandboxError(
        "Programs that a model writes run only in a sandbox, and bubblewrap, which makes it, is not installed.",
        remedy="Install it (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap).",
    )


# -- what it is made of -----------------------------------------------------------------------------

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH of linux/audit.h

# Calls that are refused: their numbers on x86-64 and ARM64, None where there is none.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # New processes and threads: one process is what a limit of memory can hold.
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None),
    # The network, again: some sockets, such as a virtual machine's to its host, know no namespaces.
    "socket": (41, 198), "io_uring_setup": (425, 425),
    # Memory that no limit of a process counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Other processes, namespaces, mounts, and doors into the kernel that no program of a data set needs.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "fsopen": (430, 430), "open_tree": (428, 428), "mount_setattr": (442, 442), "chroot": (161, 51),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "personality": (135, 92),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "kexec_load": (246, 104), "init_module": (175, 105),
    "finit_module": (313, 273), "quotactl": (179, 60), "syslog": (103, 116), "reboot": (169, 142), "swapon": (167, 224),
}  # fmt: skip


def seccomp_filter(machine: str) -> bytes:
    """The filter that refuses those calls with EPERM, as the kernel reads it: 8 bytes an instruction.

    struct sock_filter of linux/filter.h {u16 code; u8 jt, jf; u32 k} over seccomp_data {nr at 0, arch at 4}. A call
    of another architecture (on x86-64 also the x32 numbers, from 2^30 on) ends the process.
    """
    column, architecture = _ARCHITECTURES[machine]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
    lines = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    lines += [(at_least, 0, 1, 2**30), (give, 0, 0, kill)]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            lines += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    return b"".join(struct.pack("HBBI", *line) for line in [*lines, (give, 0, 0, allow)])


@functools.cache
def _root() -> tuple[str, ...]:
    """bwrap's arguments for what programs see of the file system: nothing of it can be written but /tmp."""
    home, stdlib = Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))
    libraries = [Path(each) for each in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")]
    seen = {*libraries, home / "lib", stdlib, Path(sys.executable).resolve()}
    here = Path(__file__).parent
    bound = [part for path in sorted(seen) if path.exists() for part in ("--ro-bind", str(path), str(path))]
    for name in ("sandboxed.py", "programs.py"):
        bound += ["--ro-bind", str(here / name), f"{_INSIDE}/studio/{name}"]
    # Packages that others installed are no part of the language, and may hold anything.
    packages = (stdlib / "site-packages", *(each / "python3" / "dist-packages" for each in libraries))
    for path in filter(Path.is_dir, packages):
        bound += ["--tmpfs", str(path), "--remount-ro", str(path)]
    return (*bound, "--dev-bind", "/dev/null", "/dev/null")


def _start(
    part: str, limits: Limits, heard: IO[bytes] | int, said: IO[bytes] | int, job: str
) -> subprocess.Popen[bytes]:
    """One of the two processes, in a sandbox of its own: it dies with the thread that started it.

    The files it is set up with are memory without a name. Raises SandboxError.
    """
    command = _command()
    if isinstance(command, SandboxError):
        raise command
    limited = json.dumps({"cpu": limits.cpu, "memory": limits.memory, "files": limits.files})
    variables = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": _INSIDE, "PYTHONHASHSEED": "0"}
    with contextlib.ExitStack() as files:
        rules, task = (files.enter_context(_held(text)) for text in (seccomp_filter(platform.machine()), job.encode()))
        arguments = ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
        arguments += ["--cap-drop", "ALL", "--die-with-parent", "--clearenv", *_root()]
        arguments += [part for pair in variables.items() for part in ("--setenv", *pair)]
        arguments += ["--size", str(limits.files), "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108 - its own
        arguments += ["--file", str(task), f"{_INSIDE}/job.json", "--remount-ro", "/", "--seccomp", str(rules), "--"]
        python = [str(Path(sys.executable).resolve()), "-suSPB", "-Wignore", "-Xutf8", "-m", "studio.sandboxed"]
        return subprocess.Popen(
            [command, *arguments, *python, part, limited, f"{_INSIDE}/job.json"],
            stdin=heard,
            stdout=said,
            stderr=subprocess.PIPE,
            env={},
            pass_fds=(rules, task),
            start_new_session=True,  # no terminal, and a group of its own that can be ended whole
        )


@contextlib.contextmanager
def _held(content: bytes) -> Iterator[int]:
    """A file descriptor from which that can be read once."""
    descriptor = os.memfd_create("sandbox")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


# -- running one answer -----------------------------------------------------------------------------


def run(task: Task, answer: str, limits: Limits | None = None, stop: threading.Event | None = None) -> Outcome:
    """What came of the program in an answer under a task's tests. Raises SandboxError where no sandbox starts.

    `stop`, once set, ends both processes. It returns when both are gone, within `limits.wall` and some seconds.
    """
    limits, started = limits or Limits(), time.monotonic()
    asked = {"prompt": task.prompt, "answer": answer, "entry_point": task.entry_point}
    job = json.dumps({**asked, "setup": task.setup, "tests": task.tests})
    program = _start("answer", limits, subprocess.PIPE, subprocess.PIPE, "")
    try:
        assert program.stdin
        assert program.stdout
        tests = _start("test", limits, program.stdout, program.stdin, job)
    except BaseException:
        _end(program)
        raise
    try:
        program.stdin.close()
        program.stdout.close()
        why, verdict, printed = _watch(program, tests, limits, stop)
        if not why:
            early = time.monotonic() - started < limits.cpu
            why, detail = _verdict(program, tests, verdict, printed, early=early)
        else:
            detail = ""
    finally:
        _end(tests)
        _end(program)
    text = printed.decode(errors="replace")[-_PRINTED:]
    return Outcome(why, detail, text, time.monotonic() - started)


def _watch(
    program: subprocess.Popen[bytes], tests: subprocess.Popen[bytes], limits: Limits, stop: threading.Event | None
) -> tuple[str, bytes, bytes]:
    """(Why it had to be ended, "" where it ended by itself; what the tests said; what the program wrote)."""
    said, printed, ends = bytearray(), bytearray(), time.monotonic() + limits.wall
    with selectors.DefaultSelector() as pipes:
        for process, heard in ((program, printed), (tests, said)):
            assert process.stderr
            pipes.register(process.stderr, selectors.EVENT_READ, heard)
        ended = False
        while True:
            if stop is not None and stop.is_set():
                return "stopped", bytes(said), bytes(printed)
            if (left := ends - time.monotonic()) <= 0:
                return "time", bytes(said), bytes(printed)
            ready = pipes.select(0 if ended else min(left, 0.1))
            if ended and not ready:  # all is read that was written until then
                return "", bytes(said), bytes(printed)
            for key, _ in ready:
                part = os.read(key.fd, 65536)
                key.data.extend(part)
                if not part:
                    pipes.unregister(key.fileobj)
                    ended = ended or key.data is said
            if max(len(printed), len(said)) > limits.output:
                return "output", bytes(said), bytes(printed)


def _verdict(
    program: subprocess.Popen[bytes], tests: subprocess.Popen[bytes], said: bytes, printed: bytes, *, early: bool
) -> tuple[str, str]:
    """(why, detail), of what the tests said and of how both ended. Raises SandboxError where one did not start.

    `early`: before the program can have computed as long as it may.
    """
    lines = said.decode(errors="replace").strip().splitlines()
    try:
        told = json.loads(lines[-1])
        why, detail = str(told["why"]), str(told["detail"]).encode(errors="replace").decode()  # no half letters
    except (IndexError, ValueError, KeyError, TypeError):
        if lines and lines[-1].startswith("bwrap:"):
            raise _unstarted(lines[-1]) from None
        return _ending(tests, ("tests", "The tests ended without a word."), early=early)
    if why == "sandbox":
        raise _unstarted(printed.decode(errors="replace").strip()[-_PRINTED:])
    if why == "ended" and b"MemoryError" in printed:
        return "memory", detail
    if why == "ended":
        return _ending(program, (why, detail), early=early)
    return (why, detail) if why in WHY else ("tests", "The tests gave another verdict than their own.")


def _ending(process: subprocess.Popen[bytes], otherwise: tuple[str, str], *, early: bool) -> tuple[str, str]:
    """(why, detail) of a process that ended amid its work: the signal that ended it says why."""
    try:
        number = process.wait(_GRACE) - 128  # as shells and bwrap tell of signals
    except subprocess.TimeoutExpired:
        return otherwise
    if early and number == signal.SIGKILL:
        return otherwise[0], "It was killed, by itself or because this machine's memory was full."
    if number in (signal.SIGXCPU, signal.SIGKILL):  # the soft and the hard limit of computing
        return "time", ""
    return (otherwise[0], f"It crashed ({signal.Signals(number).name}).") if number > 0 else otherwise


def _unstarted(said: str) -> SandboxError:
    return SandboxError(
        f"The sandbox did not start: {said or 'it said nothing'}.",
        remedy="It needs bubblewrap 0.8 or newer, and a system that lets users have namespaces of their own; "
        "docs/code-execution.md says how.",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a sandbox and wait until all in it are gone: none holds its standard error any more.

    Not bubblewrap alone, whose first child would wait for its word without end if killed at the very beginning: its
    group, in which the first process of the namespace is, and with that all that are in there.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for each in filter(None, (process.stdin, process.stdout)):
        each.close()
    assert process.stderr
    with process.stderr as pipe, selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        ends = time.monotonic() + _GRACE
        while time.monotonic() < ends and waiting.select(0.1) and os.read(pipe.fileno(), 65536):
            pass
    process.wait()
