"""The machine's meters, memory given back on request, and memory that a run gives back by itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
from fastapi import FastAPI

from studio import meters as module
from studio.child import Child
from studio.config import RunConfig
from studio.errors import ModelError
from studio.jobs import Jobs
from studio.meters import Freed, Meters
from studio.store import Store, wait_for_end
from studio.workspace import Workspace
from tabs import _engines
from tabs._meters import router, told
from tests.holder import SIZE
from tests.nvml import GB, Nvml, gpu

Make = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is a new one, and every GPU is seen."""
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Child]:
    child = Child("tests.holder", tmp_path / "chat.log", "It died.", "Ask again.")
    yield child
    child.close()


@pytest.fixture
def meters(workspace: Workspace, chat: Child) -> Meters:
    jobs = Jobs(workspace, Store(workspace), keep_warm=False)
    return Meters(jobs, {"chat": chat}, Nvml())


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_this_studios_parts_are_told_apart(meters: Meters, chat: Child) -> None:
    alone = meters.read()
    assert set(alone.own) == {"page"}
    assert alone.own["page"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.5)
    list(chat.ask({}))
    own = meters.read().own
    assert SIZE < own["chat"] < SIZE + 100_000_000
    assert 0 <= meters.read().cpu <= 100


def test_what_idles_is_ended_and_what_comes_back_is_told(meters: Meters, chat: Child) -> None:
    assert told(meters.free()) == "Nothing to free: no model is loaded beside training runs."
    list(chat.ask({}))
    process = psutil.Process(chat.pid)
    freed = meters.free()
    assert SIZE < freed.ram < SIZE + 100_000_000
    assert told(freed) == f"{freed.ram / 1e9:.1f} GB of memory is free again."
    assert not process.is_running()
    assert "chat" not in meters.read().own
    assert list(chat.ask({})) == [{"id": 2, "held": SIZE}]  # it is there again when it is needed


def test_an_answer_in_progress_is_ended_only_on_demand_and_with_a_sentence(meters: Meters, chat: Child) -> None:
    answer = chat.ask({"slow": True})
    next(answer)
    refused = meters.free()
    assert refused.busy == ["chat"]
    assert told(refused) == "The chat's model is writing, so its memory was not touched."
    assert chat.pid
    ending = threading.Timer(0.3, meters.free, [True])  # while the answer's reader waits for the next part
    ending.start()
    with pytest.raises(ModelError, match="ended to free its memory"):
        next(answer)
    ending.join()
    assert list(chat.ask({}))


def test_whatever_is_busy_has_words(workspace: Workspace) -> None:
    for name in _engines.over(workspace).children():
        assert "so its memory was not touched" in told(Freed(ram=0, gpu=0, busy=[name]))


def test_what_comes_back_of_a_gpu_is_told() -> None:
    said = told(Freed(ram=900_000_000, gpu=3 * GB, busy=["adapter"]))
    assert said == (
        "0.9 GB of memory is free again, and 3.0 GB of the GPU. "
        "An adapter is being weighed, so its memory was not touched."
    )


def test_a_child_that_dies_of_itself_says_its_own_sentence(chat: Child) -> None:
    answer = chat.ask({"slow": True})
    next(answer)
    psutil.Process(chat.pid).kill()
    with pytest.raises(ModelError, match="It died"):
        next(answer)


def test_browsers_share_a_sample_and_a_reply_is_small(meters: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 60.0)
    nvml = Nvml(*(gpu("NVIDIA H100 80GB HBM3", total=85 * GB) for _ in range(8)))
    meters = Meters(meters._jobs, {}, nvml)
    app = FastAPI()
    app.include_router(router(meters))
    with serving(app) as url:
        first, second = (httpx.get(f"{url}/studio/meters") for _ in range(2))
        assert nvml.counted == 1
        assert httpx.post(f"{url}/studio/memory/free").json() == {
            "told": "Nothing to free: no model is loaded beside training runs.",
            "busy": False,
        }
    assert first.json() == second.json()
    assert first.json()["gpus"][7]["memory"] == [2.0, 85.0]
    assert len(first.content) < 1024


class serving:
    """The app over real HTTP."""

    def __init__(self, app: FastAPI) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        wait_until(lambda: self.server.started)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)


@pytest.mark.parametrize("end", ["done", "failed"])
def test_a_run_gives_its_memory_back(jobs: Jobs, tiny_config: Make, rows_file: Path, end: str) -> None:
    meters = Meters(jobs, {}, Nvml())
    before = sum(meters.read().own.values())
    run_id = jobs.submit(tiny_config())
    if end == "failed":
        rows_file.unlink()
    family: set[psutil.Process] = set()
    most = 0
    while jobs.store.state(run_id).active:
        most = max(most, meters.read().own.get("run", 0))
        with contextlib.suppress(psutil.Error):  # it may end while we look
            family |= {psutil.Process(pid) for pid in jobs.processes()["run"]}
            family |= {child for each in family for child in each.children()}
        time.sleep(0.01)
    assert wait_for_end(jobs.store, run_id, 10).status == end
    assert family
    assert most > (50_000_000 if end == "done" else 0)  # one that fails at once has little of its own
    wait_until(lambda: not any(each.is_running() for each in family), 20)
    wait_until(lambda: not jobs.processes()["run"], 20)
    own = meters.read().own
    assert set(own) == {"page"}
    assert sum(own.values()) < before + 50_000_000


def test_the_worker_that_waits_is_shown_as_such(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.jobs.WARM_AFTER_SECONDS", 0.0)
    jobs = Jobs(workspace, Store(workspace))
    jobs.start()
    try:
        meters = Meters(jobs, {}, Nvml())
        wait_until(lambda: "waiting worker" in meters.read().own)
        assert meters.free().ram == 0
        assert jobs.processes()["waiting worker"]
    finally:
        jobs.close()
    assert "waiting worker" not in meters.read().own
