"""What training changed, seen in the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from studio.config import RunConfig
from tests.ui.conftest import Open, Studio, go

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = "document.querySelector('#adapter-plot .map')?.data?.[0].z.flat().length"
MAP_TITLE = "document.querySelector('#adapter-plot .map').layout.title.text"


def train(studio: Studio, config: RunConfig, folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    program = str(Path(sys.executable).parent / "finetune-studio")
    command = [program, "train", str(path), "--workspace", str(studio.workspace)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def test_a_runs_layers_are_weighed_and_each_shows_its_spectrum(
    studio: Studio, open_page: Open, tmp_path: Path, rows_file: Path
) -> None:
    page = open_page()
    go(page, "Adapter")
    told = page.locator("#adapter-told")
    expect(told).to_contain_text("Train a model first")

    training = {"max_steps": 3, "learning_rate": 0.01, "answer_rows": 0}
    config = {"model": "tiny", "dataset": {"source": str(rows_file)}, "method": {"name": "lora", "r": 4}}
    train(studio, RunConfig.parse(config | {"training": training}), tmp_path)
    go(page, "Start")
    go(page, "Adapter")
    page.locator("#adapter-weigh").click()
    expect(told).to_contain_text("99 % of the update", timeout=60_000)
    expect(told).to_contain_text("The rank was 4")
    page.wait_for_function(f"{CELLS} === 14")  # 7 linear layers in each of 2 blocks

    plot = page.locator("#adapter-plot")
    expect(plot.get_by_role("button", name="Relative norm")).to_have_attribute("aria-pressed", "true")
    plot.get_by_role("button", name="Effective rank").click()
    page.wait_for_function(f"{MAP_TITLE}.includes('Directions')")
    plot.locator(".map").click(position={"x": 90, "y": 70})  # the first block's first kind
    expect(plot.locator(".values .gtitle")).to_contain_text("Layer 0 · q_proj")
    last = plot.locator("tbody button").last
    last.click()
    expect(plot.locator(".values .gtitle")).to_contain_text(last.inner_text())

    page.reload()  # weighed once, it is known
    go(page, "Adapter")
    expect(told).to_contain_text("99 % of the update")
    expect(page.locator("#adapter-weigh")).to_be_hidden()

    train(studio, RunConfig.parse(config | {"training": training}), tmp_path)  # another run has figures of its own
    go(page, "Start")
    go(page, "Adapter")
    for which, weighed in (("last", True), ("first", False), ("last", True)):
        page.locator("#adapter-run input").click()
        getattr(page.get_by_role("option"), which).click()
        expect(told).to_contain_text("The rank was 4" if weighed else "Press “Weigh the adapter”")
        expect(page.locator("#adapter-weigh")).to_be_visible(visible=not weighed)
