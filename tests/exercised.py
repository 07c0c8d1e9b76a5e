"""What somebody who goes through the exercise leaves on disk, piece by piece."""

from __future__ import annotations

from typing import Any

from studio.adapter import save
from studio.bench import Bench, begin
from studio.benchmarks.variants import BenchSettings
from studio.config import RunConfig
from studio.data import collection
from studio.data.templates import Mapping
from studio.events import DataReady, Done, EvalDone, Queued, Saved, StepDone
from studio.models.tiny import tiny_model
from studio.optimiser import Optimiser
from studio.parts import parts
from studio.study import Study, StudySettings
from studio.study import begin as begin_study
from studio.workspace import RunFolder, Workspace
from tests.coached import Coached, right, rows

READ_AS = Mapping("prompt_completion", {"prompt": "prompt", "completion": "completion"})


def bring(workspace: Workspace, count: int = 80) -> collection.Kept:
    """A data set of one's own."""
    name = collection.add_rows(workspace, "Things", rows(count), mapping=READ_AS, by="me")
    kept = collection.find(workspace, name)
    assert kept
    return kept


def train(
    workspace: Workspace, source: str, *, version: str = "", fingerprint: str = "abc", **changes: Any
) -> RunFolder:
    """A run that went to its end and saved an adapter of the tiny model."""
    values = {
        "model": "tiny",
        "dataset": {"source": source, "version": version, "validation_share": 0.3},
        "method": {"name": "lora", "r": 4},
        "training": {"max_steps": 4, "learning_rate": 0.01},
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    folder = workspace.new_run("things")
    config = RunConfig.parse(values)
    config.save(folder.config)
    save(config.method.attach(tiny_model()), folder.adapter)
    told = [
        Queued(),
        DataReady(
            train_rows=56, validation_rows=24, truncated_rows=0, skipped_rows=0, tokens=900, trained_tokens=400,
            fingerprint=fingerprint,
        ),
        EvalDone(step=0, metrics={"eval_loss": 3.0}),
        *(StepDone(step=at, total_steps=4, seconds=at, tokens=at, metrics=_step(at)) for at in range(1, 5)),
        EvalDone(step=2, metrics={"eval_loss": 2.5}),
        EvalDone(step=4, metrics={"eval_loss": 2.0}),
        Saved(step=4, size=2_000),
        Done(),
    ]  # fmt: skip
    for event in told:
        folder.events.append(event)
    return folder


def _step(at: int) -> dict[str, float]:
    """The rate rises over two steps and falls after them."""
    return {"loss": 3.0 - at / 4, "grad_norm": 0.5 + at / 5, "learning_rate": (0.005, 0.01, 0.0075, 0.005)[at - 1]}


def search(workspace: Workspace, source: str) -> Study:
    """One for a better prompt, not yet begun to its end."""
    chosen = {
        "model": "tiny",
        "dataset": {"source": source},
        "rewards": {"exact": {}},
        "search_rows": 8,
        "select_rows": 4,
    }
    return begin_study(workspace, StudySettings.parse(chosen | {"sealed_rows": 8, "calls": 120}))


def decide(workspace: Workspace, study: Study) -> None:
    """Go on with it to its verdict."""
    Optimiser(study, parts(workspace, study.settings), Coached(rows()), right, lambda asked, look: "").run()


def benchmark(workspace: Workspace, run: str) -> Bench:
    """One of that run's model, nothing measured yet."""
    return begin(workspace, BenchSettings.parse({"models": [f"run:{run}"], "precision": ["float32"]}))


def measure(bench: Bench) -> None:
    """The first of its variants."""
    batches = [[[0.1, 0.2], [2], [16]]]
    told = {"load": 1.0, "warmup": 0.1, "host": 0.5, "device": 0.5, "answer": "hi", "batches": batches}
    bench.keep({"found": next(iter(bench.measured)), "round": 0, **told})
