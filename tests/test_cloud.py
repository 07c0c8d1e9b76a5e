"""Runs in the cloud, whose jobs really run: here, each in processes of its own."""

from __future__ import annotations

import inspect
import json
import os
import signal
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from studio import cli, cloud
from studio.cloud import PRICES, Cloud, pack
from studio.cloud_script import MARK, PIECE, lines_of, told
from studio.config import RunConfig
from studio.data import library
from studio.errors import ConfigError, RunError
from studio.events import Continued, EvalDone, Event, Started, StepDone
from studio.jobs import Jobs, create_run
from studio.preflight import check
from studio.store import Store, wait_for_end
from studio.workspace import RunFolder, Workspace
from tests.conftest import ROOT
from tests.fake_hub import METHODS, FakeHub

PUT_IN_PLACE = "import huggingface_hub\nfrom tests.fake_hub import FakeHub\nhuggingface_hub.HfApi = FakeHub\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The stand-in, in every process that is started meanwhile."""
    place, root = tmp_path / "site", tmp_path / "hub"
    place.mkdir()
    (root / "jobs").mkdir(parents=True)
    (place / "sitecustomize.py").write_text(PUT_IN_PLACE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("FAKE_HUB", str(root))
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    hub = FakeHub()
    yield hub
    for job in hub.list_jobs():
        hub.cancel_job(job_id=job.id)


def about_jobs(hub: FakeHub) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(hub.root.glob("jobs/*/about.json"))]


def events_of(folder: RunFolder) -> list[Event]:
    return folder.events.read_from()[0]


def begin(jobs: Jobs, config: RunConfig, seconds: int = 600) -> RunFolder:
    """A run in the cloud, which the queue takes as one that goes on."""
    folder = create_run(jobs.workspace, config, Cloud("cpu-basic", seconds))
    jobs.resume(folder.id)
    return folder


def wait_for(found: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def steps_of(folder: RunFolder) -> list[int]:
    return [event.step for event in events_of(folder) if isinstance(event, StepDone)]


def test_stand_in_has_the_real_interface() -> None:
    for name in METHODS:
        real, ours = (inspect.signature(getattr(each, name)).parameters.values() for each in (HfApi, FakeHub))
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in real], name
    used = Path(ROOT / "studio" / "follower.py").read_text(encoding="utf-8")
    assert {name for name in dir(HfApi) if f"hub.{name}(" in used} == set(METHODS)


