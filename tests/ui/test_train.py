"""The Train tab in a browser: methods introduce themselves, layers are picked from the model's tree."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.methods import methods
from tests.ui.conftest import Open, go
from tests.ui.steps import choose

pytestmark = pytest.mark.browser


def named(page: Page) -> Locator:
    """The box that names the adapted layers of the chosen method."""
    return page.locator(".field-target_modules input, .field-target_modules textarea").locator("visible=true")


def test_a_method_is_chosen_and_its_layers_are_picked(open_page: Open) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    go(page, "Train")
    choose(page, "train-model", "Tiny")
    help_ = page.locator(".about").locator("visible=true").first
    expect(help_).to_contain_text("Hu et al. 2021")
    expect(help_.get_by_role("link", name="arXiv:2106.09685")).to_have_attribute(
        "href", "https://arxiv.org/abs/2106.09685"
    )
    expect(page.locator("#train-verdict")).to_contain_text("0.0002, which suits this method")

    # While somebody types, nobody plans: that took longer than the typing.
    page.locator(".field-learning_rate").locator("input, textarea").click()
    asked.clear()
    page.keyboard.type("0.000271828", delay=60)
    expect(page.locator("#train-yaml")).to_contain_text("0.000271828")
    assert 0 < len([url for url in asked if "/gradio_api/" in url]) < 6

    # Layers: a whole kind, then one block of it, by mouse and by keyboard.
    page.get_by_text("Pick from the model's layers").click()
    tree = page.locator("#train-layers")
    expect(tree).to_contain_text("14 of 14 layers are chosen")
    tree.get_by_label("The whole model", exact=True).click()
    expect(page.locator("#train-verdict")).to_contain_text("target_modules")
    expect(page.locator("#train-start")).to_be_disabled()
    tree.get_by_label("Parts of layers 0-1").click()
    tree.get_by_label("Parts of self_attn").click()
    tree.get_by_label("q_proj × 2").or_(tree.get_by_label("q_proj", exact=True)).first.click()
    expect(named(page)).to_have_value("q_proj")
    expect(page.locator("#train-start")).to_be_enabled()
    tree.get_by_label("Parts of v_proj").press("Enter")
    tree.get_by_label("v_proj, block 1").press("Enter")
    expect(named(page)).to_have_value("q_proj, 1.self_attn.v_proj")
    expect(tree.get_by_label("v_proj, block 1")).to_be_focused()
    expect(page.locator("#train-yaml")).to_contain_text("target_modules: q_proj, 1.self_attn.v_proj")
    expect(tree).to_contain_text("3 of 14 layers are chosen")

    # Clicks that follow one another faster than the server answers: none is lost.
    tree.get_by_label("Parts of mlp").click()
    page.evaluate("""() => [...document.querySelectorAll('#train-layers .layers input')]
        .filter((box) => /(gate|up|down)_proj/.test(box.dataset.key)).map((box) => box.dataset.key)
        .forEach((key) => document.querySelector(`#train-layers [data-key="${key}"]`).click())""")
    expect(named(page)).to_have_value("down_proj, gate_proj, q_proj, up_proj, 1.self_attn.v_proj")
    expect(tree).to_contain_text("9 of 14 layers are chosen")

    # A name that matches nothing.
    named(page).fill("nonsense")
    named(page).blur()
    expect(page.locator("#train-verdict")).to_contain_text("no linear layer named 'nonsense'")
    expect(page.locator("#train-start")).to_be_disabled()
    expect(tree).to_contain_text("0 of 14 layers are chosen")

    # Quick switching: it ends at the last one chosen, and then nothing more is asked.
    titles = [cls.title for cls in methods().values()]
    for title in [*titles[:6], "LoRA from scratch", "Full fine-tuning"]:
        choose(page, "train-method", f"{title}:")
    expect(help_).to_contain_text("Learn all weights")
    expect(page.locator("#train-yaml")).to_contain_text("name: full")
    expect(tree).to_contain_text("nothing to pick")
    expect(page.locator("#train-verdict")).to_contain_text("100.00%")
    page.wait_for_timeout(500)
    asked.clear()
    page.wait_for_timeout(1500)
    assert [url for url in asked if "/gradio_api/" in url and "heartbeat" not in url] == []
