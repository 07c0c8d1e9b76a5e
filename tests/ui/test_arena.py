"""Two models compared blindly in the page, by mouse and by keyboard; a critic's verdicts judged by a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from studio.adapter import save
from studio.config import RunConfig
from studio.constitution import Asked, begin
from studio.events import Done, Saved
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model
from studio.workspace import Workspace
from studio.writer import Voice
from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose, far_away

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


def trained(workspace: Path, **changes: Any) -> None:
    """A run whose model says other things than its base."""
    folder = Workspace(workspace).new_run("lora")
    RunConfig.parse({"model": "tiny", "method": {"name": "lora", "r": 4}, **changes}).save(folder.config)
    torch.manual_seed(0)
    model = Lora(r=4).attach(tiny_model())
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.5)
    save(model, folder.adapter)
    for event in (Saved(step=2, size=9), Done()):
        folder.events.append(event)


def criticised(workspace: Path) -> None:
    """A critique whose steps are known."""
    asked = Asked("Parcels", Voice("tiny"), ("Be kind.", "Be brief."), 0.5, 8)
    critique = begin(
        Workspace(workspace), asked, [([{"role": "user", "content": "Where is it?"}], "Who <i>cares</i>?")]
    )
    critique.keep({0: {"verdicts": [[0.9, 0.8], [0.1, 0.6]], "critiques": {0: "It is rude."}}})
    critique.keep({0: {"revision": "Who <i>knows</i>? We look.", "after": {0: [0.1, 0.2]}}})


def test_two_models_are_voted_on_without_their_names(studio: Studio, open_page: Open) -> None:
    trained(studio.workspace)
    criticised(studio.workspace)
    page = open_page()
    go(page, "Arena")
    arena, standing = page.locator("#arena"), page.locator("#arena-standing")
    expect(arena).to_contain_text("No arena yet")
    choose(page, "arena-one", "Tuned")
    choose(page, "arena-other", "Tiny (random weights), as it is")
    page.locator("#tab-arena .field-max_new_tokens input").fill("120")  # it takes long enough to be stopped
    page.locator("#arena-prompts textarea").fill("say <b>one</b>\nsay two\nsay three")
    with far_away(page):  # as from whoever stands in line, no word has come yet
        page.locator("#arena-start").click()
        expect(page.locator("#arena-told")).to_contain_text(
            "Waiting for its turn: one model works at a time.", timeout=1_000
        )
    expect(page.locator("#arena-told .meter")).to_be_visible()
    page.locator("#arena-stop").click()
    expect(page.locator("#arena-told")).to_contain_text("Stopped. What was written")
    expect(page.locator("#arena-chooser input")).to_be_enabled()
    page.locator("#arena-more").click()
    expect(arena.locator("article")).to_have_count(2, timeout=90_000)
    expect(page.locator("#arena-told")).to_have_text("", timeout=30_000)
    expect(arena).to_contain_text("say <b>one</b>")
    expect(arena).to_contain_text("3 to vote on")
    expect(arena).not_to_contain_text("Tiny")
    expect(standing).not_to_contain_text("preferred")

    arena.get_by_role("button", name="A is better").click()
    expect(arena).to_contain_text(re.compile("Before: A was .*Tiny.*you said “A is better”"))
    expect(arena).to_contain_text("2 to vote on")
    expect(standing).to_contain_text("in 100% of 1 decided vote")
    page.keyboard.press("3")
    expect(arena).to_contain_text("1 to vote on")
    expect(standing).to_contain_text("A tie: 1")

    page.reload()  # votes are on disk
    go(page, "Arena")
    expect(arena).to_contain_text("1 to vote on")
    page.locator("#arena-pairs").click()
    expect(page.locator("#arena-saved")).to_contain_text("1 row of preference pairs")
    go(page, "Dataset")
    page.locator("#dataset-choice input").click()
    page.get_by_role("option").filter(has_text="(votes)").first.click()
    expect(page.locator("#dataset-about")).to_contain_text("format: Preference pairs")
    judge_the_critic(page)


def judge_the_critic(page: Page) -> None:
    """Its steps are shown, and a person's marks count at once."""
    go(page, "Critique")
    panel, trust = page.locator("#critique"), page.locator("#critique-trust")
    expect(panel.locator("li.violated")).to_contain_text("Be kind.goes against it: 85 % against it (90 % and 80 %")
    expect(panel.locator("li.open")).to_contain_text("the two wordings contradict each other")
    assert panel.locator("mark").all_inner_texts() == ["knows", "We", "look", "."]
    expect(trust).to_contain_text("agrees with itself in the other wording in 1 of 2")
    panel.get_by_role("button", name="This verdict is right: Be kind.").click()
    expect(trust).to_contain_text("agrees with your marks in 1 of 1")
    panel.get_by_role("button", name="This verdict is wrong: Be kind.").click()
    expect(trust).to_contain_text("agrees with your marks in 0 of 1")
    expect(panel.locator("button.wrong")).to_have_attribute("aria-pressed", "true")
    page.locator("#critique-pairs").click()
    expect(page.locator("#critique-saved")).to_contain_text("1 row of preference pairs")
