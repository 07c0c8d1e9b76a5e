"""What the watchdog sees of a real process and of a clock."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from studio.watchdog import Watchdog


def test_a_process_that_neither_speaks_nor_works_is_silent() -> None:
    now = [0.0]
    dog = Watchdog(lambda: now[0], lambda: now[0])
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        process = psutil.Process(child.pid)
        dog.look([("run", 10, process)])
        time.sleep(0.3)
        now[0] = 50
        dog.look([("run", 10, process)])
        assert dog.silent("run") == 0  # it works
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        dog.look([("run", 10, process)])
        now[0] = 120
        dog.look([("run", 10, process)])
        assert dog.silent("run") == 70
        dog.look([("run", 11, process)])
        assert dog.silent("run") == 0  # it spoke
        dog.look([])
        assert dog.silent("run") == 0
        child.kill()


@pytest.mark.parametrize(("moved", "told"), [(3600, 3600), (-7200, -7200), (3, 0)])
def test_a_clock_that_jumps_is_told_once(moved: float, told: float) -> None:
    passed, clock = [100.0], [1e9]
    dog = Watchdog(lambda: passed[0], lambda: clock[0])
    passed[0] += 5
    clock[0] += 5
    assert dog.jumped() == 0
    clock[0] += moved
    assert dog.jumped() == told
    assert dog.jumped() == 0
