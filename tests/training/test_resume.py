"""A run that was cut off goes on as if nothing had happened: the same losses, bit for bit, each step told once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.config import RunConfig
from studio.estimate import disk_bytes
from studio.events import Continued, Done, EvalDone, Paused, Saved, Shrunk, StepDone
from studio.jobs import create_run
from studio.launch import worker_environment
from studio.processes import LIMIT
from studio.workspace import RunFolder, Workspace
from tests.nursery import popen

Make = Callable[..., RunConfig]
KILLS = 1  # in CI; `KILLS=50 pytest tests/training/test_resume.py` is the whole of it
EXACT = {  # dropout draws from a generator, and accumulation cuts updates in pieces
    "method": {"name": "lora", "r": 4, "lora_dropout": 0.2},
    "training": {
        "max_steps": 14,  # of 8 in an epoch
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "eval_steps": 5,
        "save_steps": 3,
        "dtype": "float32",
        "answer_rows": 0,
    },
}


def worker(folder: RunFolder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "studio.worker", str(folder.path)]
    return popen(command, env={**worker_environment(), "OMP_NUM_THREADS": "1"}, start_new_session=True)


def finished(folder: RunFolder) -> RunFolder:
    assert worker(folder).wait(120) == 0
    events, _ = folder.events.read_from()
    assert isinstance(events[-1], Done), folder.log.read_text()
    return folder


def told(folder: RunFolder) -> tuple[list[tuple[int, float, float, int]], list[tuple[int, float]]]:
    events, _ = folder.events.read_from()
    steps = [(e.step, e.metrics["loss"], e.metrics["grad_norm"], e.tokens) for e in events if isinstance(e, StepDone)]
    return steps, [(e.step, e.metrics["eval_loss"]) for e in events if isinstance(e, EvalDone)]


def weights(folder: RunFolder) -> bytes:
    return (folder.adapter / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunConfig], RunFolder]:
    """The same run without any interruption; made once for each config."""
    made: dict[str, RunFolder] = {}

    def run(config: RunConfig) -> RunFolder:
        key = json.dumps({**config.to_dict(), "dataset": ""}, sort_keys=True)
        if key not in made:
            workspace = Workspace(tmp_path_factory.mktemp("whole")).create()
            made[key] = finished(create_run(workspace, config))
        return made[key]

    return run


def test_killed_anywhere_it_ends_as_if_it_never_was(
    whole: Callable[[RunConfig], RunFolder], workspace: Workspace, tiny_config: Make
) -> None:
    config = tiny_config(**EXACT)
    expected = whole(config)
    dice = random.Random(os.environ.get("SEED", "7"))
    for _ in range(int(os.environ.get("KILLS", KILLS))):
        folder = create_run(workspace, config)
        wanted, victim = dice.randrange(1, 15), worker(folder)
        while len(told(folder)[0]) < wanted and victim.poll() is None:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.1)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        finished(folder)
        assert told(folder) == told(expected)
        assert weights(folder) == weights(expected)


def test_a_pause_rests_on_disk_and_goes_on_exactly(
    whole: Callable[[RunConfig], RunFolder], workspace: Workspace, tiny_config: Make
) -> None:
    config = tiny_config(**EXACT)
    folder = create_run(workspace, config)
    for wanted in (2, 5):  # after an evaluation too
        running = worker(folder)
        while len(told(folder)[0]) < wanted:
            assert running.poll() is None, folder.log.read_text()
            time.sleep(0.002)
        folder.pause_flag.touch()
        assert running.wait(30) == 0
        last = folder.events.read_from()[0][-1]
        assert isinstance(last, Paused)
        assert last.step >= wanted
        assert not folder.adapter.exists()
        folder.pause_flag.unlink()
    assert told(finished(folder)) == told(whole(config))
    went_on = [event.step for event in folder.events.read_from()[0] if isinstance(event, Continued)]
    assert len(went_on) == 2
    assert weights(folder) == weights(whole(config))


@pytest.mark.parametrize(
    "method",
    [
        {"name": "adalora", "init_r": 6, "target_r": 2},
        pytest.param({"name": "full"}, marks=pytest.mark.slow),
    ],
    ids=lambda method: method["name"],
)
def test_every_kind_of_state_comes_back(
    whole: Callable[[RunConfig], RunFolder], workspace: Workspace, tiny_config: Make, method: dict[str, object]
) -> None:
    training = {**EXACT["training"], "max_steps": 9, "save_steps": 5, "neftune_noise_alpha": 5.0}
    config = RunConfig.parse({**tiny_config(training=training).to_dict(), "method": method})
    folder = create_run(workspace, config)
    victim = worker(folder)
    while len(told(folder)[0]) < 6:
        assert victim.poll() is None, folder.log.read_text()
        time.sleep(0.002)
    victim.kill()
    victim.wait()
    assert told(finished(folder)) == told(whole(config))
    assert weights(folder) == weights(whole(config))


def test_a_damaged_checkpoint_is_skipped_and_said(
    whole: Callable[[RunConfig], RunFolder], workspace: Workspace, tiny_config: Make
) -> None:
    config = tiny_config(**EXACT | {"training": {**EXACT["training"], "save_total_limit": 5}})
    folder = create_run(workspace, config)
    victim = worker(folder)
    while len(told(folder)[0]) < 7:
        time.sleep(0.002)
    victim.kill()
    victim.wait()
    newest = max(folder.checkpoints.glob("step-*"), key=lambda path: int(path.name[5:]))
    weights_file = newest / "weights.safetensors"
    data = bytearray(weights_file.read_bytes())
    data[-3] ^= 1
    weights_file.write_bytes(data)
    assert told(finished(folder)) == told(whole(config))
    went_on = next(event for event in folder.events.read_from()[0] if isinstance(event, Continued))
    assert went_on.step < int(newest.name[5:])
    assert "weights.safetensors is not as it was written" in went_on.skipped[0]


def test_other_rows_than_before_are_refused(workspace: Workspace, tiny_config: Make, rows_file: Path) -> None:
    folder = create_run(workspace, tiny_config(**EXACT))
    folder.pause_flag.touch()
    running = worker(folder)
    running.wait(60)
    folder.pause_flag.unlink()
    running = worker(folder)
    while len(told(folder)[0]) < 4:
        time.sleep(0.002)
    running.kill()
    running.wait()
    rows_file.write_text(rows_file.read_text().replace("row 3", "line 3"))
    assert worker(folder).wait(60) == 0
    last = folder.events.read_from()[0][-1]
    assert "are others than when this run began" in getattr(last, "problem", ""), last
    assert told(folder)[0]


def test_no_pickle_lies_in_a_checkpoint(whole: Callable[[RunConfig], RunFolder], tiny_config: Make) -> None:
    files = [file for file in whole(tiny_config(**EXACT)).checkpoints.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    sizes = {file.name: file.stat().st_size for file in files}
    learnt, training = sizes["weights.safetensors"], tiny_config(**EXACT).training
    each = disk_bytes(learnt, training) / (training.save_total_limit + 2)
    assert each == pytest.approx(learnt + sizes["state.safetensors"], rel=0.5)  # of weights as few as a tiny model's
    assert len({file.parent for file in files}) <= training.save_total_limit + 1


def test_early_stopping_and_the_best_weights(workspace: Workspace, tiny_config: Make) -> None:
    """A rate at which a tiny model learns its rows by heart, and its held-out loss soon rises."""
    settings = {
        "max_steps": 400,
        "learning_rate": 0.05,
        "eval_steps": 10,
        "early_stopping_patience": 2,
        "load_best_model_at_end": True,
        "answer_rows": 0,
    }
    folder = finished(create_run(workspace, tiny_config(training=settings)))
    events, _ = folder.events.read_from()
    losses = {event.step: event.metrics["eval_loss"] for event in events if isinstance(event, EvalDone) and event.step}
    best = min(losses, key=losses.__getitem__)
    assert max(losses) == best + 20 < 400
    assert next(event.step for event in events if isinstance(event, Saved)) == best
    assert any("has not fallen since step" in getattr(event, "text", "") for event in events)


@pytest.mark.slow  # a browser test has a run recover in short
def test_memory_that_runs_out_is_mended_by_smaller_batches(
    workspace: Workspace, tiny_config: Make, tmp_path: Path
) -> None:
    rows = tmp_path / "long.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": f"{i}", "completion": "x y z " * 90}) for i in range(128)))
    config = tiny_config(
        dataset={"source": str(rows), "validation_share": 0},
        objective={"max_length": 512},
        training={"max_steps": 1, "per_device_train_batch_size": 128, "dtype": "float32", "answer_rows": 0},
    )
    folder = create_run(workspace, config)
    command = [sys.executable, "-m", "studio.worker", str(folder.path)]
    environment = {**worker_environment(), "OMP_NUM_THREADS": "1", LIMIT: "1.0"}
    assert popen(command, env=environment).wait(500) == 0
    events, _ = folder.events.read_from()
    shrunk = [event for event in events if isinstance(event, Shrunk)]
    assert shrunk, folder.log.read_text()[-2000:]
    assert all(e.per_device_train_batch_size * e.gradient_accumulation_steps == 128 for e in shrunk)
    assert isinstance(events[-1], Done), folder.log.read_text()[-2000:]
    assert [step for step, *_ in told(folder)[0]] == [1]


def cut(folder: RunFolder, kinds: tuple[str, ...]) -> None:
    """Take the last events of these kinds from the log, as a kill before them would."""
    lines = folder.events.path.read_text().splitlines()
    while json.loads(lines[-1])["event"] in kinds:
        lines.pop()
    folder.events.path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("early", [False, True])
def test_a_run_cut_off_behind_its_last_step_takes_no_other(
    workspace: Workspace, tiny_config: Make, early: bool
) -> None:
    """Amid an epoch, at the last step that was asked for, or where it stopped early."""
    settings = {**EXACT["training"], "max_steps": 5, "eval_steps": 1}
    if early:
        settings |= {"max_steps": 60, "learning_rate": 0.3, "early_stopping_patience": 1}
    folder = finished(create_run(workspace, tiny_config(training=settings)))
    before, learnt = told(folder), weights(folder)
    assert len(before[0]) < 60
    cut(folder, ("Done", "Saved", "Note", "Phase"))
    assert told(finished(folder)) == before
    assert weights(folder) == learnt


def test_an_evaluation_that_a_stop_skipped_is_made_up_for(
    whole: Callable[[RunConfig], RunFolder], workspace: Workspace, tiny_config: Make
) -> None:
    config = tiny_config(**EXACT)
    folder = create_run(workspace, config)
    running = worker(folder)
    while len(told(folder)[0]) < 4:
        time.sleep(0.001)
    folder.stop_flag.touch()  # at the evaluation of step 5, or near it
    running.wait()
    folder.stop_flag.unlink()
    assert told(finished(folder)) == told(whole(config))