def test_run_in_the_cloud_is_told_as_one_here(
    hub: FakeHub, workspace: Workspace, tiny_config: Callable[..., RunConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    path = workspace.root / "run.yaml"
    path.write_text(tiny_config(training={"eval_steps": 2}).to_yaml(), encoding="utf-8")
    told, said = {}, ""
    for where, arguments in {"here": [], "cloud": ["--cloud", "cpu-basic", "--hours", "0.2"]}.items():
        assert cli.main(lambda *_: None, ["train", str(path), "--workspace", str(workspace.root), *arguments]) == 0
        signal.signal(signal.SIGINT, signal.default_int_handler)
        said = capfd.readouterr().out
        told[where] = events_of(RunFolder(Path(said.splitlines()[-1])))
    assert "$0.01 an hour by an estimate" in said
    assert "private bucket" in said
    folder = RunFolder(Path(said.splitlines()[-1]))

    def told_of(where: str, kind: type[Any]) -> list[dict[str, float]]:
        return [
            {name: value for name, value in event.metrics.items() if "per_second" not in name and "memory" not in name}
            for event in told[where]
            if isinstance(event, kind)
        ]

    assert told_of("cloud", StepDone) == told_of("here", StepDone)
    assert told_of("cloud", EvalDone) == told_of("here", EvalDone)
    kinds = {where: {type(event).__name__ for event in events} - {"Note"} for where, events in told.items()}
    assert kinds["cloud"] == kinds["here"]
    for event in told["cloud"]:
        raw = json.loads(json.dumps(event.__dict__))
        assert raw.keys() == {field.name for field in fields(event)}
    state = Store(workspace).state(folder.id)
    assert (state.status, state.device, state.step) == ("done", "cloud", 4)
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    assert folder.held_out.is_file()

    (job,) = about_jobs(hub)
    assert job["timeout"] == 720
    assert job["secrets"] == []  # the tiny model needs none
    assert f"transformers=={__import__('transformers').__version__}" in job["dependencies"]
    assert not [path for path in (hub.root / "somebody").rglob("*") if path.is_file()]  # nothing is left behind
    assert "hf_nobody" not in folder.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_stop_ends_the_job_and_a_new_one_goes_on(
    hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]
) -> None:
    folder = begin(jobs, tiny_config(training={"max_steps": 200, "save_steps": 10, "answer_rows": 0}))
    wait_for(lambda: len(steps_of(folder)) > 15)
    jobs.stop(folder.id)
    state = wait_for_end(jobs.store, folder.id, 30)
    assert state.status == "stopped"
    (job,) = hub.list_jobs()
    assert job.status.stage == "CANCELED"
    assert any(folder.checkpoints.iterdir())
    assert Cloud.read(folder).job == ""
    spent = Cloud.read(folder).spent
    assert spent > 0

    jobs.resume(folder.id)
    assert wait_for_end(jobs.store, folder.id, 180).status == "done"
    assert len(about_jobs(hub)) == 2
    assert about_jobs(hub)[1]["timeout"] == 600 - spent
    (went_on,) = (event for event in events_of(folder) if isinstance(event, Continued))
    assert went_on.step >= 10
    assert steps_of(folder) == list(range(1, 201))


def test_killed_follower_finds_its_job_again(hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    (hub.root / "die").touch()
    folder = begin(jobs, tiny_config(training={"max_steps": 150, "answer_rows": 0}))
    assert wait_for_end(jobs.store, folder.id, 30).lost  # it died with its job begun, and its id not written down
    assert Cloud.read(folder).job == ""
    jobs.resume(folder.id)
    wait_for(lambda: steps_of(folder))
    process = jobs.store.state(folder.id).process()
    assert process is not None
    process.kill()
    assert wait_for_end(jobs.store, folder.id, 30).lost
    jobs.resume(folder.id)
    assert wait_for_end(jobs.store, folder.id, 180).status == "done"
    assert len(about_jobs(hub)) == 1
    assert steps_of(folder) == list(range(1, 151))
    assert {event.pid for event in events_of(folder) if isinstance(event, Started)} >= {process.pid}


def test_time_that_is_up_lets_the_run_rest(hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    (hub.root / "seconds").write_text("1", encoding="ascii")
    folder = begin(jobs, tiny_config(training={"max_steps": 90_000}))
    state = wait_for_end(jobs.store, folder.id, 30)
    assert (state.status, state.problem) == ("paused", "The time that the run may take in the cloud is over.")


def test_time_that_is_used_up_begins_no_job(hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    folder = create_run(jobs.workspace, tiny_config(), Cloud("cpu-basic", 70, spent=60))
    jobs.resume(folder.id)
    state = wait_for_end(jobs.store, folder.id, 30)
    assert state.status == "failed"
    assert "used up" in state.problem
    assert not about_jobs(hub)


def test_job_that_dies_is_told_of(hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    folder = begin(jobs, tiny_config())
    wait_for(lambda: Cloud.read(folder).job)
    (job,) = about_jobs(hub)
    wait_for(lambda: _children(job["pid"]))
    os.kill(int(_children(job["pid"])[0]), signal.SIGKILL)
    state = wait_for_end(jobs.store, folder.id, 30)
    assert state.status == "failed"
    assert "ended without a word (ERROR: exit code -9)" in state.problem


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


@pytest.mark.parametrize("way", ["killed", "deleted"])
def test_no_job_outlives_its_run(
    way: str, hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(jobs, tiny_config(training={"max_steps": 90_000}))
    wait_for(lambda: Cloud.read(folder).job)
    if way == "deleted":
        process = jobs.store.state(folder.id).process()
        assert process is not None
        process.kill()
        state = wait_for_end(jobs.store, folder.id, 30)
        assert "may go on, and cost" in state.problem
        monkeypatch.setenv("FAKE_HUB", str(hub.root / "away"))
        with pytest.raises(RunError, match="could not be ended"):
            jobs.delete(folder.id)
        monkeypatch.setenv("FAKE_HUB", str(hub.root))
        jobs.delete(folder.id)
        assert not jobs.workspace.run_folders()
    else:
        jobs.kill(folder.id)
        assert jobs.store.state(folder.id).status == "stopped"
    wait_for(lambda: not jobs.processes()["run"])
    (job,) = hub.list_jobs()
    assert job.status.stage == "CANCELED"


def test_public_bucket_is_refused(hub: FakeHub, jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    (hub.root / "public").touch()
    folder = begin(jobs, tiny_config())
    state = wait_for_end(jobs.store, folder.id, 30)
    assert state.problem == "The bucket somebody/finetune-studio is public."
    assert not about_jobs(hub)
    assert not [path for path in (hub.root / "somebody").rglob("*") if path.is_file()]


def test_only_the_version_in_use_is_sent(hub: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    rows = tmp_path / "mine.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": f"p{i}", "completion": f"c{i}"}) for i in range(20)))
    name = library.add(workspace, rows, rows.name)
    kept = library.own(workspace, name)

    def write(to: Path) -> None:
        library.write_rows([{"prompt": "a", "completion": "b"}] * 3, to)

    library.collection.new_version(kept, write, parent="", by="", what=())
    config = RunConfig.parse({"model": "tiny", "dataset": {"source": name, "version": kept.current}})
    folder = create_run(workspace, config, Cloud("cpu-basic", 600))
    pack(folder, workspace, tmp_path / "parcel.tar.gz")
    with tarfile.open(tmp_path / "parcel.tar.gz") as tar:
        names = tar.getnames()
    assert f"workspace/datasets/{name}/versions/{kept.current}.parquet" in names
    assert sum(each.startswith(f"workspace/datasets/{name}/versions/") for each in names) == 1
    assert "studio/worker.py" in names
    assert f"workspace/runs/{folder.id}/cloud.json" not in names


def test_sentences_refuse_what_the_cloud_cannot_do(
    hub: FakeHub, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tiny_config: Callable[..., RunConfig],
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match="no machine of Hugging Face Jobs"):
        Cloud.ask("abacus", 1)
    with pytest.raises(ConfigError, match="less than a minute"):
        Cloud.ask("h200", 1, most=0.01)
    with pytest.raises(ConfigError, match="Trackers do not reach"):
        check(tiny_config(trackers={"tensorboard": True}), workspace, here=False)
    with pytest.raises(ConfigError, match="folder of this machine"):
        cloud.check_cloud(tiny_config(model=str(tmp_path)))
    with pytest.raises(ConfigError, match="'Sentiment' is given by another run"):
        cloud.check_cloud(tiny_config(rewards={"sentiment": {}}))
    check(tiny_config(training={"num_processes": 64}), workspace, here=False)  # nothing is asked of this machine
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(ConfigError, match="no Hugging Face token"):
        create_run(workspace, tiny_config(), Cloud("cpu-basic", 600))
    assert not workspace.run_folders()


def test_dollars_bound_the_time() -> None:
    assert Cloud.ask("t4-small", 10, most=0.2).seconds == 1800
    assert Cloud.ask("t4-small", 1).cost() == pytest.approx(PRICES["t4-small"])


def test_lines_survive_a_log() -> None:
    texts = ['{"text":"two  spaces, \\u00fc"}', '{"long":"' + "ab " * PIECE + '"}']
    lines = [line for text in texts for line in lines_of("event", text)]
    assert len(lines) > 3
    assert all(len(line) < PIECE + 100 for line in lines)
    assert [text for _, text in told(lines)] == texts
    # A log that is read again from its beginning, amid a long text, after a word of somebody else.
    torn = [*lines[:2], f"{MARK} is how lines begin", *lines]
    assert [text for kind, text in told(torn) if kind] == [texts[0], *texts]


def test_job_installs_all_that_the_engine_needs() -> None:
    not_of_a_run = {"gradio", "fastapi", "uvicorn", "plotly", "optuna", "gepa", "httpx", "sacrebleu"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {each.split(">=")[0] for each in project["dependencies"]}
    assert set(cloud._NEEDED) == named - not_of_a_run
