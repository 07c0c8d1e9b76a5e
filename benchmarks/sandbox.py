"""What hostile programs achieve in the sandbox, how long each lasted, and what a sandbox costs.

Claim: of the programs in tests/hostile.py none does its harm or passes for right, and each is gone within its limit.
The cost is the median over answers that are right at once, beside the same two processes of Python without a sandbox.

    python benchmarks/sandbox.py [--only corpus,cost] [--rounds 30]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _report
import psutil

from studio.sandbox import Limits, Task, available, run
from tests.hostile import HOSTILE, SECRET

RESULTS = Path(__file__).parent / "results" / "sandbox-cpu"
LIMITS = Limits(cpu=3, wall=6.0)
GONE = 1.0  # seconds beyond a limit within which a process must be gone


def corpus(_workspace: Any, _options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """One program after the other; what is outside is looked at after each."""
    lines, found, escapes, late = [], {}, 0, 0
    os.environ[SECRET] = "never to be seen"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listening:
        outside = Path(folder) / "kept.txt"
        outside.write_text(SECRET)
        listening.setblocking(False)
        for case in HOSTILE:
            started = time.monotonic()
            program = case.written(str(outside), listening.getsockname()[1])
            outcome = run(Task(case.tests), program, LIMITS)
            seconds = time.monotonic() - started
            held = outcome.why in case.why and _untouched(outside, listening)
            in_time = seconds < LIMITS.wall + GONE
            escapes, late = escapes + (not held), late + (not in_time)
            found[case.name] = {"why": outcome.why, "held": held, "seconds": seconds}
            lines.append(f"{case.name:<48} {outcome.why:<8} {seconds:>5.1f} s  {'held' if held else 'ESCAPED'}")
    del os.environ[SECRET]
    lines.append(f"{len(HOSTILE)} programs: {escapes} escapes, {late} not gone within {LIMITS.wall + GONE:.0f} s")
    return {"cases": found, "escapes": escapes, "late": late}, lines


def _untouched(outside: Path, listening: socket.socket) -> bool:
    """Whether nothing has changed out here, nobody has called, and nothing of it is left."""
    try:
        listening.accept()[0].close()
        return False
    except BlockingIOError:
        alone = [each.name for each in outside.parent.iterdir()] == [outside.name]
        return alone and outside.read_text() == SECRET and not psutil.Process().children(recursive=True)


def cost(_workspace: Any, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Seconds an answer, in turn with two bare processes that import the same."""
    task, answer, ours, bare = Task("assert f(2) == 4"), "def f(x):\n    return 2 * x", [], []
    for _ in range(options.rounds):
        outcome = run(task, answer)
        assert outcome.passed, outcome
        ours.append(outcome.seconds)
        started = time.monotonic()
        both = [subprocess.Popen([sys.executable, "-SBc", "import ast, json, resource, typing"]) for _ in range(2)]
        for each in both:
            each.wait()
        bare.append(time.monotonic() - started)
    lines = [
        _report.row("one answer in its sandboxes", ours, "s"),
        _report.row("two bare processes of Python", bare, "s"),
        _report.ratio("the sandboxes against those", bare, ours),
    ]
    return {"seconds": ours, "bare": bare}, lines


if __name__ == "__main__":
    possible, why = available()
    if not possible:
        sys.exit(why)
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    _report.measure(RESULTS, {"corpus": corpus, "cost": cost}, parser)
