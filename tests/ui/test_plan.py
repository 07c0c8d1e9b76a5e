"""Memory as it is planned in the Train tab, on a machine that has hardly any."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from studio.models import machine
from studio.models.machine import Room
from studio.workspace import Workspace
from tabs.app import make_app
from tests.ui.conftest import go
from tests.ui.steps import choose
from tests.ui.test_tiny import fill

pytestmark = pytest.mark.browser

NEEDED = 660_000_000  # bytes: what tiny runs take, libraries included, with little to spare


@pytest.fixture
def page(browser: Browser, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A studio within this process, so that its machine can be made small."""
    monkeypatch.setattr(machine, "room", lambda *_: Room(gpu=False, free=round(NEEDED / 0.8), total=10**9, halves=True))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(workspace, keep_warm=False), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield opened
    opened.close()
    server.should_exit = True
    thread.join(timeout=20)


def test_the_bar_follows_the_form_and_make_it_fit_can_be_taken_back(page: Page) -> None:
    go(page, "Train")
    choose(page, "train-model", "Tiny")
    memory = page.locator("#train-memory")
    fill(page, "per_device_train_batch_size", "1")
    expect(memory).to_contain_text("Memory: fits")
    expect(page.locator("#train-fit")).not_to_be_visible()

    fill(page, "per_device_train_batch_size", "512")
    expect(memory).to_contain_text("Memory: too large")
    width = "parseFloat(document.querySelector('#train-memory .stack .part-activations').style.width)"
    assert page.evaluate(width) > 5
    why = memory.locator("li", has_text="Activations")
    why.focus()
    expect(why.get_by_role("tooltip")).to_be_visible()
    expect(why).to_contain_text("tokens of the largest batch")

    page.locator("#train-fit").click()
    steps = page.locator("#train-fit-steps")
    expect(steps).to_contain_text("instead of 512, summed")
    page.locator("#train-fit-apply").click()
    expect(memory).to_contain_text("Memory: fits")
    expect(page.locator("#train-yaml")).to_contain_text("gradient_accumulation_steps")
    expect(steps).not_to_be_visible()

    page.locator("#train-fit-undo").click()
    expect(memory).to_contain_text("Memory: too large")
    expect(page.locator("#train-yaml")).to_contain_text("per_device_train_batch_size: 512")
    expect(page.locator("#train-fit-undo")).not_to_be_visible()
