"""The command line as people use it: real processes, exit codes, one sentence where something is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx
import pytest

from studio.cli import _Teller
from studio.events import EvalDone, LabelsScored, VocabularyExtended
from studio.store import Store
from studio.workspace import Workspace
from tests import nursery
from tests.conftest import ROOT

COMMAND = str(Path(sys.executable).parent / "finetune-studio")
MODULE = (sys.executable, "-m", "tabs._main")  # what COMMAND runs


def run(*arguments: str, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, to its end; one that has its imports behind it (tests/nursery.py)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        running = nursery.popen([*MODULE, *arguments], stdout=out, stderr=err, cwd=cwd)
        try:
            code = running.wait(timeout)
        finally:
            running.kill()
        said = []
        for each in (out, err):
            each.seek(0)
            said.append(each.read().decode())
        return subprocess.CompletedProcess(arguments, code, *said)


@contextmanager
def started(*arguments: str, cwd: Path | None = None) -> Iterator[tuple[Any, TextIO]]:
    """The same while it goes on, and what it says."""
    running = nursery.popen([*MODULE, *arguments], stdout=subprocess.PIPE, cwd=cwd)
    with io.TextIOWrapper(running.stdout, encoding="utf-8") as said:
        try:
            yield running, said
            running.wait(timeout=60)
        finally:
            running.kill()


@pytest.fixture(autouse=True, scope="module")
def worker_ready() -> None:
    nursery.ready("studio.worker")


@pytest.fixture
def config(tmp_path: Path, rows_file: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"model: tiny\ndataset: {{source: {rows_file.name}}}\nmethod: {{name: lora, r: 4}}\n"
        "training: {max_steps: 3, per_device_train_batch_size: 4, answer_rows: 2, max_new_tokens: 4}\n",
        encoding="utf-8",
    )
    return path


def test_train_tells_how_it_goes_and_ends_with_the_folder(tmp_path: Path, config: Path) -> None:
    done = run("--workspace", str(tmp_path / "w"), "train", config.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stdout
    assert "held-out loss" in done.stdout
    folder = Path(done.stdout.splitlines()[-1])
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads((folder / "config.json").read_text())["dataset"]["format"] == "prompt_completion"


def test_resume_goes_on_with_the_same_configs_unfinished_run(tmp_path: Path, config: Path) -> None:
    text = config.read_text().replace("max_steps: 3", "max_steps: 3000, save_steps: 1")
    config.write_text(text)
    command = ["--workspace", str(tmp_path / "w"), "train", str(config)]
    with started(*command, cwd=tmp_path) as (_, told):
        next(line for line in told if line.startswith("step "))
        workspace = Workspace(tmp_path / "w")
        (folder,) = workspace.run_folders()
        twice = run("--workspace", str(tmp_path / "w"), "train", "--resume", str(config), cwd=tmp_path)
        assert "trains this config already" in twice.stderr
        process = Store(workspace).state(folder.id).process()
        assert process is not None
        process.kill()
    reached = Store(workspace).state(folder.id).step
    with started(*command, "--resume", cwd=tmp_path) as (running, told):
        from_there, on = (next(line for line in told if line.startswith(start)) for start in ("Goes on from", "step "))
        running.send_signal(signal.SIGINT)
        rest = told.read()
    assert 1 <= int(re.findall(r"\d+", from_there)[0]) <= reached
    assert int(re.findall(r"\d+", on)[0]) > reached
    assert rest.splitlines()[-1] == str(folder.path)
    assert len(workspace.run_folders()) == 1
    other = config.with_name("other.yaml")
    other.write_text(text.replace("max_steps: 3000", "max_steps: 2"))
    fresh = run("--workspace", str(tmp_path / "w"), "train", "--resume", str(other), cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    assert len(workspace.run_folders()) == 2


def test_the_config_a_run_kept_can_be_run_again(tmp_path: Path, config: Path) -> None:
    folders = []
    for path in (config, None):
        again = path or Path(folders[0]) / "config.json"
        done = run("train", str(again), "--workspace", str(tmp_path / "w"), cwd=tmp_path)
        folders.append(done.stdout.splitlines()[-1])
    states = [Store(Workspace(tmp_path / "w")).state(Path(folder).name) for folder in folders]
    assert states[0].metrics["loss"] == states[1].metrics["loss"]  # the same seed is the same run
    assert states[0].config == states[1].config


def test_ctrl_c_stops_after_the_step_and_saves(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("max_steps: 3", "max_steps: 5000"))
    with started("--workspace", str(tmp_path / "w"), "train", str(config), cwd=tmp_path) as (running, told):
        next(line for line in told if line.startswith("step "))
        os.killpg(running.pid, signal.SIGINT)
        rest = told.read()
        assert running.wait(timeout=60) == 0
    folder = Path(rest.splitlines()[-1])
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert Store(Workspace(tmp_path / "w")).state(folder.name).status == "stopped"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: tiny\ndataset: {source: nowhere.csv}", "nowhere.csv"),
        ("model: tiny\ntraining: {learning_rate: -1}", "training.learning_rate"),
        ("model: tiny\nmethod: {name: lorra}", "lorra"),
        ("model: [", "not valid YAML at line 1"),
        ("model: ../../etc", "../../etc"),
        (
            "model: tiny\ndataset: {source: rows.jsonl, format: instruction, columns: {instruction: q, output: a}}",
            "'q'",
        ),
    ],
)
def test_what_cannot_run_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, rows_file: Path, text: str, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    done = run("--workspace", str(tmp_path / "w"), "train", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list((tmp_path / "w" / "runs").iterdir()) == []


def test_a_model_that_only_the_hub_has_is_a_sentence_without_a_network(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("model: tiny", "model: nobody/no-such-model"))
    done = run("--workspace", str(tmp_path / "w"), "train", str(config), cwd=tmp_path)
    assert done.returncode == 1
    assert "nobody/no-such-model" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--no-browser", "--port", str(taken.getsockname()[1]), "--workspace", str(tmp_path / "w"))
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_studio_in_the_same_workspace_is_a_sentence(tmp_path: Path) -> None:
    command = ["--no-browser", "--port", "0", "--workspace", str(tmp_path / "w")]
    with started(*command) as (first, told):
        assert "Finetune Studio is at" in told.readline()
        second = run(*command)
        assert second.returncode == 1
        assert "Another studio" in second.stderr
        assert "Traceback" not in second.stderr
        first.terminate()


def test_ctrl_c_ends_the_studio_without_a_traceback_while_a_page_is_open(tmp_path: Path) -> None:
    command = [*MODULE, "--no-browser", "--port", "0", "--workspace", str(tmp_path / "w")]
    with (tmp_path / "log").open("w") as log:
        studio = nursery.popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not (found := re.search(r"http://\S+", (tmp_path / "log").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with httpx.stream("GET", f"{found[0]}/gradio_api/heartbeat/abc") as beat:
        next(beat.iter_raw())
        studio.send_signal(signal.SIGINT)
        studio.wait(timeout=20)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert "ERROR" not in (tmp_path / "log").read_text()


def test_a_space_is_reached_under_its_own_name_and_no_other(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": port, "SPACE_HOST": "me.hf.space",
           "FINETUNE_STUDIO_WORKSPACE": str(tmp_path / "w")}  # fmt: skip
    space = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert space.stdout is not None
        assert "Finetune Studio is at" in space.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(url, headers={"Host": "me.hf.space"}).status_code == 200
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    finally:
        space.terminate()
        space.wait(timeout=20)
        if space.stdout is not None:
            space.stdout.close()


def test_a_workspace_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--workspace", str(tmp_path / "file" / "w"), "doctor")
    assert done.returncode == 1
    assert "--workspace" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_what_the_machine_can_do(tmp_path: Path) -> None:
    command = [COMMAND, "doctor", "--workspace", str(tmp_path / "w")]  # as it is installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("Device:", "Number format:", "Memory:", "Disk:", "QLoRA:", "Hub:"):
        assert name in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where this user may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted without root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_is_said_before_anything_is_made(small_disk: Path, tmp_path: Path, config: Path) -> None:
    done = run("--workspace", str(small_disk), "train", str(config), cwd=tmp_path)
    assert done.returncode == 1
    assert "MB are free" in done.stderr
    assert list((small_disk / "runs").iterdir()) == []


def test_a_disk_that_fills_up_while_training_is_said(
    small_disk: Path, tmp_path: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before the start is lifted, so that the worker meets the full disk itself."""
    from studio import preflight
    from studio.config import RunConfig
    from studio.jobs import Jobs
    from studio.store import wait_for_end

    monkeypatch.setattr(preflight, "DISK_NEEDED", 0)
    workspace = Workspace(small_disk).create()
    jobs = Jobs(workspace, Store(workspace), keep_warm=False)
    jobs.start()
    run_id = jobs.submit(RunConfig.parse({
        "model": "tiny", "dataset": {"source": str(rows_file)},
        "training": {"max_steps": 5000, "num_train_epochs": 1000, "eval_steps": 5000},
    }))  # fmt: skip
    deadline = time.monotonic() + 60
    while jobs.store.state(run_id).step < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            pass
    state = wait_for_end(jobs.store, run_id, 60)
    assert state.status in ("paused", "failed")  # as it had room for a last word, or had none
    assert re.search("disk (is full|has 0)", state.problem)
    (small_disk / "filler").unlink()
    assert jobs.store.state(run_id).step >= 2  # what had been written is still there
    jobs.close()


