"""How long people wait: for the page, and from the click to the first training step.

Claims: page served within 4 s of the process's start and interactive within 2 s more; with the model on
disk and a warm worker at most 3 s from the click to the first training step, and 1.5 s with the same model
and data as once before. In turn with that: no tokens kept, and neither tokens kept nor a warm worker. Give a
workspace that holds the starter model to spare its download.

    python benchmarks/startup.py [--workspace FOLDER] [--rounds 5] [--data FILE]
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
from studio.events import Phase
from studio.jobs import Jobs
from studio.store import Store, wait_for_end
from studio.workspace import Workspace
from tabs._live import waited
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


def first_step_seconds(workspace: Workspace, data: str, *, warm: bool, kept: bool) -> float:
    """Click → first step begins, in seconds; `kept`: the tokens of an earlier run may be used."""
    if not kept:
        shutil.rmtree(workspace.tokens, ignore_errors=True)
    jobs = Jobs(workspace, Store(workspace), keep_warm=warm)
    jobs.start()
    if warm:
        time.sleep(20)  # people read the page for longer than the worker needs to wake
    training = {**FIRST_RUN["training"], "max_steps": 1, "eval_rows": 1, "answer_rows": 0}
    dataset = {**FIRST_RUN["dataset"], "source": data}
    began = time.time()
    run_id = jobs.submit(RunConfig.parse({**FIRST_RUN, "dataset": dataset, "training": training}))
    state = wait_for_end(jobs.store, run_id, 600)
    jobs.close()
    assert state.status == "done", state.problem
    events, _ = workspace.run(run_id).events.read_from()
    print(f"  {waited(state.ready)}" if state.ready else "", file=sys.stderr)
    return next(event.time for event in events if isinstance(event, Phase) and event.name == "Training") - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default=FIRST_RUN["dataset"]["source"], help="a sample or a file")
    options = parser.parse_args()
    print(_report.machine())
    pages = [page_seconds() for _ in range(options.rounds)]
    print(_report.row("process start -> page served", [served for served, _ in pages], "s"))
    print(_report.row("served -> interactive (a tab opens on a click)", [ready for _, ready in pages], "s"))
    with tempfile.TemporaryDirectory() as root:
        workspace = Workspace(options.workspace or Path(root)).create()
        first_step_seconds(workspace, options.data, warm=False, kept=True)  # fetches the model, and warms the disk
        ways = {
            "same model and data again": {"warm": True, "kept": True},
            "tokenised anew": {"warm": True, "kept": False},
            "tokenised anew, cold worker": {"warm": False, "kept": False},
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, how in ways.items():
                found[way].append(first_step_seconds(workspace, options.data, **how))
        for way, seconds in found.items():
            print(_report.row(f"click -> first step, {way}", seconds, "s"))
        again, *others = found.values()
        for way, seconds in zip(list(ways)[1:], others, strict=True):
            print(_report.ratio(f"{way} / same again", again, seconds))


if __name__ == "__main__":
    main()
