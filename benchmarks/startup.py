"""How long people wait: for the page, and from the click to the first training step.

Claims: page served within 4 s of the process's start and interactive within 2 s more; with the model on
disk and a warm worker at most 3 s from the click to the first training step. A cold worker is measured
in turn with it. Give a workspace that holds the starter model to spare its download.

    python benchmarks/startup.py [--workspace FOLDER] [--rounds 5]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _report

from studio.config import RunConfig
from studio.events import Phase, StepDone
from studio.jobs import Jobs
from studio.store import Store, wait_for_end
from studio.workspace import Workspace
from tabs.start import FIRST_RUN


def page_seconds() -> tuple[float, float]:
    """(process start → page served, served → its start button can be pressed) in a headless Chromium."""
    import urllib.request

    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as root, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page()
        began = time.perf_counter()
        command = [str(Path(sys.executable).parent / "finetune-studio"), "--no-browser", "--port", "0"]
        server = subprocess.Popen([*command, "--workspace", root], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found, "the studio did not start"
            urllib.request.urlopen(found[0]).read()  # noqa: S310 - our own server on loopback
            served = time.perf_counter()
            page.goto(found[0])
            page.get_by_role("tab", name="Train", exact=True).click()
            page.locator("#train-start").wait_for()  # a tab's content appears once the page listens
            return served - began, time.perf_counter() - served
        finally:
            server.terminate()
            server.wait()
            chromium.close()


def first_step_seconds(workspace: Workspace, *, warm: bool) -> tuple[float, float]:
    """(click → first step begins, click → first step done) in seconds."""
    jobs = Jobs(workspace, Store(workspace), keep_warm=warm)
    jobs.start()
    if warm:
        time.sleep(20)  # people read the page for longer than the worker needs to wake
    training = {**FIRST_RUN["training"], "max_steps": 2, "answer_rows": 0}
    began = time.time()
    run_id = jobs.submit(RunConfig.parse({**FIRST_RUN, "training": training}))
    state = wait_for_end(jobs.store, run_id, 300)
    jobs.close()
    assert state.status == "done", state.problem
    events, _ = workspace.run(run_id).events.read_from()
    training_began = next(event.time for event in events if isinstance(event, Phase) and event.name == "Training")
    first = next(event.time for event in events if isinstance(event, StepDone))
    return training_began - began, first - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(_report.machine())
    pages = [page_seconds() for _ in range(options.rounds)]
    print(_report.row("process start -> page served", [served for served, _ in pages], "s"))
    print(_report.row("served -> interactive (a tab opens on a click)", [ready for _, ready in pages], "s"))
    with tempfile.TemporaryDirectory() as root:
        workspace = Workspace(options.workspace or Path(root)).create()
        first_step_seconds(workspace, warm=False)  # fetches the model where it is missing, and warms the disk
        warm, cold = [], []
        for _ in range(options.rounds):
            warm.append(first_step_seconds(workspace, warm=True))
            cold.append(first_step_seconds(workspace, warm=False))
        print(_report.row("click -> first step begins, warm worker", [begins for begins, _ in warm], "s"))
        print(_report.row("click -> first step begins, cold worker", [begins for begins, _ in cold], "s"))
        print(_report.row("click -> first step done, warm worker", [done for _, done in warm], "s"))
        print(_report.row("click -> first step done, cold worker", [done for _, done in cold], "s"))
        print(_report.ratio("cold / warm, to the first step", [b for b, _ in warm], [b for b, _ in cold]))


if __name__ == "__main__":
    main()
