"""What replaces parts of Gradio's scripts finds the same, and is what a page gets."""

from __future__ import annotations

import inspect
import time
from types import FunctionType

import gradio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from tabs._swifter import CHANGES, FOUND, LOOKED_UP, LOOP, NEWS, SEARCH, TOLD, router
from tests.ui.conftest import Studio

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
HEARD = """([pages, loop]) => {
    const look = new Function("e", "t", loop + "; return n");
    const core = {};
    return pages.map((page) => [1, 2, 3, 4, null].map((id) => look.call(core, { id }, page)));
}"""
# Nodes are found, at first and again, after others went before or after them, were taken away, or took their place.
SEARCHED = """(search) => {
    const Z = new Function(search + "; return Z")();
    const node = (id, ...children) => ({ id, children, name: "node " + id });
    const root = node(0, node(1, node(2), node(3)), node(4, node(5, node(6))), { id: 7, children: null });
    const told = [];
    const look = () => [0, 1, 2, 3, 4, 5, 6, 7, 8, null].forEach((id) => told.push(Z(root, id)?.name ?? null));
    look();
    look();
    root.children[0].children.unshift(node(8));
    look();
    root.children.splice(1, 1);
    look();
    root.children[0] = node(9, node(4), node(2), { id: 4, children: null, name: "the second 4" });
    look();
    told.push(Z(node(1, node(2)), 2).name, Z(node(2), 2).name, Z(node(1), 2));
    return told;
}"""
# What each of three components knows after each of some moments, and how often any was told.
WAITED = """async (tell) => {
    const known = {}, seen = [];
    let told = 0;
    const page = new (new Function("return class {" + tell + "}")())();
    page.update_state_cb = async (id, { loading_status }) => { told += 1; known[id] = loading_status; };
    for (const current of [
        { 1: {}, 2: {}, 3: {} },
        { 1: { status: "pending", fn_index: 4 }, 2: { status: "pending", fn_index: 4 }, 3: {} },
        { 1: { status: "complete", fn_index: 4 }, 2: { status: "pending", fn_index: 4 }, 3: { used_cache: null } },
        { 1: { status: "complete", fn_index: 5 }, 2: { status: "complete", fn_index: 4 }, 3: {} },
        { 1: {}, 2: { status: "error", fn_index: 4, message: "no" }, 3: {} },
        { 1: {}, 2: { status: "error", fn_index: 4, message: "nor this" }, 3: {} },
    ]) {
        page.loading_stati = { current };
        await page.update_loading_stati_state();
        seen.push(Object.values(known).map(({ status, fn_index, message }) => [status, fn_index, message]));
    }
    return [seen, told];
}"""


def test_whoever_waits_is_told_what_all_are_told(browser: Browser) -> None:
    page = browser.new_page()
    (slow, often), (quick, seldom) = (page.evaluate(WAITED, tell) for tell in (TOLD, NEWS))
    page.close()
    assert slow == quick
    assert (often, seldom) == (18, 11)


def test_a_page_at_rest_draws_nothing(browser: Browser, studio: Studio) -> None:
    page = browser.new_page()
    page.add_init_script(
        "window.frames_asked = 0; const asked = window.requestAnimationFrame.bind(window);"
        "window.requestAnimationFrame = (call) => { window.frames_asked += 1; return asked(call); };"
    )
    page.goto(studio.url)
    page.locator("body[data-arrived]").wait_for()
    asked = [page.evaluate("window.frames_asked")]
    deadline = time.monotonic() + 30
    while len(asked) < 2 or asked[-1] - asked[-2] > 5:  # in a second; what moved while the page came comes to rest
        assert time.monotonic() < deadline, f"{asked[-1] - asked[-2]} frames a second"
        page.wait_for_timeout(1000)
        asked.append(page.evaluate("window.frames_asked"))
    page.close()
    assert asked[0] > 0


def test_it_finds_what_the_search_finds(browser: Browser) -> None:
    page = browser.new_page()
    slow, quick = (page.evaluate(SEARCHED, search) for search in (SEARCH, FOUND))
    page.close()
    assert slow == quick
    assert (slow[6], slow[36], slow[46]) == ("node 6", None, None)


def test_it_finds_what_the_loop_finds(browser: Browser) -> None:
    page = browser.new_page()
    slow, quick = (page.evaluate(HEARD, [PAGES, loop]) for loop in (LOOP, LOOKED_UP))
    page.close()
    assert slow == quick
    assert slow[0][:3] == [["change", "change"], ["blur", "click"], []]


def test_the_installed_gradio_is_served_with_the_changes() -> None:
    """Where a newer Gradio is made otherwise, the page works without them; look then whether they are still needed."""
    app = FastAPI()
    app.include_router(router())
    paths = sorted(getattr(route, "path", "") for route in router().routes)
    assert [path.split("-")[0] for path in paths] == [f"/assets/{pattern.split('-')[0]}" for pattern in sorted(CHANGES)]
    for path, pattern in zip(paths, sorted(CHANGES), strict=True):
        changes = CHANGES[pattern]
        script = TestClient(app).get(path)
        assert script.headers["content-type"].startswith("text/javascript")
        for slow, quick in changes.items():
            assert slow not in script.text
            assert script.text.count(quick) == 1


def test_constructors_know_the_signature_that_they_have() -> None:
    for cls in (gradio.HTML, gradio.Row, gradio.Dropdown):
        init = inspect.unwrap(cls.__init__)
        unaware = FunctionType(init.__code__, init.__globals__, None, init.__defaults__, init.__closure__)
        unaware.__kwdefaults__, unaware.__annotations__ = init.__kwdefaults__, init.__annotations__
        assert inspect.signature(cls.__init__) == inspect.signature(unaware)
        assert inspect.signature(cls.__init__) is inspect.signature(cls.__init__)  # not worked out anew
