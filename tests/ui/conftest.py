"""A real studio in a process of its own, and a real browser in front of it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from studio.store import Store
from studio.workspace import Workspace
from tests.nursery import popen

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
UNWANTED = [
    # Each new window would load a page for its address bar's suggestions: a third of what opening the studio costs.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
    # What Playwright itself switches off, for Chromium heeds the last such list alone.
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "PaintHolding", "LensOverlay"),
    *("HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "MediaRouter", "ThirdPartyStoragePartitioning"),
    *("AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"),
    "PreconnectToSearch",
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=" + ",".join(UNWANTED),
    "--blink-settings=v8CacheOptions=3",  # scripts are compiled once, not twice, before they are kept as compiled
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: they take minutes, and what they rest on is tested before them.

    Of several processes one begins with them, those of the longest file first, so that all end together.
    """
    here, parallel = Path(__file__).parent, "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: (here in item.path.parents) != parallel)
    if parallel:
        items.sort(key=lambda item: item.path.stem != "test_accessible")


class Studio:
    """`finetune-studio` as a person starts it, or the `module` that stands in for it."""

    def __init__(self, workspace: Path, module: str = "tabs._main", port: int = 0) -> None:
        self.workspace = workspace
        self.module = module
        self.port = port
        self.log = workspace.parent / "server.log"
        self.process: Any = None
        self.url = ""

    def start(self) -> Studio:
        # Without a warm worker: most tests train nothing, and its imports take their processor.
        arguments = ["--no-browser", "--no-warm-worker", "--port", str(self.port), "--workspace", str(self.workspace)]
        with self.log.open("wb") as log:
            self.process = popen(
                [sys.executable, "-m", self.module, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the studio did not start"
            time.sleep(0.1)
        self.port, self.url = int(found[1]), found[0]
        return self

    def end_runs(self) -> None:
        """Runs outlive their server; those of a failed test must not outlive the test."""
        store = Store(Workspace(self.workspace))
        for state in store.states():
            if process := state.process():
                process.kill()

    def kill(self) -> None:
        """As a power cut would: no goodbye."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(workspace: Path, module: str = "tabs._main", port: int = 0) -> Iterator[Studio]:
    """A studio, started, that does not outlive its test."""
    studio = Studio(workspace, module, port)
    try:
        yield studio.start()
    finally:
        studio.kill()
        studio.end_runs()
        print(studio.log.read_text())  # pytest shows it where a test failed


@pytest.fixture(scope="session")
def port() -> int:
    """Where one studio after the other is reached, so that the browser knows its scripts already.

    Below those that the system gives to whoever connects: one of them could be taken while no studio listens.
    """
    for port in random.sample(range(10_000, 30_000), 100):
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def studio(tmp_path: Path, port: int, request: pytest.FixtureRequest) -> Iterator[Studio]:
    """A studio over an empty workspace; its parameter names a module that stands in for it."""
    with running(tmp_path / "workspace", getattr(request, "param", "tabs._main"), port) as studio:
        yield studio


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Studio]:
    """A studio for all tests of a file whose `studio` it is: they bear what the others left in its workspace."""
    with running(tmp_path_factory.mktemp("lasting") / "workspace", port=port) as studio:
        yield studio


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserType]:
    if CHROMIUM is None:
        if os.environ.get("FINETUNE_STUDIO_REQUIRE_BROWSER"):
            pytest.fail("no Chromium is installed, and browser tests must not be skipped here")
        pytest.skip("no Chromium is installed (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="session")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    """Each page of it knows nothing of what others have seen."""
    running = chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield running
    running.close()


@pytest.fixture(scope="session")
def returning(chromium: BrowserType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A browser that keeps the page's scripts as it compiled them: it opens the studio in half the processor's time."""
    profile = tmp_path_factory.mktemp("profile")
    running = chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS, no_viewport=True)
    yield running
    running.close()


expect.set_options(timeout=30_000)  # a busy machine is no fault of the page

Open = Callable[..., Page]


@pytest.fixture
def open_page(returning: BrowserContext, studio: Studio, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens the studio, a second time in another browser; at the end no page may have logged an error."""
    pages: list[Page] = []
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # While the server is down on purpose, polls that cannot reach it are no fault of the page.
        if message.type == "error" and "net::ERR_" not in message.text:
            complaints.append(f"{message.text} ({message.location})")

    def open_one(path: str = "/", *, width: int = 1280, height: int = 900) -> Page:
        page = request.getfixturevalue("browser").new_page() if pages else returning.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(30_000)
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(studio.url + path)
        page.get_by_role("tab", name="Start", exact=True).wait_for()
        page.locator("body[data-arrived]").wait_for()  # or it may leave the tab that a test has gone to
        return page

    yield open_one
    for page in pages:
        with suppress(PlaywrightError):  # of a test that closed it, or left it where no studio is
            page.evaluate("localStorage.clear()")  # the next test finds a browser that has never been here
        page.close()
    returning.clear_cookies()
    assert complaints == []


def go(page: Page, tab: str) -> None:
    """Click on a tab by its title; where the strip is too narrow for it, in the strip's menu."""
    page.locator("body[data-arrived]").wait_for(timeout=60_000)
    shown = page.get_by_role("tab", name=tab, exact=True).locator("visible=true")
    menu = page.locator("#tabs .overflow-menu > button").first
    listed = page.locator("#tabs .overflow-dropdown").first.get_by_role("button", name=tab, exact=True)
    deadline = time.monotonic() + 20
    while not shown.count() and not listed.count():  # the strip is laid out anew whenever the page is
        assert time.monotonic() < deadline, f"no tab {tab!r}"
        if menu.is_visible():
            menu.click()
        page.wait_for_timeout(100)
    (shown if shown.count() else listed).first.click()


def wait_for_status(page: Page, status: str, seconds: float) -> None:
    """Until the live panel shows `status`; a failure shows its sentence at once."""
    chip = page.locator("#live .live .chip")
    deadline = time.monotonic() + seconds
    while (shown := (chip.text_content() or "").strip()) != status:
        if shown == "failed" or time.monotonic() > deadline:
            raise AssertionError(
                f"the run is {shown!r}, not {status!r}: {page.locator('#live .live').inner_text()[:2000]}"
            )
        page.wait_for_timeout(200)
