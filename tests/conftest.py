"""What several tests need: a workspace, small data, a finished small run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it: tests never reach for a hub

import pytest
from filelock import FileLock

from studio.config import RunConfig
from studio.jobs import Jobs
from studio.store import Store
from studio.workspace import Workspace
from tests import nursery

ROOT = Path(__file__).resolve().parents[1]


nursery.install(starts=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are slower on several threads, and far slower beside other work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_in_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are the processes that a test starts, unless it alone trains the real starter model.

    Two trainings whose threads wait for one another's cores take ten times as long as one.
    """
    if request.node.get_closest_marker("starter") is None or "PYTEST_XDIST_WORKER" in os.environ:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def starter_model(pytestconfig: pytest.Config) -> Path:
    """The real starter model's folder; fetched once (93 MB) and kept in pytest's cache."""
    from studio.models.bundled import fetched
    from studio.models.starter import STARTER

    models = pytestconfig.cache.mkdir("models")  # pyright: ignore[reportOptionalMemberAccess]
    with FileLock(models / ".lock"):  # tests may run in several processes
        return fetched(STARTER, models, lambda *_: None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").create()


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Forty small rows that a tiny model can learn something from."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"say {i % 7}", "completion": f"the number is {i % 7}, row {i}"} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def tiny_config(rows_file: Path) -> Callable[..., RunConfig]:
    """A config that trains the tiny model in seconds; keyword arguments change groups of it."""

    def make(**changes: Any) -> RunConfig:
        values: dict[str, Any] = {
            "model": "tiny",
            "dataset": {"source": str(rows_file), "validation_share": 0.2},
            "objective": {"name": "next_token", "max_length": 128},
            "method": {"name": "lora", "r": 4},
            "training": {
                "max_steps": 4,
                "per_device_train_batch_size": 4,
                "learning_rate": 0.01,
                "answer_rows": 2,
                "max_new_tokens": 4,
            },
        }
        for key, value in changes.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
        return RunConfig.parse(values)

    return make


@pytest.fixture
def jobs(workspace: Workspace) -> Iterator[Jobs]:
    """A running queue without a warm worker."""
    queue = Jobs(workspace, Store(workspace), keep_warm=False)
    queue.start()
    yield queue
    for state in queue.store.states():
        if process := state.process():
            process.kill()  # of a failed test; a run would outlive it
    queue.close()
