"""The page's scripts by themselves in a browser: what they make of answers that are rare, late, lost or odd."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plotly
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tabs._live import ASSETS, PLOTLY_ROUTE, script

pytestmark = pytest.mark.browser

SITE = "http://studio.test"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
# What Gradio does with a component's script.
RUN = """([source, value]) => {
    window.told = [];
    const element = document.querySelector('#it'), trigger = (name, data) => told.push(data);
    window.props = { value };
    new Function('element', 'props', 'trigger', 'watch', source)(element, props, trigger, () => {});
}"""

Shown = Callable[..., Page]


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    """Opens a page with nothing but one component; `answers` are what the studio says, by the path's beginning.

    Plotly is `lost` on its way so many times.
    """
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))

    def show(
        template: str, names: list[str], value: Any, answers: Callable[[str], Any] = lambda path: {}, lost: int = 0
    ) -> Page:
        tries = iter(range(1, 99))

        def answer(route: Route) -> None:
            path = route.request.url.removeprefix(SITE)
            if path == "/":
                return route.fulfill(body=f'<body><div id="it">{template}</div></body>', content_type="text/html")
            if path == PLOTLY_ROUTE:
                return route.abort() if next(tries) <= lost else route.fulfill(path=PLOTLY)
            return route.fulfill(body=json.dumps(answers(path)), content_type="application/json")

        page.route(f"{SITE}/**", answer)
        page.goto(SITE)
        page.evaluate(RUN, [script(*names), value])
        return page

    yield show
    page.close()
    assert faults == []


def compared(status: str, score: float, kind: str) -> dict[str, Any]:
    row = {
        "id": "r",
        "method": "LoRA",
        "status": status,
        "progress": 0.5,
        "problem": "",
        "memory": 1,
        "step_seconds": 1,
    }
    row |= {"loss": 1.0, "score": score, "score_name": "Score", "score_kind": kind}
    column = {"key": "score", "title": "Task score", "help": "", "unit": "", "better": "high"}
    return {"rows": [row], "columns": [column], "winner": None, "why": "", "active": status == "training"}


def test_the_last_answer_is_drawn_though_a_button_was_held_when_it_came(shown: Shown) -> None:
    now = compared("training", 0.25, "share")
    page = shown('<div class="versus"></div>', ["versus", "compare"], "c", lambda path: now)
    expect(page.locator(".chip")).to_have_text("training 50 %")
    expect(page.locator("td.number")).to_have_text("25 %")
    page.get_by_role("button", name="Curves", exact=True).hover()
    page.mouse.down()
    now = compared("done", -0.5, "number")
    expect(page.locator(".progress")).to_have_text("All runs have ended.")
    expect(page.locator(".chip")).to_have_text("training 50 %")
    page.mouse.up()
    expect(page.locator(".chip")).to_have_text("done")
    expect(page.locator("td.number")).to_have_text("-0.5")  # R² is no share
    assert page.evaluate("told") == [{"action": "curves", "run": "r"}]


LIVE = ["confusion", "result", "along", "live"]


def live(key: str) -> dict[str, Any]:
    line = {"metric": "m", "name": key, "colour": "--live-a", "width": 2, "opacity": 1, "smooth": False, "dots": True}
    chart = {"key": key, "title": key, "unit": "", "wide": False, "legend": True, "bounds": None, "lines": [line]}
    state = {"title": "t", "status": "done", "active": False, "phase": "", "done": 0, "total": 0, "unit": "", "step": 2}
    state |= {"total_steps": 2, "seconds": 1, "remaining": None, "metrics": {}, "last_eval": None, "writes": True}
    state |= {"notes": [], "problem": "", "remedy": "", "facts": "", "saved": False, "stopping": False, "result": None}
    state |= {"marks": [], "advice": [], "samples": {"total": 0, "new": []}}
    return state | {"vocabulary": None, "charts": [chart], "kinds": 1, "curves": {"m": [[1, 2], [3, 4]]}, "next": 2}


def test_a_chart_may_have_any_name_and_is_not_resized_while_hidden(shown: Shown) -> None:
    key = 'a "quoted"]\nlabel <i>x</i>'
    page = shown((ASSETS / "live.html").read_text(encoding="utf-8"), LIVE, "run", lambda path: live(key))
    expect(page.locator("[data-live=status]")).to_have_text("done")
    assert page.evaluate("[...document.querySelectorAll('.chart')].map((each) => each.data[0].y)") == [[3, 4]]
    expect(page.locator(".legendtext")).to_contain_text("<i>x</i>")
    page.evaluate("document.querySelector('.live').style.display = 'none'")
    page.wait_for_timeout(300)  # a fault would be one of the page


def test_plotly_comes_when_something_is_drawn_and_again_where_it_was_lost(shown: Shown) -> None:
    page = shown((ASSETS / "live.html").read_text(encoding="utf-8"), LIVE, "run", lambda path: live("loss"), lost=1)
    expect(page.locator("[data-live=status]")).to_have_text("done")
    expect(page.locator(".legendtext")).to_have_text("loss")
    page = shown((ASSETS / "live.html").read_text(encoding="utf-8"), LIVE, "")
    page.wait_for_timeout(300)
    assert page.evaluate("[document.querySelectorAll('script').length, typeof Plotly]") == [0, "undefined"]


def test_names_of_runs_are_text_in_the_plots_too(shown: Shown) -> None:
    runs = [{"id": i, "name": f"<b>{i}</b>", "title": "", "curve": {"y": [1, 2], "step": [1, 2]}} for i in "ab"]
    found = {"runs": runs, "metric": "eval_<i>f1", "metrics": ["eval_<i>f1"], "differences": [], "everything": []}
    page = shown(
        '<div class="versus"></div>', ["versus", "overlay"], ["a", "b"], lambda path: found | {"active": False}
    )
    expect(page.locator(".legendtext").first).to_have_text("<b>a</b>")
    expect(page.locator(".ytitle")).to_have_text("held-out <i>f1")


def test_a_lost_answer_does_not_end_the_picking_of_layers(shown: Shown) -> None:
    kid = {"part": "up", "name": "up", "times": 1, "shape": "4", "size": "4", "share": "100%", "state": "all"}
    kid |= {"fixed": False, "blocks": [], "kids": []}
    value = {"about": "1 of 1 layers are chosen.", "answers": 0, "root": kid}
    page = shown('<div class="layers"></div>', ["layers"], value)
    page.clock.install()
    box = page.get_by_role("checkbox")
    for times in (1, 2):
        box.click()
        expect(box).not_to_be_checked()
        assert [each["answers"] for each in page.evaluate("told")] == list(range(1, times + 1))
        page.clock.fast_forward(10_000)
        expect(box).to_be_checked()


def test_a_marked_change_holds_both_texts_whole(shown: Shown) -> None:
    """Without what came it is the text before, without what went the text after; nothing of it is run."""
    texts = ["Say it.", "Say <b>it</b> twice, say it: {row}", "it: {row} twice <img src=x onerror=alert(1)>"]
    pairs = [(before, after) for before in texts for after in [*texts, ""]]
    read = """(gone) => [...document.querySelectorAll('.tidy .text')].map((text) => {
        const copy = text.cloneNode(true);
        copy.querySelectorAll(gone).forEach((part) => part.remove());
        return copy.textContent; })"""
    page = shown('<div class="tidy"></div>', [], {})
    for before, after in pairs:
        value = {"items": [{"key": "k", "title": "t", "why": "w", "on": True}], "nothing": ""}
        value |= {"before": {"system": before, "template": before}, "after": {"system": after, "template": after}}
        page.evaluate(RUN, [script("along", "diff", "tidy"), value])
        assert page.evaluate(read, "ins") == [before, before]
        assert page.evaluate(read, "del") == [after, after]
        assert page.locator(".text :is(b, img)").count() == 0
