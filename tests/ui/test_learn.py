"""The Learn tab as somebody meets it who has never trained a model."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from studio.data import checked
from studio.data.checks import checks
from studio.data.library import look
from studio.lowrank import shipped
from studio.workspace import Workspace
from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose

pytestmark = pytest.mark.browser


def test_the_exercise_leads_on_the_rank_is_dragged_and_recipes_and_words_are_found(
    studio: Studio, open_page: Open
) -> None:
    page = open_page()
    go(page, "Learn")
    steps = page.locator("#learn-steps")
    expect(steps).to_contain_text("0 of 6 steps are done")
    choose(page, "learn-source", "Legal contracts")
    expect(steps).to_contain_text("80 rows of 'Legal contracts'")
    steps.locator("button[data-step=prepare]").click()
    expect(page.locator("#dataset-choice input")).to_have_value("Legal contracts (sample)")
    workspace = Workspace(studio.workspace)
    usual = [key for key, cls in checks().items() if cls.default]
    checked.keep(workspace, look("legal_contracts", workspace).train.path, usual, [])
    go(page, "Learn")
    expect(steps).to_contain_text("1 of 6 steps are done")
    steps.locator("button[data-step=tune]").click()
    expect(page.locator("#train-source input")).to_have_value("Legal contracts (sample)")
    expect(page.locator("#train-yaml")).to_contain_text("max_steps: 30")

    go(page, "Learn")
    parts = page.locator("#learn-parts")
    parts.get_by_role("tab", name="LoRA from scratch").click()
    drawn = page.locator("#learn-lowrank .lowrank")
    update = shipped()[0]
    for rank in (4, 16):
        drawn.get_by_role("slider", name="Rank").fill(str(rank))
        expect(drawn).to_have_attribute("data-parameters", str(update.parameters(rank)[0]))
        assert float(drawn.get_attribute("data-error") or 0) == pytest.approx(update.error(rank), rel=1e-3)
    expect(drawn.locator(".bars .kept")).to_have_count(16)
    expect(page.locator("#learn-code")).to_contain_text("class LoraLinear(Wrapper)")

    parts.get_by_role("tab", name="Good practice").click()
    expect(page.locator("#learn-practice")).to_contain_text("Train a model first")

    parts.get_by_role("tab", name="Glossary").click()
    page.get_by_label("Search terms and settings").fill("low rank")
    expect(page.locator("#learn-glossary h3").first).to_have_text("Low rank")
    page.get_by_label("Search terms and settings").fill("<b>")
    expect(page.locator("#learn-glossary")).to_contain_text("Nothing is called so")

    parts.get_by_role("tab", name="Recipes").click()
    page.locator("button[data-recipe=medical_triage]").click()
    expect(page.locator("#train-source input")).to_have_value("Medical triage (sample)")
    expect(page.locator("#train-yaml")).to_contain_text("class_weights: balanced")
