"""What each method learns and costs: every one trains the starter model on the same rows, saves, reloads and answers.

Each run takes the page's own path: a config, the queue, a worker, an adapter on disk, and then the chat's
process, which loads that adapter onto a fresh base and answers. LoRA is run again between the others, and a
method's time is stated against the LoRA runs next to it: absolute times belong to the machine.

    python benchmarks/methods.py [--workspace FOLDER] [--steps 16] [--only lora,ia3]

Writes results/methods.json, which docs/make_methods.py reads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from _report import machine

from studio.config import RunConfig
from studio.events import StepDone
from studio.jobs import Jobs
from studio.methods import methods
from studio.responder import Responder, Sampling
from studio.store import State, Store, wait_for_end
from studio.workspace import Workspace

REFERENCE = "lora"
ROWS = 4  # a step
AGAIN_AFTER = 4  # methods, then LoRA once more
RESULTS = Path(__file__).parent / "results" / "methods.json"


def config(method: str, steps: int) -> RunConfig:
    """The same rows, order, budget and seed for all; the learning rate is the one that suits the method."""
    return RunConfig.parse(
        {
            "model": "starter",
            "dataset": {"source": "customer_messages"},
            "objective": {"name": "next_token", "max_length": 256},
            "method": {"name": method},
            "training": {
                "max_steps": steps,
                "per_device_train_batch_size": ROWS,
                "eval_rows": 16,
                "eval_steps": steps,
                "answer_rows": 0,
            },
        }
    )


def run(method: str, steps: int, workspace: Workspace, jobs: Jobs) -> tuple[State, float]:
    """The run's last state, and the median seconds of a step, the first one left out."""
    run_id = jobs.submit(config(method, steps))
    state = wait_for_end(jobs.store, run_id, 1800)
    if state.status != "done":
        raise SystemExit(f"{method}: {state.problem} {state.remedy}")
    done = [each for each in workspace.run(run_id).events.read_from()[0] if isinstance(each, StepDone)]
    seconds = [after.seconds - before.seconds for before, after in itertools.pairwise(done)]
    return state, statistics.median(seconds)


def answer(state: State, workspace: Workspace) -> str:
    """What the saved adapter, loaded onto a fresh base, says to a held-out prompt."""
    folder = workspace.run(state.id)
    with folder.held_out.open(encoding="utf-8") as file:
        prompt = json.loads(file.readline())[:-1]
    responder = Responder(workspace)
    try:
        pieces = responder.ask(folder, prompt, adapter=True, sampling=Sampling(max_new_tokens=24))
        return "".join(piece.text for piece in pieces if piece.kind == "text")
    finally:
        responder.close()


def row(method: str, state: State, seconds: float, beside: float, said: str) -> dict[str, Any]:
    assert state.model
    assert state.saved
    assert state.first_eval
    assert state.last_eval
    return {
        "method": method,
        "title": methods()[method].title,
        "learning_rate": state.config["training"]["learning_rate"],
        "trainable": state.model.trainable_parameters,
        "share": state.model.trainable_parameters / state.model.parameters,
        "peak_memory_gb": round(state.saved.peak_memory, 2),
        "seconds_per_step": round(seconds, 3),
        "relative_time": round(seconds / beside, 2),
        "base_loss": round(state.first_eval["eval_loss"], 3),
        "final_loss": round(state.last_eval["eval_loss"], 3),
        "adapter_mb": round(state.saved.size / 1e6, 2),
        "answer": said,
    }


def measure(chosen: list[str], steps: int, workspace: Workspace) -> None:
    jobs = Jobs(workspace, Store(workspace))
    jobs.start()
    rows: list[dict[str, Any]] = []
    try:
        beside = 0.0
        for place, method in enumerate(chosen):
            if place % AGAIN_AFTER == 0:
                _, beside = run(REFERENCE, steps, workspace, jobs)
            state, seconds = run(method, steps, workspace, jobs)
            rows.append(row(method, state, seconds, beside, answer(state, workspace)))
            print(json.dumps(rows[-1]), flush=True)
            keep(rows, steps)
    finally:
        jobs.close()


def keep(rows: list[dict[str, Any]], steps: int) -> None:
    """Put what was measured in the place of what an earlier run measured of the same methods."""
    earlier = json.loads(RESULTS.read_text())["methods"] if RESULTS.exists() else []
    kept = {each["method"]: each for each in [*earlier, *rows] if each["method"] in methods()}
    conditions = f"Starter model, sample customer_messages, {steps} steps of {ROWS} rows; {machine()}."
    RESULTS.write_text(json.dumps({"conditions": conditions, "methods": list(kept.values())}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--only", default=",".join(methods()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(options.workspace or Path(scratch)).create()
        measure(options.only.split(","), options.steps, workspace)


if __name__ == "__main__":
    main()
