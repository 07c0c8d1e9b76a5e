"""Rewards seen before any training: previewed, tried on an answer of one's own, taken into the Train tab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.ui.conftest import Open, go, wait_for_status
from tests.ui.steps import bring, choose
from tests.ui.test_tiny import fill

pytestmark = pytest.mark.browser

PAIRS = ROOT.parent / "shared" / "data" / "dpo_en_demo.json"
GONE = "the shared test data is not beside this checkout"
BARS = "document.querySelector('#rewards-report [data-plot={}]')?.data?.[0].y"


def test_rewards_are_previewed_tried_and_taken_to_train(open_page: Open) -> None:
    page = open_page()
    go(page, "Rewards")
    told = page.locator("#rewards-told")
    expect(told).to_contain_text("then press Preview")
    choose(page, "rewards-who", "Tiny")
    choose(page, "rewards-source", "Preferences")
    for field, value in (("prompts", "4"), ("answers", "2"), ("max_completion_length", "8")):
        fill(page, field, value)
    page.locator("#rewards-choices-keywords input[type=checkbox]").check()
    page.locator("#rewards-preview").click()
    expect(told).to_contain_text("has no words to look for")
    fill(page, "present", "sorry, thanks")
    page.locator("#rewards-preview").click()
    expect(told).to_contain_text("8 answers of tiny to 4 prompts of Preferences", timeout=60_000)

    report = page.locator("#rewards-report")
    page.wait_for_function(f"{BARS.format('total')}?.reduce((a, b) => a + b) === 8")
    page.wait_for_function(f"{BARS.format('best-of')}?.length === 2")
    page.wait_for_function(f"{BARS.format('preferred')}?.length === 3")
    expect(report.locator(".note").filter(has_text="'Keywords' never changes")).to_be_visible()
    expect(report.locator(".note").filter(has_text="Only what is looked for (1.8)")).to_be_visible()
    expect(report.locator("table.answers").first.locator("tbody tr")).to_have_count(4)

    page.locator("#rewards-own").get_by_role("button", name="Score an answer of your own").click()
    page.locator("#rewards-answer textarea").fill("Thanks, I am sorry")
    page.locator("#rewards-score").click()
    scored = page.locator("#rewards-scored tr")
    expect(scored.nth(0)).to_contain_text("Keywords")
    expect(scored.last).to_contain_text("1.08")  # all words looked for, and four of fifty

    page.locator("#rewards-train").click()
    expect(page.locator("#train-source input")).to_have_value("Preferences (sample)")
    yaml = page.locator("#train-yaml")
    expect(yaml).to_contain_text("name: ppo", timeout=60_000)  # the whole form is drawn and filled
    for line in ("present: sorry, thanks", "max_completion_length: 8"):
        expect(yaml).to_contain_text(line)


def small_run(page: Page, **fields: str) -> None:
    """Set fields of the form in Train that is shown, start what it says, and wait for its end."""
    for field, value in fields.items():
        fill(page, field, value)
        expect(page.locator("#train-yaml")).to_contain_text(f"{field}: {value}")
    page.locator("#train-start").click()
    page.locator("#live .live .chip").wait_for()
    wait_for_status(page, "done", 120)


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.skipif(not PAIRS.exists(), reason=GONE))])
def pairs(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Our own ones, or those of a real file that are short: a token is a byte to the tiny model."""
    rows = [{"prompt": f"say {i % 9}", "chosen": f"so {i}!", "rejected": f"no {i}"} for i in range(60)]
    if request.param:
        rows = [row for row in json.loads(PAIRS.read_text(encoding="utf-8")) if len(json.dumps(row)) < 1000]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.slow
def test_from_pairs_to_a_reward_model_to_ppo_to_the_chat(open_page: Open, pairs: Path) -> None:
    page = open_page()
    bring(page, pairs)
    page.locator("#dataset-use").click()
    choose(page, "train-model", "Tiny")
    choose(page, "train-objective", "Reward model (preference pairs)")
    page.get_by_role("button", name="More about training").click()
    small_run(page, max_length="1024", max_steps="6", learning_rate="0.01", answer_rows="2", max_new_tokens="4")
    expect(page.locator("#live [data-live=result]")).to_contain_text("%")

    go(page, "Rewards")
    choose(page, "rewards-who", "Tiny")
    choose(page, "rewards-source", pairs.stem)
    for field, value in (("prompts", "2"), ("answers", "2"), ("max_completion_length", "6")):
        fill(page, field, value)
    page.locator("#rewards-choices-learned input[type=checkbox]").check()
    page.locator("#rewards-choices .field-run input").locator("visible=true").click()
    page.get_by_role("option").filter(has_text=pairs.stem).first.click()
    page.locator("#rewards-preview").click()
    expect(page.locator("#rewards-told")).to_contain_text("4 answers of tiny to 2 prompts", timeout=60_000)
    page.wait_for_function(f"{BARS.format('total')}?.reduce((a, b) => a + b) === 4")
    page.locator("#rewards-train").click()
    expect(page.locator("#train-yaml")).to_contain_text("name: ppo", timeout=60_000)

    small_run(page, max_steps="3", answer_rows="1", sample_rows="1")
    page.wait_for_function("document.querySelector('#live [data-live=reward]')?.data?.[0].x.length === 3")
    page.wait_for_function("document.querySelector('#live [data-live=kl]')?.data?.[0].x.length === 3")
    expect(page.locator("#live [data-live=result]")).to_contain_text("Reward")
    expect(page.locator("#live [data-live=along]")).to_be_visible()
    page.locator("#live .explained summary").click()
    expect(page.locator("#live .explained dd").filter(has_text="How far answers have moved")).to_be_visible()
    go(page, "Rewards")  # which shows the same of the newest run that learns from rewards
    page.locator("#rewards-running > button").click()
    expect(page.locator("#rewards-live .chip")).to_have_text("done")
    page.wait_for_function("document.querySelector('#rewards-live [data-live=kl]')?.data?.[0].x.length === 3")
    page.locator("#rewards-live").get_by_role("button", name="Talk to both models").click()
    page.locator("#chat-prompt textarea").fill("say 3")
    page.locator("#chat-send").click()
    page.locator("#chat-outcome").wait_for(timeout=60_000)
    for side in ("base", "tuned"):
        expect(page.locator(f"#chat-{side} .bot.message").last).to_be_visible()
