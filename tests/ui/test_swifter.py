"""What replaces parts of Gradio's scripts finds the same, and is what a page gets."""

from __future__ import annotations

import inspect
from types import FunctionType

import gradio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from tabs._swifter import CHANGES, FOUND, LOOKED_UP, LOOP, SEARCH, router

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
    assert [path.split("-")[0] for path in paths] == ["/assets/Blocks", "/assets/core", "/assets/runtime"]
    for path, pattern in zip(paths, ("Blocks-*.js", "core-*.js", "runtime-*.js"), strict=True):
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
