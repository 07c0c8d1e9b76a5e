"""A search in the page: from the Train tab's form through its trials to the best settings, back in the form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import bring, choose
from tests.ui.test_tiny import fill

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"say {i % 7}", "completion": f"number {i % 7}"} for i in range(24)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def prepare(page: Page, rows: Path, steps: int) -> None:
    """A form that asks for small runs, sent to the Search tab."""
    bring(page, rows)
    go(page, "Train")
    choose(page, "train-model", "Tiny")
    choose(page, "train-source", "rows")
    fill(page, "max_steps", str(steps))
    fill(page, "per_device_train_batch_size", "4")
    fill(page, "learning_rate", "0.00001")
    expect(page.locator("#train-yaml")).to_contain_text("learning_rate: 1.0e-05")
    page.locator("#train-search").click()
    expect(page.locator("#search-base")).to_contain_text("LoRA · tiny · rows")


def edge(page: Page, key: str, which: str, value: str) -> None:
    """Type one end of a setting's range."""
    box = page.locator(f".space [data-key='{key}']").get_by_label(which)
    box.fill(value)
    box.press("Tab")


def test_a_search_goes_from_the_form_to_better_settings(studio: Studio, open_page: Open, rows: Path) -> None:
    page = open_page()
    go(page, "Search")
    expect(page.locator("#search")).to_contain_text("No search yet")
    prepare(page, rows, steps=4)
    verdict = page.locator("#search-verdict")
    fill(page, "runs", "2")
    edge(page, "training.learning_rate", "Lowest", "0.5")
    expect(verdict).to_contain_text("the lower one first")
    edge(page, "training.learning_rate", "Lowest", "0.00001")
    expect(verdict).to_contain_text("only 32 wide")  # of the model, which a rank of its range would not fit
    page.locator(".space [data-key='method.r'] > label input").uncheck()
    expect(verdict).to_contain_text("Up to 2 runs of 4 steps")
    page.locator(".space [data-key='method.use_dora'] > label input").check()
    page.get_by_role("button", name="Start the search").click()

    table = page.locator("#search .measured")
    expect(table.locator("tbody tr").first).to_contain_text("1.00e-5")  # the form as it was
    page.get_by_role("button", name="Stop the search").click()
    expect(page.locator("#search .why")).to_contain_text("can go on")

    second = open_page()  # all of it is on disk: another browser sees the same
    go(second, "Search")
    expect(second.locator("#search .measured tbody tr").first).to_contain_text("1.00e-5")
    second.close()

    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#search .why")).to_have_text("All 2 runs have ended.", timeout=180_000)
    expect(table.locator(".chip.done")).to_have_count(2)
    lines = "document.querySelector('[data-plot=lines]').data[0].dimensions"
    assert page.evaluate(f"{lines}.map((each) => each.label)") == ["Learning rate", "DoRA", "Held-out loss"]
    assert page.evaluate(f"{lines}[0].values.length") == 2

    best = page.locator("#search pre").text_content() or ""
    assert table.locator("tr.winner").count() == 1
    page.get_by_role("button", name="Take the best over").click()
    yaml = page.locator("#train-yaml")
    for setting in ("learning_rate: ", "use_dora: "):
        line = next((line.strip() for line in best.splitlines() if setting in line), "")
        expect(yaml).to_contain_text(line)
    expect(yaml).not_to_contain_text("search")
    expect(page.locator("#train-source input")).to_have_value("rows (yours)")
    configs = [json.loads(path.read_text()) for path in studio.workspace.glob("runs/*/config.json")]
    assert {config["label"] for config in configs} == {f"search {at} of 2" for at in (1, 2)}
