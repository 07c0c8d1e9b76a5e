"""What it costs to write and to show what happens in a run.

Claims: the event log and the callback cost less than 0.5 % of a training step; a refresh of the curves
at 10,000 points costs at most 5 ms of server CPU and 5 KB per viewer and second. Beside it, in turn:
the usual way, a plotly figure of all points sent at each refresh.

    python benchmarks/events.py
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _report

from studio.config import RunConfig
from studio.events import StepDone
from studio.jobs import Jobs, create_run
from studio.launch import worker_environment
from studio.store import Store
from studio.workspace import RunFolder, Workspace
from tabs._live import payload

POINTS = 10_000
ROUNDS = 20
METRICS = {
    "loss": 1.2345678,
    "grad_norm": 0.81234,
    "learning_rate": 1.234e-4,
    "tokens_per_second": 312.4,
    "memory": 2.1234,
}


def step(number: int) -> StepDone:
    return StepDone(step=number, total_steps=POINTS * 2, seconds=number * 0.5, tokens=number * 800, metrics=METRICS)


def prepared(workspace: Workspace) -> RunFolder:
    folder = workspace.new_run("benchmark")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    for number in range(1, POINTS + 1):
        folder.events.append(step(number))
    return folder


def callback_seconds(folder: Path) -> list[float]:
    """Seconds that one step's callbacks take: begin, end, log."""
    from studio.training.callbacks import EventCallback

    callback = EventCallback(RunFolder(folder))
    state: Any = SimpleNamespace(global_step=0, max_steps=1000, num_input_tokens_seen=0)
    control: Any = SimpleNamespace()
    taken = []
    for number in range(1, 501):
        state.global_step, state.num_input_tokens_seen = number, number * 800
        began = time.perf_counter()
        callback.on_step_begin(None, state, control)
        callback.on_step_end(None, state, control)
        callback.on_log(None, state, control, {"loss": 1.0, "grad_norm": 0.5, "learning_rate": 1e-4})
        taken.append(time.perf_counter() - began)
    return taken


def step_seconds(workspace: Workspace) -> list[float]:
    """Seconds of each step of a real run of the tiny model: the quickest steps there are, the worst case here."""
    values = {"model": "tiny", "training": {"max_steps": 60, "answer_rows": 0, "eval_rows": 8}}
    folder = create_run(workspace, RunConfig.parse(values))
    subprocess.run([sys.executable, "-m", "studio.worker", str(folder.path)], env=worker_environment(), check=True)
    ends = [event.seconds for event in folder.events.read_from()[0] if isinstance(event, StepDone)]
    return [after - before for before, after in itertools.pairwise(ends)]


def our_refresh(store: Store, jobs: Jobs, run_id: str, since: int) -> tuple[float, int]:
    """(CPU milliseconds, bytes) of one poll that finds one new step."""
    began = time.process_time()
    body = json.dumps(payload(store, jobs, run_id, since)).encode()
    return 1000 * (time.process_time() - began), len(body)


def usual_refresh(folder: RunFolder) -> tuple[float, int]:
    """The same poll as a figure of every point, read from the whole log."""
    import plotly.graph_objects as go

    began = time.process_time()
    steps = [event for event in folder.events.read_from()[0] if isinstance(event, StepDone)]
    figure = go.Figure(go.Scatter(x=[s.step for s in steps], y=[s.metrics["loss"] for s in steps]))
    body = figure.to_json() or ""
    return 1000 * (time.process_time() - began), len(body)


def main() -> None:
    print(_report.machine())
    with tempfile.TemporaryDirectory() as root:
        workspace = Workspace(Path(root)).create()
        folder = prepared(workspace)
        store = Store(workspace)
        jobs = Jobs(workspace, store, keep_warm=False)
        since = store.curves(folder.id)["next"]
        ours, usual = [], []
        for number in range(POINTS + 1, POINTS + 1 + ROUNDS):
            folder.events.append(step(number))
            ours.append(our_refresh(store, jobs, folder.id, since))
            usual.append(usual_refresh(folder))
            since += 1
        first = [our_refresh(Store(workspace), jobs, folder.id, 0) for _ in range(5)]
        print(_report.row("refresh at 10,000 points, server CPU", [cpu for cpu, _ in ours], "ms"))
        print(_report.row("refresh at 10,000 points, size", [size / 1000 for _, size in ours], "KB"))
        print(_report.row("the usual way (gr.Plot's figure), server CPU", [cpu for cpu, _ in usual], "ms"))
        print(_report.row("the usual way (gr.Plot's figure), size", [size / 1000 for _, size in usual], "KB"))
        print(_report.ratio("usual / ours, CPU", [cpu for cpu, _ in ours], [cpu for cpu, _ in usual]))
        print(_report.row("first look at a run of 10,000 points, CPU", [cpu for cpu, _ in first], "ms"))
        print(_report.row("first look at a run of 10,000 points, size", [size / 1000 for _, size in first], "KB"))
        told, steps = callback_seconds(Path(root)), step_seconds(workspace)
        print(_report.row("callbacks and log, per step", [1000 * s for s in told], "ms"))
        print(_report.row("a step of the tiny model", [1000 * s for s in steps], "ms"))
        print(f"share of the tiny model's step: {100 * statistics.median(told) / statistics.median(steps):.2f} %")


if __name__ == "__main__":
    main()