def test_labels_and_new_tokens_are_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    teller = _Teller()
    head = {"name": "mood", "rows": 48, "metrics": {"accuracy": 0.9, "f1": 0.8}, "baseline": {"accuracy": 0.5}}
    teller.tell(EvalDone(step=0, metrics={"eval_old_loss": 2.0, "eval_perplexity": 7.0}))
    teller.tell(EvalDone(step=4, metrics={"eval_loss": 0.25, "eval_f1": 0.5}))
    teller.tell(LabelsScored(heads=[head], examples=[]))
    teller.tell(
        VocabularyExtended(terms=[{"term": "a", "count": 9, "pieces": 2}], tokens_before=1200, tokens_after=1100)
    )
    assert capsys.readouterr().out.splitlines() == [
        "loss on old data 2.000 (before training)",
        "held-out loss 0.250, F1 0.500 (step 4)",
        "mood: 48 held-out rows, tuned (constant answer): accuracy 0.900 (0.500), f1 0.800",
        "New tokens: 1; the training rows take 1,100 tokens, 1,200 before.",
    ]


@pytest.mark.slow
def test_a_disk_that_is_almost_full_rests_the_run_while_a_checkpoint_fits(
    small_disk: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio import preflight
    from studio.checkpoints import newest
    from studio.config import RunConfig
    from studio.jobs import Jobs
    from studio.store import wait_for_end

    monkeypatch.setattr(preflight, "DISK_NEEDED", 0)
    monkeypatch.setattr(preflight, "disk_bytes", lambda *_: 0)
    workspace = Workspace(small_disk).create()
    jobs = Jobs(workspace, Store(workspace), keep_warm=False)
    jobs.start()
    run_id = jobs.submit(RunConfig.parse({
        "model": "tiny", "dataset": {"source": str(rows_file)}, "method": {"name": "lora", "r": 4},
        "training": {"max_steps": 40, "answer_rows": 0},
    }))  # fmt: skip
    deadline = time.monotonic() + 60
    while jobs.store.state(run_id).step < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"x" * (free - 600_000))
    state = wait_for_end(jobs.store, run_id, 60)
    assert state.status == "paused", state
    assert "Paused because the disk has 0." in state.problem
    checkpoint, skipped = newest(workspace.run(run_id).checkpoints)
    assert checkpoint is not None
    assert (checkpoint.step, skipped) == (state.step, [])
    assert f"it will from step {state.step}" in state.problem
    filler.unlink()
    jobs.resume(run_id)
    assert wait_for_end(jobs.store, run_id, 60).status == "done"
    jobs.close()
