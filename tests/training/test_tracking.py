"""Trackers hold what a run's log holds, step for step, also where the run was interrupted; none can fail it."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from studio import trackers
from studio.config import RunConfig
from studio.errors import ConfigError
from studio.events import Continued, Done, EvalDone, StepDone
from studio.jobs import Jobs, create_run
from studio.store import Store, wait_for_end
from studio.trackers import PACKAGES
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]
Curves = dict[str, dict[int, float]]  # name → step → value
ALL = {"tensorboard": True, "wandb": "offline", "trackio": True, "mlflow": True}
INSTALLED = {name: how for name, how in ALL.items() if find_spec(name)}
NAMES = {"train/loss": "loss", "train/grad_norm": "grad_norm", "eval/loss": "eval_loss"}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with every tracker that is installed, whose worker rested in the middle and was followed by another."""
    root = tmp_path_factory.mktemp("tracked")
    rows = [{"prompt": f"say {i % 7}", "completion": f"the number is {i % 7}"} for i in range(24)]
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    workspace = Workspace(root / "workspace").create()
    config = RunConfig.parse(
        {
            "model": "tiny",
            "dataset": {"source": str(root / "rows.jsonl"), "validation_share": 0.2},
            "method": {"name": "lora", "r": 4},
            "training": {
                "max_steps": 160,
                "eval_steps": 40,
                "learning_rate": 0.01,
                "answer_rows": 0,
                "save_steps": 30,
            },
            "trackers": INSTALLED,
        }
    )
    jobs = Jobs(workspace, Store(workspace), keep_warm=False)
    jobs.start()
    folder = workspace.run(jobs.submit(config))
    while jobs.store.state(folder.id).step < 3:
        assert jobs.store.state(folder.id).active, folder.log.read_text()
        time.sleep(0.05)
    jobs.pause(folder.id)
    assert wait_for_end(jobs.store, folder.id, 60).status == "paused"
    jobs.resume(folder.id)
    wait_for_end(jobs.store, folder.id, 60)
    jobs.close()
    events, _ = folder.events.read_from()
    assert any(isinstance(event, Continued) for event in events)
    assert isinstance(events[-1], Done), folder.log.read_text()
    assert jobs.store.state(folder.id).notes == []
    return folder


def told(folder: RunFolder) -> Curves:
    events, _ = folder.events.read_from()
    found: Curves = {name: {} for name in NAMES}
    for event in events:
        if isinstance(event, StepDone | EvalDone):
            for name, ours in NAMES.items():
                if ours in event.metrics:
                    found[name][event.step] = event.metrics[ours]
    assert len(found["train/loss"]) == 160
    assert list(found["eval/loss"]) == [0, 40, 80, 120, 160]
    return found


def once(points: list[tuple[str, int, float]]) -> Curves:
    """As curves; no step may be there twice."""
    found: Curves = {name: {} for name in NAMES}
    for name, step, value in points:
        if name in found:
            assert step not in found[name], f"{name} has step {step} twice"
            found[name][step] = value
    return found


def place(folder: RunFolder) -> Path:
    return folder.path.parents[1] / "trackers"


def records(log: bytes) -> Iterator[bytes]:
    """Those of a file that wandb keeps: seven bytes, then LevelDB's log format in blocks of 32 KiB."""
    at, record = 7, b""
    while at < len(log):
        if (left := -at % 2**15) < 7 and left:
            at += left
        _, length, part = struct.unpack_from("<IHB", log, at)
        at += 7
        record += log[at : at + length]
        at += length
        if part in (1, 4):  # whole, or the last part of one
            yield record
            record = b""


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name not in INSTALLED, reason=f"needs {PACKAGES[name]}")


@needs("tensorboard")
def test_tensorboard_has_the_curves_of_the_log(tracked: RunFolder) -> None:
    loader: Any = import_module("tensorboard.backend.event_processing.event_file_loader")
    kind: Any = import_module("tensorboard.compat.proto.event_pb2")

    points = []
    for file in (place(tracked) / "tensorboard" / tracked.id).iterdir():
        for raw in loader.RawEventFileLoader(str(file)).Load():
            event = kind.Event.FromString(raw)
            points += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    found, expected = once(points), told(tracked)
    for name, curve in expected.items():  # its files hold numbers of 32 bits
        assert found[name] == {step: struct.unpack("f", struct.pack("f", each))[0] for step, each in curve.items()}


@needs("wandb")
def test_weights_and_biases_has_the_curves_of_the_log(tracked: RunFolder) -> None:
    kind: Any = import_module("wandb.proto.wandb_internal_pb2")

    points = []
    for file in (place(tracked) / "wandb").glob("offline-run-*/*.wandb"):
        for data in records(file.read_bytes()):
            row = {"/".join(i.nested_key) or i.key: i.value_json for i in kind.Record.FromString(data).history.item}
            points += [(name, json.loads(row["train/global_step"]), json.loads(row[name])) for name in row]
    assert once(points) == told(tracked)


@needs("trackio")
def test_trackio_has_the_curves_of_the_log(tracked: RunFolder) -> None:
    with sqlite3.connect(place(tracked) / "trackio" / "finetune-studio.db") as connection:
        rows = connection.execute("select metrics from metrics where run_name = ?", [tracked.id]).fetchall()
    connection.close()
    parsed: list[dict[str, Any]] = [json.loads(row) for (row,) in rows]
    assert once([(name, row["train/global_step"], row[name]) for row in parsed for name in row]) == told(tracked)


@needs("mlflow")
def test_mlflow_has_the_curves_of_the_log(tracked: RunFolder) -> None:
    runs = list((place(tracked) / "mlruns").glob("*/*/metrics"))
    assert len(runs) == 1
    points = []
    for file in (path for path in runs[0].rglob("*") if path.is_file()):
        name = file.relative_to(runs[0]).as_posix()
        name = f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}"  # it keeps our own names
        lines = (line.split() for line in file.read_text().splitlines())
        points += [(name, int(step), float(value)) for _, value, step in lines]
    assert once(points) == told(tracked)


@needs("wandb")
@needs("mlflow")
def test_a_tracker_that_cannot_work_is_a_note(
    jobs: Jobs, workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where a key may be kept
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run_id = jobs.submit(tiny_config(trackers={"wandb": "online", "mlflow": True}))
    state = wait_for_end(jobs.store, run_id, 120)
    assert state.status == "done", workspace.run(run_id).log.read_text()
    assert state.step == 4
    said = [note for note in state.notes if note.startswith("The run goes on without")]
    assert [name for name in ("Weights & Biases", "MLflow") if any(name in note for note in said)] == [
        "Weights & Biases",
        "MLflow",
    ]


def test_one_that_is_not_installed_is_refused_by_the_name_of_its_package(
    workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "missing", lambda: ["mlflow"])
    with pytest.raises(ConfigError, match=r"MLflow is not installed.*pip install mlflow-skinny"):
        create_run(workspace, tiny_config(trackers={"mlflow": True}))
    assert workspace.run_folders() == []
