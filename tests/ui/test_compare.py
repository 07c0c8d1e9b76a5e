"""Methods compared in the page, from the form to the winner; curves of runs over one another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import bring, choose
from tests.ui.test_tiny import fill

pytestmark = pytest.mark.browser

METHODS = ("LoRA", "(IA)³", "Full fine-tuning")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"say {i % 7}", "completion": f"number {i % 7}"} for i in range(24)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def dots(page: Page, plot: str) -> int:
    """How many runs the plot shows."""
    return page.evaluate(f"document.querySelector('[data-plot={plot}]').data?.length || 0")


def prepare(page: Page, rows: Path) -> None:
    """A bake-off of small runs: few steps, few answers."""
    bring(page, rows)
    go(page, "Compare")
    expect(page.locator("#compare")).to_contain_text("No bake-off yet")
    choose(page, "compare-model", "Tiny")
    choose(page, "compare-source", "rows")
    boxes = page.locator("#compare-methods").get_by_role("checkbox")
    for box in boxes.all():
        box.uncheck()
    expect(page.locator("#compare-verdict")).to_contain_text("fewer than two are chosen")
    expect(page.locator("#compare-start")).to_be_disabled()
    for title in METHODS:
        page.locator("#compare-methods").get_by_label(title, exact=True).check()
    fill(page, "max_steps", "2")
    fill(page, "per_device_train_batch_size", "4")
    page.locator("#compare-new").get_by_role("button", name="More about training").click()
    fill(page, "answer_rows", "1")
    fill(page, "max_new_tokens", "4")
    expect(page.locator("#compare-verdict")).to_contain_text(f"{len(METHODS)} runs of 2 steps")
    expect(page.locator("#compare-start")).to_be_enabled()


def test_methods_are_compared_and_the_winner_is_taken_over(studio: Studio, open_page: Open, rows: Path) -> None:
    page = open_page()
    prepare(page, rows)
    page.locator("#compare-start").click()
    table = page.locator("#compare .measured")
    expect(table.locator("tbody tr")).to_have_count(len(METHODS))
    expect(page.locator("#compare .progress")).to_contain_text(f"of {len(METHODS)} runs have ended")

    second = open_page()  # all of it is on disk: another browser sees the same
    go(second, "Compare")
    expect(second.locator("#compare .measured tbody tr")).to_have_count(len(METHODS))
    second.close()

    expect(page.locator("#compare .progress")).to_have_text("All runs have ended.", timeout=240_000)
    for title in METHODS:
        line = table.locator("tbody tr").filter(
            has=page.locator(".method", has_text=re.compile(f"{re.escape(title)}$"))
        )
        expect(line.locator(".chip")).to_have_text("done")
        expect(line.locator("td.number", has_text="–")).to_have_count(0)
    expect(table.locator("tr.winner")).to_have_count(1)
    assert table.locator("td.best").count() >= 5
    assert (dots(page, "memory"), dots(page, "time")) == (len(METHODS),) * 2

    page.locator("#compare th button", has_text="Learns").click()
    expect(table.locator("tbody tr").last.locator(".method")).to_contain_text("Full fine-tuning")
    page.locator("#compare th button", has_text="Learns").click()
    expect(table.locator("tbody tr").first.locator(".method")).to_contain_text("Full fine-tuning")

    page.locator("#compare-csv").click()
    with page.expect_download() as download:
        page.locator("#compare-file a").click()
    assert "(IA)³" in download.value.path().read_text(encoding="utf-8-sig")

    overlay(page)
    take_over(studio, page)


def overlay(page: Page) -> None:
    """All its curves over one another, and in what the runs differ."""
    page.get_by_role("button", name="Lay their curves over one another").click()
    page.wait_for_function(f"document.querySelector('[data-plot=overlay]')?.data?.length === {len(METHODS)}")
    assert page.locator("#live .live").is_visible() is False
    settings = page.locator("#overlay .measured")
    expect(settings.locator("tbody tr").first).to_contain_text("method.name")
    expect(settings).not_to_contain_text("max_steps")
    page.get_by_label("Show all settings").check()
    expect(settings).to_contain_text("training.max_steps")

    shown = "document.querySelector('[data-plot=overlay]')"
    page.locator("#overlay").get_by_label("Curve").select_option("loss")
    page.wait_for_function(f"{shown}.data[0].x.length === 2 && {shown}.layout.yaxis.title.text === 'loss'")
    page.locator("#overlay").get_by_label("Over").select_option("tokens")
    page.wait_for_function(f"{shown}.data[0].x[0] > 2")
    raw = page.evaluate(f"{shown}.data[0].y")
    page.get_by_label("Smoothing", exact=True).fill("0.9")
    page.wait_for_function(f"{shown}.data[0].y[1] !== {raw[1]}")
    page.get_by_label("Log scale").check()
    page.wait_for_function(f"{shown}.layout.yaxis.type === 'log'")

    for remove in range(len(METHODS) - 1, 0, -1):
        page.locator("#curves-others .token-remove, #curves-others [aria-label^=Remove]").first.click()
        if remove > 1:
            page.wait_for_function(f"{shown}?.data?.length === {remove}")
    expect(page.locator("#live .live .chip")).to_have_text("done")  # one alone is shown as ever


def take_over(studio: Studio, page: Page) -> None:
    """The winner's settings become the Train tab's, with nothing of the bake-off left in them."""
    go(page, "Compare")
    winner = page.locator("#compare tr.winner .method").inner_text().removeprefix("★ ")
    page.get_by_role("button", name="Make the winner the current one").click()
    expect(page.locator("#train-method input")).to_have_value(re.compile("^" + re.escape(winner)))
    expect(page.locator("#train-source input")).to_have_value("rows (yours)")
    yaml = page.locator("#train-yaml")
    expect(yaml).to_contain_text("model: tiny")
    expect(yaml).to_contain_text("max_steps: 2")
    expect(yaml).not_to_contain_text("comparison")
    configs = [json.loads(path.read_text()) for path in studio.workspace.glob("runs/*/config.json")]
    assert len({config["comparison"] for config in configs}) == 1
    for config in configs:
        del config["method"], config["training"]["learning_rate"]
    assert all(config == configs[0] for config in configs)


@pytest.mark.slow
def test_all_its_runs_stop_at_once(open_page: Open, rows: Path) -> None:
    page = open_page()
    prepare(page, rows)
    fill(page, "max_steps", "20000")
    expect(page.locator("#compare-verdict")).to_contain_text("of 20000 steps")
    page.locator("#compare-start").click()
    page.locator("#compare .chip.training").wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop all").click()
    expect(page.locator("#compare .chip.stopped")).to_have_count(len(METHODS), timeout=60_000)
    expect(page.get_by_role("button", name="Make the winner the current one")).to_be_hidden()
