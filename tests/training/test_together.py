"""One run on two processes tells what it tells on one: the same losses, the same events, an end when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from transformers import TrainerState, TrainingArguments

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.events import Continued, EvalDone, Phase, StepDone
from studio.jobs import Jobs, create_run
from studio.store import wait_for_end
from studio.training.together import Agreement
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]
STEPS = 30


def config(make: Make, processes: int, accumulation: int, **training: object) -> RunConfig:
    """32 rows are trained on; an update takes four of them, two of one length at a time, in either way."""
    return make(
        training={
            "max_steps": STEPS,  # of 8 in an epoch
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": accumulation,
            "num_processes": processes,
            "dtype": "float32",
            "eval_steps": 10,
            **training,
        }
    )


def finished(jobs: Jobs, workspace: Workspace, asked: RunConfig) -> RunFolder:
    folder = workspace.run(jobs.submit(asked))
    state = wait_for_end(jobs.store, folder.id, 120)
    assert state.status == "done", folder.log.read_text()
    return folder


def told(folder: RunFolder) -> tuple[list[str], dict[str, list[float]]]:
    """Kinds of events without those of progress, and numbers that must be alike."""
    events, _ = folder.events.read_from()
    curves: dict[str, list[float]] = {"step": [], "tokens": [], "loss": [], "grad_norm": [], "eval_loss": []}
    for event in events:
        if isinstance(event, StepDone):
            found = {"step": event.step, "tokens": event.tokens, **event.metrics}
        else:
            found = event.metrics if isinstance(event, EvalDone) else {}
        for name in curves.keys() & found.keys():
            curves[name].append(found[name])
    return [type(event).__name__ for event in events if not isinstance(event, Phase)], curves


def test_two_processes_tell_what_one_tells_also_where_they_rested(
    jobs: Jobs, workspace: Workspace, tiny_config: Make
) -> None:
    kinds, curves = told(finished(jobs, workspace, config(tiny_config, 1, 2)))
    both = workspace.run(jobs.submit(config(tiny_config, 2, 1)))
    until(lambda: jobs.store.state(both.id).step > 2)
    jobs.pause(both.id)
    rested = wait_for_end(jobs.store, both.id, 60)
    at = rested.step
    assert (rested.status, at < STEPS) == ("paused", True), both.log.read_text()
    jobs.resume(both.id)
    assert wait_for_end(jobs.store, both.id, 120).status == "done", both.log.read_text()
    both_kinds, both_curves = told(both)
    went_on = both_kinds.index("Continued")
    again = ["Paused", "Queued", "Started", "DataReady", "ModelReady", "Made", "Ready", "Continued"]
    began = went_on + 1 - len(again)
    assert both_kinds[began : went_on + 1] == again
    assert both_kinds[:began] + both_kinds[went_on + 1 :] == kinds
    assert [event.step for event in both.events.read_from()[0] if isinstance(event, Continued)] == [at]
    assert both_curves["step"] == list(range(1, STEPS + 1))
    assert both_curves["tokens"] == curves["tokens"]
    for name in ("loss", "grad_norm", "eval_loss"):
        assert both_curves[name] == pytest.approx(curves[name], abs=1e-4), name


def test_noise_is_the_same_whenever_an_update_is_made(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        drawn = [noise(step) for step in (3, 4, 3)]
    finally:
        dist.destroy_process_group()
    assert drawn[0] == drawn[2] != drawn[1]


def noise(step: int) -> list[float]:
    torch.rand(step)  # what else was drawn before does not matter
    state = TrainerState(global_step=step)
    Agreement().on_step_begin(TrainingArguments(report_to="none", use_cpu=True, seed=5), state, None)
    return torch.rand(4).tolist()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_nothing_is_left_of_one_that_was_killed(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    folder = workspace.run(jobs.submit(config(tiny_config, 2, 1, max_steps=5000, num_train_epochs=1000)))
    until(lambda: jobs.store.state(folder.id).step > 2)
    launcher = jobs.store.state(folder.id).process()
    assert launcher is not None
    ranks = launcher.children()
    assert len(ranks) == 2
    jobs.kill(folder.id)
    until(lambda: not any(each.is_running() and each.status() != "zombie" for each in [launcher, *ranks]))
    assert jobs.store.state(folder.id).status == "stopped"


def test_more_devices_than_there_are_are_refused(workspace: Workspace, tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match="64 devices are asked for"):
        create_run(workspace, config(tiny_config, 64, 1))
    assert list(Path(workspace.runs).iterdir()) == []
