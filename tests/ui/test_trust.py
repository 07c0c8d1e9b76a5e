"""What a person sees of runs that are paused, cut off, queued, or short of memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.config import RunConfig
from studio.events import Continued, Queued, StepDone
from studio.jobs import create_run
from studio.processes import LIMIT
from studio.store import Store, wait_for_end
from studio.workspace import RunFolder, Workspace
from tests.ui.conftest import Studio, wait_for_status

pytestmark = pytest.mark.browser
Make = Callable[..., RunConfig]


def queued(workspace: Workspace, config: RunConfig) -> RunFolder:
    """A run that the studio finds waiting when it starts."""
    folder = create_run(workspace, config)
    folder.events.append(Queued())
    folder.events.close()
    return folder


@pytest.fixture
def later(workspace: Workspace) -> Iterator[Studio]:
    """A studio that the test starts itself."""
    running = Studio(workspace.root)
    yield running
    running.kill()
    running.end_runs()


def watch(browser: Browser, studio: Studio, folder: RunFolder) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{studio.url}/?run={folder.id}")
    page.locator("#live .live .chip").wait_for()
    return page


def steps_of(folder: RunFolder) -> list[int]:
    return [event.step for event in folder.events.read_from()[0] if isinstance(event, StepDone)]


@pytest.mark.slow
def test_a_paused_run_gives_way_survives_a_restart_and_goes_on(
    browser: Browser, later: Studio, workspace: Workspace, tiny_config: Make
) -> None:
    long = {"max_steps": 20_000, "eval_steps": 20_000, "answer_rows": 0}
    first = queued(workspace, tiny_config(training=long))
    second = queued(workspace, tiny_config(training={"max_steps": 3, "answer_rows": 0}))
    later.start()
    page = watch(browser, later, first)
    wait_for_status(page, "training", 60)
    assert Store(workspace).state(second.id).status == "queued"

    page.get_by_role("button", name="Pause").click()
    wait_for_status(page, "paused", 30)
    expect(page.locator("[data-live=messages]")).to_contain_text("It holds no memory now")
    deadline = time.monotonic() + 20
    while Store(workspace).state(first.id).process() is not None:
        assert time.monotonic() < deadline, "its process has not ended"
        page.wait_for_timeout(100)
    assert wait_for_end(Store(workspace), second.id, 60).status == "done"  # the queue went on

    later.kill()
    later.start()
    page.get_by_role("button", name="Continue").click()
    wait_for_status(page, "training", 60)
    rested = Store(workspace).state(first.id).step
    page.wait_for_function(f"document.querySelector('.tile strong').textContent.split(' ')[0] > {rested + 2}")

    page.get_by_role("button", name="Stop and save").click()
    wait_for_status(page, "stopped", 30)
    steps = steps_of(first)
    assert steps == list(range(1, len(steps) + 1))
    assert any(isinstance(event, Continued) for event in first.events.read_from()[0])
    page.close()


@pytest.mark.slow  # that it mends itself: test_jobs.py, test_resume.py; that notes are shown: test_workshop.py
def test_a_run_short_of_memory_mends_itself_and_says_so(
    browser: Browser,
    later: Studio,
    workspace: Workspace,
    tiny_config: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(LIMIT, "1.0")
    rows = tmp_path / "long.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": f"{i}", "completion": "x y z " * 90}) for i in range(128)))
    training = {"max_steps": 1, "per_device_train_batch_size": 128, "dtype": "float32", "answer_rows": 0}
    config = tiny_config(
        dataset={"source": str(rows), "validation_share": 0}, objective={"max_length": 512}, training=training
    )
    folder = queued(workspace, config)
    later.start()
    page = watch(browser, later, folder)
    wait_for_status(page, "done", 400)
    expect(page.locator("[data-live=messages]")).to_contain_text("Memory ran out")
    assert steps_of(folder) == [1]
    page.close()
