"""What replaces parts of Gradio's scripts finds the same, and is what a page gets."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from tabs._swifter import CHANGES, LOOKED_UP, LOOP, router

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
    slow, quick = (page.evaluate(FOUND, [PAGES, loop]) for loop in (LOOP, LOOKED_UP))
    page.close()
    assert slow == quick
    assert slow[0][:3] == [["change", "change"], ["blur", "click"], []]


def test_the_installed_gradio_is_served_with_the_changes() -> None:
    """Where a newer Gradio is made otherwise, the page works without them; look then whether they are still needed."""
    app = FastAPI()
    app.include_router(router())
    paths = sorted(getattr(route, "path", "") for route in router().routes)
    assert [path.split("-")[0] for path in paths] == ["/assets/Blocks", "/assets/core"]
    for path, changes in zip(paths, (CHANGES["Blocks-*.js"], CHANGES["core-*.js"]), strict=True):
        script = TestClient(app).get(path)
        assert script.headers["content-type"].startswith("text/javascript")
        for slow, quick in changes.items():
            assert slow not in script.text
            assert script.text.count(quick) == 1
