"""The page for whoever has no mouse, a phone, a dark room, a screen reader, or no network."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.sync_api import Locator, Page, expect

from tabs.app import tab_modules
from tests.ui.conftest import Open, Studio, go, wait_for_status
from tests.ui.test_arena import criticised
from tests.ui.test_evaluate import improved

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
# What Gradio's own components lack, out of our reach: the rule, and the elements that may break it.
GRADIOS = {"aria-prohibited-attr": ['div.empty[aria-label="Empty value"]']}  # of a gr.Code in which nothing stands
FAULTS = """async ([where, rules, known]) => {
    const options = { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) };
    const { violations } = await axe.run(where, options);
    const drawn = (html) => new DOMParser().parseFromString(html, "text/html").body.firstElementChild; // it may be gone
    const ours = (rule) => ({ html }) => !(known[rule] ?? []).some((selector) => drawn(html)?.matches(selector));
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
        .flatMap(({ id, nodes }) => nodes
            .filter(ours(id))
            .map(({ html, any, target }) => `${id}: ${target} ${html.slice(0, 200)} ${any[0]?.message ?? ""}`));
}"""
SHOWN = '#tabs > [role="tabpanel"]:not([style*="none"])'
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUSED = "it => it.contains(document.activeElement)"


def faults(page: Page, where: str, *rules: str) -> list[str]:
    """What axe-core calls serious or critical in what is shown there, but for what is Gradio's own."""
    return page.evaluate(FAULTS, [where, rules, GRADIOS])


def tab_to(page: Page, wanted: Locator, at_most: int = 80) -> None:
    """Press Tab until `wanted` has the focus."""
    wanted.wait_for()
    for _ in range(at_most):
        if wanted.evaluate(FOCUSED):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached within {at_most} stops")


def by_keyboard(page: Page) -> None:
    """From the start to the chat of two models, with Tab, Enter and letters alone."""
    tab_to(page, page.locator("#start-training"))
    page.keyboard.press("Enter")
    page.locator("#live .live .chip").wait_for()
    wait_for_status(page, "done", 120)
    tab_to(page, page.get_by_role("button", name="Talk to both models"))
    page.keyboard.press("Enter")
    tab_to(page, page.locator("#chat-prompt textarea"))
    page.keyboard.type("say 3")
    expect(page.locator("#chat-send")).to_be_enabled()  # once the tab knows with whom one talks
    tab_to(page, page.locator("#chat-send"))
    page.keyboard.press("Enter")
    page.locator("#chat-outcome").wait_for(timeout=60_000)


@pytest.mark.parametrize("studio", ["tests.ui.first_tiny"], indirect=True)
def test_every_tab_is_for_everybody_and_asks_no_other_machine(studio: Studio, open_page: Open) -> None:
    criticised(studio.workspace)
    improved(studio.workspace)
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator("body[data-arrived]").wait_for()
    by_keyboard(page)
    page.evaluate(AXE)
    page.add_style_tag(content="* { transition: none !important; }")  # a colour on its way to another is neither
    found: list[str] = []
    for at, tab in enumerate(tab_modules()):
        go(page, tab.TITLE)
        page.wait_for_timeout(700)  # what is pulled from routes is there
        where = SHOWN if at else "html"  # what stands around the tabs is looked at once
        found += [f"{tab.TITLE}: {each}" for each in faults(page, where)]
        page.evaluate("document.body.classList.add('dark')")
        found += [f"{tab.TITLE}, dark: {each}" for each in faults(page, where, "color-contrast")]
        page.evaluate("document.body.classList.remove('dark')")
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(300)
        found += [f"{tab.TITLE}: wider than a phone"] * (page.evaluate(WIDER) > 0)
        page.set_viewport_size({"width": 1280, "height": 900})
    assert found == []
    assert asked
    assert [url for url in asked if not url.startswith((studio.url, "data:", "blob:"))] == []
