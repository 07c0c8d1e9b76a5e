"""Runs that are told again rather than trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.events import Done, Paused, Queued, Started, Stopped
from studio.jobs import Jobs
from studio.replayer import RECORDED, Replay, create_replay, tell
from studio.store import Store, wait_for_end
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as it is shipped, its end cut short."""
    folder = tmp_path_factory.mktemp("recorded") / "replay"
    shutil.copytree(RECORDED, folder)
    return folder


def replayed(workspace: Workspace, recorded: Path) -> RunFolder:
    return create_replay(workspace, 10_000, recorded)


def test_it_tells_what_was_told_and_leaves_what_was_learnt(workspace: Workspace, recorded: Path) -> None:
    folder = replayed(workspace, recorded)
    folder.events.append(tell(folder, recorded))
    own, shipped = Store(workspace), RunFolder(recorded)
    state = own.state(folder.id)
    assert state.status == "done"
    assert [vars(point) for point in own.points(folder.id)] == [vars(point) for point in _points(shipped, workspace)]
    assert (folder.adapter / "adapter_model.safetensors").read_bytes() == (
        recorded / "adapter" / "adapter_model.safetensors"
    ).read_bytes()
    assert any("Nothing is trained here" in note for note in state.notes)
    assert "replay" in state.title
    assert state.answers
    assert state.answers.rows


def _points(folder: RunFolder, workspace: Workspace) -> list[object]:
    """Those of the recorded run, read as any run's."""
    there = workspace.new_run("shipped")
    for name in ("config.json", "events.jsonl"):
        shutil.copyfile(folder.path / name, there.path / name)
    points = Store(workspace).points(there.id)
    shutil.rmtree(there.path)
    return list(points)


@pytest.mark.parametrize("flag", ["pause_flag", "stop_flag"])
def test_it_is_left_amid_its_steps_and_goes_on_there(
    workspace: Workspace, recorded: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    folder = replayed(workspace, recorded)
    monkeypatch.setattr(
        "studio.replayer.replace", _raising(folder, flag, after=30)
    )  # somebody ends it while it is told
    ended = tell(folder, recorded)
    monkeypatch.undo()
    assert isinstance(ended, Paused if flag == "pause_flag" else Stopped)
    seen = Store(workspace).points(folder.id)
    assert 0 < len(seen) < len(_points(RunFolder(recorded), workspace))
    assert ended.step == max(point.step for point in seen)
    assert not folder.adapter.exists()
    getattr(folder, flag).unlink()
    assert isinstance(tell(folder, recorded), Done)
    assert [vars(each) for each in Store(workspace).points(folder.id)] == [
        vars(each) for each in _points(RunFolder(recorded), workspace)
    ]


def _raising(folder: RunFolder, flag: str, after: int) -> Callable[..., object]:
    from dataclasses import replace

    def counting(*args: object, **changes: object) -> object:
        if Replay.read(folder).told >= after:
            getattr(folder, flag).touch()
        return replace(*args, **changes)  # pyright: ignore

    return counting


def test_the_queue_tells_it_beside_a_run_that_trains(jobs: Jobs, tiny_config: Make) -> None:
    trains = jobs.submit(tiny_config(training={"max_steps": 400}))
    told = jobs.replay(10_000)
    assert wait_for_end(jobs.store, told, 60).status == "done"
    assert jobs.store.state(trains).active
    events = jobs.workspace.run(told).events.read_from()[0]
    assert [type(event) for event in events[:2]] == [Queued, Started]
    assert isinstance(events[-1], Done)
    jobs.stop(trains)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), 1e9])
def test_a_speed_that_is_none_is_refused_before_anything_is_made(workspace: Workspace, speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        create_replay(workspace, speed)
    assert not workspace.run_folders()


def test_what_is_shipped_is_small_and_names_no_machine() -> None:
    assert sum(path.stat().st_size for path in RECORDED.rglob("*") if path.is_file()) < 3_000_000
    told = (RECORDED / "events.jsonl").read_text(encoding="utf-8")
    assert "/home/" not in told
    assert "/tmp/" not in told
    assert json.loads((RECORDED / "config.json").read_text())["model"] == "starter"
