"""The newcomer's first minutes, with the real starter model: from the Start tab to a chat of two models."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.ui.conftest import Open, Studio, go, wait_for_status
from tests.ui.steps import choose, go_to_part

pytestmark = [pytest.mark.browser, pytest.mark.starter]

ALPACA = ROOT.parent / "shared" / "data" / "alpaca_en_demo.json"
MINUTES = 60


@pytest.fixture
def with_starter(studio: Studio, starter_model: Path) -> Studio:
    """The model is on disk already: its one-time download is tested elsewhere."""
    shutil.copytree(starter_model, studio.workspace / "models" / starter_model.name)
    return studio


def percent(page: Page, metric: str, side: str) -> int:
    row = page.locator(".bars").filter(has_text=metric)
    return int(row.locator(f".{side} .value").inner_text().split()[0])


@pytest.mark.slow  # the same way with a tiny model, by the keyboard alone: test_accessible.py
@pytest.mark.parametrize(
    ("studio", "fields"),  # how many per cent of them are right in the end
    [("tests.ui.brief", 30), ("tabs._main", 50)],
    indirect=["studio"],
)
def test_the_first_five_minutes(with_starter: Studio, open_page: Open, fields: int) -> None:
    page = open_page()
    expect(page.locator(".welcome > p")).to_have_count(3)
    expect(page.locator(".welcome")).to_contain_text("SmolLM2-135M-Instruct")
    expect(page.locator(".welcome")).to_contain_text("Customer messages")
    began = time.monotonic()
    page.locator("#start-training").click()

    page.locator("#live .live .steps li.here").wait_for()
    wait_for_status(page, "training", 60)
    page.wait_for_function("document.querySelector('[data-live=loss]').data[0].x.length >= 3", timeout=60_000)
    tiles = page.locator("[data-live=tiles]")
    for label in ("Step", "Time left", "Tokens/s", "Memory", "Train loss"):
        expect(tiles.locator(".tile").filter(has_text=label).locator("strong")).not_to_have_text("–")
    expect(page.locator("[data-live=bar]")).not_to_have_attribute("aria-valuenow", "0")

    wait_for_status(page, "done", 12 * MINUTES)
    taken = time.monotonic() - began
    base_loss, tuned_loss = (float(text) for text in page.locator(".result .headline strong").all_inner_texts())
    assert tuned_loss < 0.5 * base_loss
    assert percent(page, "Exact match", "base") <= 10
    assert percent(page, "Field accuracy", "tuned") >= fields
    assert percent(page, "Field accuracy", "tuned") > percent(page, "Field accuracy", "base")
    print(f"from the click to the result: {taken:.0f} s")

    page.get_by_role("button", name="Talk to both models").click()
    page.locator("#chat-held-out input").click()
    page.get_by_role("option").nth(2).click()
    expect(page.locator("#chat-reference")).to_contain_text("intent")
    expect(page.locator("#chat-prompt textarea")).not_to_be_empty()
    page.locator("#chat-send").click()
    outcome = page.locator("#chat-outcome")
    outcome.wait_for(timeout=4 * MINUTES * 1000)
    expect(outcome).to_contain_text("The answers differ")
    answers = [page.locator(f"#chat-{side} .bot.message").last.inner_text() for side in ("base", "tuned")]
    assert '"intent"' in answers[1]
    assert answers[0] != answers[1]


@pytest.mark.slow  # its parts are tested each by itself
@pytest.mark.skipif(not ALPACA.exists(), reason="the shared test data is not beside this checkout")
def test_ones_own_file(open_page: Open) -> None:
    """A real instruction file: uploaded, recognised, trained on through the form, and talked to."""
    page = open_page()
    page.locator("#start-own").click()
    with page.expect_file_chooser() as chooser:
        page.locator("#dataset-upload").click()
    chooser.value.set_files(ALPACA)
    expect(page.locator("#dataset-about")).to_contain_text("999 rows")
    expect(page.locator("#dataset-about")).to_contain_text("Instruction")
    go_to_part(page, "Columns")
    expect(page.locator("#dataset-example .learnt")).to_be_visible()
    page.locator("#dataset-use").click()
    choose(page, "train-model", "Tiny")
    for field, value in (("max_steps", "4"), ("max_length", "256")):
        box = page.locator(f".field-{field} input, .field-{field} textarea").locator("visible=true").first
        box.fill(value)
        box.blur()
        expect(page.locator("#train-yaml")).to_contain_text(f"{field}: {value}")
    page.get_by_role("button", name="More about training").click()
    for field, value in (("eval_rows", "8"), ("answer_rows", "2"), ("max_new_tokens", "16")):
        box = page.locator(f".field-{field} input").first
        box.fill(value)
        box.blur()
        expect(page.locator("#train-yaml")).to_contain_text(f"{field}: {value}")
    page.locator("#train-start").click()
    page.locator("#live .live .chip").wait_for()
    wait_for_status(page, "done", 4 * MINUTES)
    expect(page.locator("[data-live=facts]")).to_contain_text("8 held out")
    expect(page.locator(".result .headline")).to_contain_text("Held-out loss")
    go(page, "Chat")
    page.locator("#chat-prompt textarea").fill("Name three colours.")
    page.locator("#chat-send").click()
    page.locator("#chat-outcome").wait_for(timeout=2 * MINUTES * 1000)
