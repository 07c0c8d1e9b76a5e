"""What does a workshop of many people cost beside as many studios of their own?

Claim: forked from one process that has imported what a page needs, a person's studio opens sooner and takes less memory
than a studio started for each. Both open at once for all people; memory is counted in shares, so that what processes
share counts once.

    python benchmarks/workshop.py [--people 30] [--alone 6]

`--alone` is how many studios of their own are started. Prints and writes results/workshop-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import _report
import httpx
import psutil

from studio.workshop import Workshop
from studio.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "workshop-cpu"


@contextmanager
def studio(folder: Path, *arguments: str) -> Iterator[tuple[psutil.Process, str]]:
    """A process as a person starts it, and its address once it is served."""
    log = folder / "log"
    with log.open("wb") as out:
        process = psutil.Popen(
            [sys.executable, "-m", "tabs._main", "--no-browser", "--no-warm-worker", "--port", "0",
             "--workspace", str(folder / "w"), *arguments],
            stdout=out, stderr=out, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            time.sleep(0.05)
        yield process, found[0]
    finally:
        process.terminate()
        try:
            process.wait(20)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            process.kill()


def memory(*processes: psutil.Process) -> float:
    """MB of all of them and of what they started."""
    every = {each.pid: each for process in processes for each in (process, *process.children(recursive=True))}
    return sum(each.memory_full_info().pss for each in every.values()) / 1e6


def together(people: int) -> tuple[list[float], float]:
    """Seconds until each has their page, and MB of all."""
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder), "--workshop") as (process, url):
        code = Workshop(Workspace(Path(folder) / "w")).code

        def come(number: int) -> float:
            began = time.monotonic()
            with httpx.Client(base_url=url, timeout=600) as client:
                client.post("/studio/door", data={"name": f"Person {number}", "word": "a word of mine", "code": code})
                assert client.get("/").status_code == 200
            return time.monotonic() - began

        with ThreadPoolExecutor(people) as pool:
            seconds = list(pool.map(come, range(people)))
        return seconds, memory(process)


def apart(people: int) -> tuple[list[float], float]:
    """The same for studios of their own."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_:

        def start(number: int) -> tuple[float, Any]:
            began, own = time.monotonic(), Path(folder) / str(number)
            own.mkdir()
            process, url = open_.enter_context(studio(own))
            assert httpx.get(url, timeout=600).status_code == 200
            return time.monotonic() - began, process

        with ThreadPoolExecutor(people) as pool:
            found = list(pool.map(start, range(people)))
        return [seconds for seconds, _ in found], memory(*(process for _, process in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--alone", type=int, default=6)
    options = parser.parse_args()
    print(_report.machine())
    few, few_held = together(options.alone)
    own, own_held = apart(options.alone)
    many, many_held = together(options.people)
    lines = [
        f"{options.alone} at once, the last page: workshop {max(few):.1f} s, studios of their own {max(own):.1f} s",
        f"{options.alone} at once, memory: workshop {few_held:.0f} MB, studios of their own {own_held:.0f} MB",
        f"{options.people} at once: half of the pages after {statistics.median(many):.1f} s, all {max(many):.1f} s",
        f"{options.people} at once, memory: {many_held:.0f} MB, {many_held / options.people:.0f} MB a person",
    ]
    values = {"few": few, "few_mb": few_held, "own": own, "own_mb": own_held, "many": many, "many_mb": many_held}
    _report.keep(RESULTS, "workshop", values, lines)


if __name__ == "__main__":
    main()
