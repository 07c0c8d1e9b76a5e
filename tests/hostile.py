"""Programs that try what a sandbox is there to prevent, and what must come of each.

Each defines `f`, which tries its harm and returns a list of what it achieved: the tests want an empty one. What ends a
program instead is told by `why`. None is worse than it need be to show a hole: a fork bomb counts to a few hundred.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

TESTS = "assert f() == [], f()"
SECRET = "SECRET_OF_THE_STUDIO"  # name of an environment variable, and what a file outside begins with
CONTAINED = ("passed",)
_TRY = """
achieved = []
def attempt(name, act):
    try:
        act()
    except (OSError, RuntimeError, ValueError, EOFError, ImportError):
        return
    achieved.append(name)
def call(number, *args):
    import ctypes
    ctypes.set_errno(0)
    found = ctypes.CDLL(None, use_errno=True).syscall(number, *args)
    if found == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return found
"""


@dataclass(frozen=True)
class Hostile:
    """One program. OUTSIDE in it stands for a file that the studio can write, PORT for one that listens."""

    name: str
    program: str
    why: tuple[str, ...] = CONTAINED
    tests: str = TESTS

    def written(self, outside: str, port: int) -> str:
        """The program as it is run here."""
        body = textwrap.dedent(self.program).strip("\n")
        return _TRY + body.replace("OUTSIDE", repr(outside)).replace("PORT", str(port))


HOSTILE: tuple[Hostile, ...] = (
    # -- other processes
    Hostile("fork bomb", """
        def f():
            import os
            for _ in range(200):
                attempt("forked", lambda: os.fork() or os._exit(0))
            return achieved
    """),
    Hostile("fork bomb of forks", """
        def f():
            import os
            def grow(depth):
                for _ in range(4):
                    if os.fork() == 0 and depth < 3:
                        grow(depth + 1)
            attempt("forked", lambda: grow(0))
            return achieved
    """),
    Hostile("thread bomb", """
        def f():
            import threading, time
            for _ in range(300):
                attempt("thread", lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start())
            return achieved
    """),
    Hostile("other programs", """
        def f():
            import multiprocessing, os, subprocess, sys
            attempt("subprocess", lambda: subprocess.run([sys.executable, "-c", "pass"]))
            attempt("posix_spawn", lambda: os.posix_spawn(sys.executable, [sys.executable], {}))
            if os.system("true") == 0:
                achieved.append("shell")
            attempt("multiprocessing", lambda: multiprocessing.get_context("fork").Process(target=print).start())
            return achieved
    """),
    Hostile("daemon by two forks", """
        def f():
            import os
            def hide():
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        import time
                        time.sleep(600)
            attempt("daemon", hide)
            return achieved
    """),
    Hostile("clone past the library", """
        def f():
            import platform
            numbers = {"x86_64": (56, 57, 58, 435), "aarch64": (220, 435)}[platform.machine()]
            for number in numbers:
                attempt(number, lambda: call(number, 17, 0, 0, 0, 0))
            return achieved
    """),
    Hostile("kill all", """
        def f():
            import os, signal
            for one in (os.getppid(), 1, -1):
                try:
                    os.kill(one, signal.SIGKILL)
                except OSError:
                    pass
            return []
    """),
    Hostile("ptrace", """
        def f():
            import os, platform
            number = {"x86_64": 101, "aarch64": 117}[platform.machine()]
            for one in (os.getppid(), 1, 2):
                attempt(one, lambda: call(number, 16, one, 0, 0))
            attempt("read memory", lambda: open("/proc/1/mem", "rb"))
            attempt("fds", lambda: os.listdir("/proc/self/fd"))
            return achieved
    """),
    # -- the network
    Hostile("sockets", """
        def f():
            import socket
            def connect():
                socket.create_connection(("127.0.0.1", PORT), timeout=2).sendall(b"here")
            attempt("tcp", connect)
            for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, 40):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                    attempt((int(family), int(kind)), lambda: socket.socket(family, kind))
            return achieved
    """),
    Hostile("names and pages", """
        def f():
            import socket, urllib.request
            attempt("dns", lambda: socket.getaddrinfo("example.com", 443))
            attempt("page", lambda: urllib.request.urlopen("http://127.0.0.1:PORT/", timeout=2))
            return achieved
    """),
    # -- what is there to read
    Hostile("environment", """
        def f():
            import os
            own = {"PYTHONHOME", "PYTHONPATH", "PYTHONHASHSEED", "PWD", "LC_CTYPE"}
            for path in ("/proc/self/environ", "/proc/1/environ", "/proc/2/environ"):
                attempt(path, lambda: open(path, "rb").read())
            return achieved + sorted(set(os.environ) - own)
    """),
    Hostile("files outside", """
        def f():
            import glob, os
            for path in (OUTSIDE, "/etc/passwd", "/etc/shadow", "/etc/hostname", "/etc/resolv.conf", "/proc/1/root",
                         "/proc/self/maps", "/sys/class/net", "/dev/mem", "/dev/sda", "/dev/vda", "/run", "/var",
                         "/dev/shm", "/dev/tty", "/proc/net/route", os.path.dirname(OUTSIDE)):
                if os.path.lexists(path):
                    achieved.append(path)
            home = [os.path.join(top, each) for top, names, files in os.walk("/root") for each in files
                    if "/lib/" not in top + "/" and not each.startswith("python")]
            found = [each for top in ("/home", "/root/.ssh", "/root/.netrc") for each in glob.glob(top + "/*")]
            return achieved + home[:5] + found[:5] + os.listdir("/tmp")
    """),
    Hostile("its own tests", """
        def f():
            return ["read"] if open("/inside/job.json").read() else []
    """),
    Hostile("links to files outside", """
        def f():
            import os
            for number, path in enumerate((OUTSIDE, "/etc/passwd", "../../../etc/passwd", "/proc/1/root/etc/passwd")):
                link = f"/tmp/link{number}"
                attempt("symlink " + path, lambda: (os.symlink(path, link), open(link).read()))
                attempt("hard link " + path, lambda: os.link(path, link + "hard"))
                attempt("written " + path, lambda: open(link, "w").write("here") if os.path.exists(link) else int("x"))
            attempt("fd", lambda: open("/dev/fd/3"))
            return achieved
    """),
    Hostile("open descriptors", """
        def f():
            import os, stat
            found = []
            for number in range(256):
                try:
                    kind = os.fstat(number).st_mode
                except OSError:
                    continue
                if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
                    found.append(number)
            return found
    """),
    # -- what is there to write
    Hostile("files to write outside", """
        def f():
            import os
            stdlib = os.path.dirname(os.__file__)
            for path in (OUTSIDE, "/new", "/inside/new", "/inside/studio/sandboxed.py", "/dev/new", "/dev/shm/new",
                         "/usr/lib/new", stdlib + "/new.py", stdlib + "/site-packages/new.py", "/lib/new"):
                attempt(path, lambda: open(path, "w").write("here"))
                attempt(path + "/", lambda: os.mkdir(path + ".d"))
            attempt("mounted", lambda: os.chroot("/tmp"))
            attempt("chmod", lambda: os.chmod(stdlib, 0o777))
            return achieved
    """),
    Hostile("full disk", """
        def f():
            import os
            total = 0
            try:
                for number in range(1000):
                    with open(f"/tmp/{number}", "wb") as file:
                        for _ in range(16):
                            total += file.write(bytes(2**20))
            except OSError:
                pass
            return [total] if total > 17 * 2**20 else []
    """),
    Hostile("endless output", """
        def f():
            while True:
                print("x" * 10_000, flush=True)
    """, ("output",)),
    Hostile("endless errors while loading", """
        import os
        while True:
            os.write(2, b"x" * 10_000)
    """, ("output",)),
    # -- memory and time
    Hostile("10 GB at once", """
        def f():
            return [len(bytearray(10 * 2**30))]
    """, ("memory",)),
    Hostile("10 GB bit by bit", """
        def f():
            kept = []
            while True:
                kept.append(bytearray(2**24))
    """, ("memory", "time")),
    Hostile("memory that limits do not count", """
        def f():
            import mmap, os, platform
            numbers = {"x86_64": (319, 29, 447), "aarch64": (279, 194, 447)}[platform.machine()]
            attempt("memfd", lambda: os.memfd_create("x"))
            attempt("shm", lambda: call(numbers[1], 0, 2**34, 0o1666))
            attempt("memfd_secret", lambda: call(numbers[2], 0))
            attempt("shared", lambda: mmap.mmap(-1, 2**33))
            return achieved
    """),
    Hostile("limits raised", """
        def f():
            import resource
            for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
                attempt(kind, lambda: resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))
            return achieved
    """),
    Hostile("signals ignored", """
        def f():
            import signal
            for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            while True:
                pass
    """, ("time",)),
    Hostile("sleep", """
        import time
        def f():
            while True:
                try:
                    time.sleep(3600)
                except BaseException:
                    pass
    """, ("time",)),
    Hostile("stopped process", """
        def f():
            import os, signal
            os.kill(os.getpid(), signal.SIGSTOP)
            return []
    """, ("time",)),
    Hostile("deep recursion", """
        import sys
        def f():
            sys.setrecursionlimit(10**9)
            def down(n):
                return down(n + 1) + 1
            return [down(0)]
    """, ("ended", "memory", "error", "time")),
    Hostile("deep recursion in C", """
        import sys
        def f():
            sys.setrecursionlimit(10**9)
            deep = []
            for _ in range(10**6):
                deep = [deep]
            return [repr(deep)]
    """, ("ended", "memory", "error", "time")),
    Hostile("deep reply", """
        def f():
            deep = []
            for _ in range(900):
                deep = [deep]
            return deep
    """, ("error", "wrong", "ended")),
    Hostile("huge reply", """
        def f():
            return ["x" * 2**26]
    """, ("ended", "memory")),
    # -- the kernel
    Hostile("namespaces", """
        def f():
            import platform
            unshare, setns, mount = {"x86_64": (272, 308, 165), "aarch64": (97, 268, 40)}[platform.machine()]
            for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
                attempt(("unshare", flag), lambda: call(unshare, flag))
            attempt("setns", lambda: call(setns, 0, 0))
            attempt("mount", lambda: call(mount, b"none", b"/tmp", b"tmpfs", 0, 0))
            attempt("io_uring", lambda: call(425, 8, bytes(120)))
            attempt("keyctl", lambda: call({"x86_64": 250, "aarch64": 219}[platform.machine()], 0, -3, 1))
            return achieved
    """),
    Hostile("another user", """
        def f():
            import os
            for act in (os.setuid, os.setgid):
                attempt(act.__name__, lambda: act(0))
            attempt("groups", lambda: os.setgroups([0]))
            return achieved
    """),
    # -- the verdict
    Hostile("ends itself while loading", "import sys\nsys.exit(0)", ("ended",)),
    Hostile("ends itself at once", "import os\nos._exit(0)", ("ended",)),
    Hostile("ends itself when called", """
        def f():
            raise SystemExit(0)
    """, ("ended",)),
    Hostile("ends itself under tests that catch everything", """
        import os
        def f():
            os._exit(0)
    """, ("ended",), "try:\n    f()\nexcept:\n    pass"),
    Hostile("forged verdict", """
        import os
        said = b'{"why": "passed", "detail": ""}\\n'
        for number in range(256):
            try:
                os.write(number, said)
            except OSError:
                pass
        os._exit(0)
    """, ("ended", "error")),
    Hostile("forged verdict in the place of a reply", """
        import os
        def f():
            for number in range(256):
                try:
                    os.write(number, b'{"why": "passed", "detail": ""}\\n{"ready": true}\\n{"value": null}\\n')
                except OSError:
                    pass
            return 1
    """, ("error", "wrong", "ended")),
    Hostile("loops of the tests ended", """
        def f(x):
            raise StopIteration
    """, ("error",), "assert all(map(lambda x: f(x) == x, [1, 2]))"),
    Hostile("loops of the tests ended by a reply of no kind", """
        import os
        def f(x):
            for number in range(256):
                try:
                    os.write(number, b'{"value": ["nokind", 0]}\\n')
                except OSError:
                    pass
    """, ("error",), "assert all(map(lambda x: f(x) == x, [1, 2]))"),
    Hostile("equal to everything", """
        class Anything(list):
            def __eq__(self, other): return True
            def __len__(self): return 0
        def f():
            return Anything([1])
    """, ("wrong",)),
    Hostile("equal to everything, as an object", """
        class Thing:
            def __eq__(self, other): return True
            def __bool__(self): return True
        def f():
            return Thing()
    """, ("wrong",)),
    Hostile("a number that is every number", """
        class Number(int):
            def __eq__(self, other): return True
            def __sub__(self, other): return 0
        def f():
            return Number(7)
    """, ("wrong",), "assert f() == 8"),
    Hostile("the language changed", """
        import builtins, json, sys
        builtins.AssertionError = type("Never", (Exception,), {})
        builtins.all = builtins.any = builtins.isinstance = lambda *_: True
        for module in list(sys.modules.values()):
            if hasattr(module, "judge"):
                module.judge = lambda *_, **__: ("passed", "")
        def f():
            return ["changed"]
    """, ("wrong", "error", "ended")),
    Hostile("frames and memory searched for the tests", """
        import gc, sys
        def f():
            frame, found = sys._getframe(), []
            while frame:
                found += [name for name in (*frame.f_locals, *frame.f_globals) if name in ("job", "tests", "setup")]
                frame = frame.f_back
            kept = [each for each in gc.get_objects() if isinstance(each, dict)]
            return found + [1 for each in kept if "tests" in each and "setup" in each]
    """),
    Hostile("names that the tests use", """
        def assertion(*_): return True
        abs = isclose = round = lambda *_: 0
        class math:
            isclose = staticmethod(lambda *_, **__: True)
        def f():
            return 3.0
    """, ("wrong",), "assert math.isclose(f(), 4.0)\nassert abs(f() - 4.0) < 0.1"),
    Hostile("parser", "x = " + "(" * 100_000, ("syntax", "memory", "ended", "error")),
)  # fmt: skip
