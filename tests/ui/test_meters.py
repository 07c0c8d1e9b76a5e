"""The header's meters and its button, in a browser."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Route, expect

from tests.ui.conftest import Open

pytestmark = pytest.mark.browser

HEIGHT = "document.querySelector('#meters').getBoundingClientRect().height"
GPU = {"name": "<b>Card</b>", "load": 37, "memory": [12.0, 80.0], "celsius": 54, "watts": None}


def test_the_meters_are_on_every_page_and_free_memory_says_what_it_did(open_page: Open) -> None:
    page = open_page()
    before = page.evaluate(HEIGHT)
    ram = page.get_by_role("meter", name="RAM")
    expect(ram).to_have_attribute("aria-valuetext", re.compile(r"of [\d.,]+ GB, this studio .*page \d"))
    expect(page.get_by_role("meter", name="CPU")).to_contain_text("%")
    assert page.evaluate(HEIGHT) == before  # nothing below it moves
    page.get_by_role("button", name="Free memory").click()
    expect(page.locator("#meters [role=status]")).to_contain_text("Nothing to free")

    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url.rpartition("=")[2])
        busy = asked[-1] == "false"
        route.fulfill(json={"told": "It is writing." if busy else "1.2 GB of memory is free again.", "busy": busy})

    now = {"active": True, "cpu": 5, "ram": [3.0, 25.0], "own": {"page": 0.2, "run": 2.5}, "gpus": [GPU]}
    page.route("**/studio/memory/free*", answer)
    page.route("**/studio/meters", lambda route: route.fulfill(body=json.dumps(now)))
    expect(page.get_by_role("meter", name="GPU")).to_have_text("GPU 12 of 80 GB · 37 % · 54 °C<b>Card</b>")
    expect(ram).to_contain_text("this studio 2.7: run 2.5, page 0.2")
    page.get_by_role("button", name="Free memory").click()
    page.get_by_role("button", name="End it too").click()
    expect(page.locator("#meters [role=status]")).to_have_text("1.2 GB of memory is free again.")
    assert asked == ["false", "true"]

    now["gpus"] = [GPU] * 8
    expect(page.get_by_role("meter", name="GPU 7")).to_contain_text("GPU 7 12 of 80 GB")
    page.set_viewport_size({"width": 390, "height": 700})
    assert page.locator(".meters").evaluate("it => it.getBoundingClientRect().height") < 40  # one line
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
