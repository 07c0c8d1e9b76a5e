"""Takes the README's pictures from the real page: a real run of the starter model in a headless Chromium.

python assets/screenshots/make.py [--workspace FOLDER]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent


def take(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1200)  # transitions come to rest
    page.screenshot(path=HERE / f"{name}.png")


def drive(page: Page, url: str) -> None:
    """The newcomer's path, with a picture at each stop."""
    page.goto(url)
    page.locator("#start-training").wait_for()
    take(page, "start")
    page.locator("#start-training").click()
    page.locator(".live .chip.training").wait_for(timeout=120_000)
    page.wait_for_function("document.querySelector('[data-live=loss]').data?.[0]?.x?.length >= 14", timeout=300_000)
    take(page, "training")
    page.locator(".live .chip.done").wait_for(timeout=600_000)
    take(page, "result")
    page.get_by_role("button", name="Talk to both models").click()
    page.locator("#chat-held-out input").click()
    page.get_by_role("option").nth(0).click()
    page.wait_for_timeout(800)
    page.locator("#chat-send").click()
    page.locator("#chat-outcome").wait_for(timeout=120_000)
    take(page, "chat")
    for tab in ("Dataset", "Train"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(1500)
        take(page, tab.lower())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.mkdtemp()))
    options = parser.parse_args()
    command = [str(Path(sys.executable).parent / "finetune-studio"), "--no-browser", "--port", "0"]
    own = {**os.environ, "FINETUNE_STUDIO_WORKSPACE": str(options.workspace)}  # so that no picture names its path
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the studio did not start"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            drive(browser.new_page(viewport={"width": 1280, "height": 940}), found[0] + "/?__theme=light")
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
