"""What replaces Gradio's slowest loop finds the same, and is what a page gets."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from tabs._swifter import QUICK, SLOW, router

pytestmark = pytest.mark.browser

# Handlers that share components, that name one twice, that name none; a list of handlers after another.
PAGES = [
    [
        {"targets": [[1, "change"], [2, "blur"]]},
        {"targets": [[2, "click"], [2, "submit"], [3, ""]]},
        {"targets": []},
        {"targets": [[None, "load"], [1, "change"]]},
    ],
    [{"targets": [[3, "click"]]}],
]
FOUND = """([pages, loop]) => {
    const look = new Function("e", "t", loop + "; return n");
    const core = {};
    return pages.map((page) => [1, 2, 3, 4, null].map((id) => look.call(core, { id }, page)));
}"""


def test_it_finds_what_the_loop_finds(browser: Browser) -> None:
    page = browser.new_page()
    slow, quick = (page.evaluate(FOUND, [PAGES, loop]) for loop in (SLOW, QUICK))
    page.close()
    assert slow == quick
    assert slow[0][:3] == [["change", "change"], ["blur", "click"], []]


def test_the_installed_gradio_is_served_with_it() -> None:
    """Where a newer Gradio has another loop, the page works without this; look then whether it is still needed."""
    app = FastAPI()
    app.include_router(router())
    (path,) = (getattr(route, "path", "") for route in router().routes)
    script = TestClient(app).get(path)
    assert QUICK in script.text
    assert SLOW not in script.text
    assert script.headers["content-type"].startswith("text/javascript")
