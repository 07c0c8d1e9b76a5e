"""A prompt tidied, searched for, judged and taken to the chat in the page; and what fine-tuning was worth."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose, toast
from tests.ui.test_arena import trained
from tests.ui.test_tiny import fill

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
ROWS = 'Answer with one JSON object and nothing else, with the fields intent ("cancel" or'


def test_a_prompt_is_tidied_searched_for_and_used_and_training_weighed(studio: Studio, open_page: Open) -> None:
    trained(studio.workspace, training={"max_new_tokens": 4})
    page = open_page()
    go(page, "Prompts")
    board = page.locator("#prompts-board")
    expect(board).to_contain_text("No search yet")
    choose(page, "prompts-who", "Tiny")
    tidy(page)
    search(page)

    verdict, lines = board.locator(".verdict"), board.locator(".ranking tbody tr")
    expect(verdict).to_contain_text("Means over 4 sealed rows", timeout=90_000)
    expect(verdict.locator(".whiskers .line")).to_have_count(2)
    expect(verdict.locator(".ready, .note")).to_contain_text(re.compile("^(No |Better|Worse)"))
    expect(lines).to_have_count(5)  # four sets of examples and the first prompt
    page.wait_for_function("document.querySelector('#prompts-board .chart')?.data?.[1].x.length >= 3")
    look_at_a_line(page)
    use_it(page)
    weigh(page)


def tidy(page: Page) -> None:
    """Suggestions are explained, switched, applied and taken back."""
    system, panel = page.locator("#prompts-system textarea"), page.locator("#prompts-suggestions")
    page.locator("#prompts-tidy").click()
    expect(panel.locator(".item")).to_have_count(2)
    expect(panel).to_contain_text("A sentence on what the model is for keeps it to the task")
    panel.get_by_role("checkbox", name="Say what the model is for").uncheck()
    expect(panel.locator("ins")).to_have_text(re.compile("^Answer with one JSON object"))
    panel.get_by_role("button", name="Apply what is switched on").click()
    expect(system).to_have_value(re.compile(re.escape(ROWS)))
    panel.get_by_role("button", name="Undo").click()
    expect(system).to_have_value("")


def search(page: Page) -> None:
    """With few rows and calls; a prompt that says nothing of the row is refused."""
    for field, value in (("max_new_tokens", "4"), ("sealed_rows", "4"), ("shots", "2"), ("sets", "4")):
        fill(page, field, value)
    page.locator("#tab-prompts").get_by_role("button", name="Rows and seed").click()
    for field in ("pool_rows", "search_rows", "select_rows"):
        fill(page, field, "4")
    template = page.locator("#prompts-template textarea")
    template.fill("Read it.")
    page.locator("#prompts-start").click()
    toast(page, "The instruction has no placeholder")
    template.fill("Read it: {row}")
    page.locator("#prompts-start").click()


def look_at_a_line(page: Page) -> None:
    """What a prompt says, what is new in it, and how it did row by row."""
    board = page.locator("#prompts-board")
    board.locator(".ranking tr").filter(has=page.locator("td", has_text="2")).get_by_role(
        "button", name="2 random examples"
    ).first.click()
    detail = board.locator(".detail")
    expect(detail).to_contain_text("What differs from the first prompt is marked")
    expect(detail.locator(".pair.fresh")).to_have_count(2)
    expect(detail).to_contain_text("Against the first prompt, on")
    detail.get_by_label("Held against").select_option(index=1)
    expect(detail).to_contain_text(re.compile(r"What differs from number \d is marked"))
    expect(detail).to_contain_text(re.compile(r"Against number \d, on"))
    page.locator("#prompts-files").click()
    expect(page.locator("#prompts-saved a")).to_have_text(["Text", "YAML"])
    page.locator("#prompts-data").click()
    expect(page.locator("#prompts-saved")).to_contain_text("600 rows of prompts with answers")


def use_it(page: Page) -> None:
    """Another search begins with it; in the chat both models are asked with it, until a person wants it no more."""
    page.locator("#prompts-again").click()
    shown = page.locator("#prompts-shown")
    expect(shown).to_contain_text("2 examples stand before the row.")
    expect(page.locator("#prompts-template textarea")).to_have_value("Read it: {row}")
    page.locator("#prompts-bare").click()
    expect(shown).not_to_contain_text("examples")
    page.locator("#prompts-chat").click()
    framing = page.locator("#chat-framing")
    expect(framing).to_contain_text("its instruction and 2 examples")
    page.locator("#chat-bare").click()
    expect(framing).not_to_be_visible()


def weigh(page: Page) -> None:
    """From the chat to the report on its run."""
    page.locator("#chat-worth").click()
    worth = page.locator("#worth")
    expect(worth).to_contain_text("Not measured yet")
    page.locator("#worth-start").click()
    expect(worth.locator(".whiskers .line")).to_have_count(2, timeout=90_000)
    expect(worth).to_contain_text("What to make of it")
    expect(worth.locator("tbody tr")).to_have_count(4)
    expect(worth).to_contain_text("where it stands as “Before training”")
    go(page, "Start")
    page.locator("#start-worth").click()
    expect(worth.locator(".whiskers .line").first).to_be_visible()
