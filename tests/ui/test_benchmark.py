"""Four variants of a run's model measured in the page: refused, cancelled, gone on with, drawn, saved and used."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from studio.bench import begin
from studio.benchmarks.variants import BenchSettings
from studio.errors import ConfigError
from studio.workspace import Workspace
from tabs._bench import board
from tabs.benchmark import _begin
from tests import nursery
from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose, toast
from tests.ui.test_arena import trained
from tests.ui.test_scripts import Shown, shown  # noqa: F401 - a fixture
from tests.ui.test_tiny import fill

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
POINTS = "document.querySelector('#bench-board [data-plot=speed]')?.data?.[1].x.length"


@pytest.mark.slow
def test_variants_of_a_run_are_measured_beside_one_another(studio: Studio, open_page: Open) -> None:
    trained(studio.workspace)
    nursery.ready("studio.bencher")  # each model gets a process of its own
    page = open_page()
    go(page, "Benchmark")
    board, told = page.locator("#bench-board"), page.locator("#bench-told")
    expect(board).to_contain_text("No benchmark yet")
    ask(page)
    lines = board.locator("tbody tr")
    expect(told).to_contain_text("batch ", timeout=60_000)
    page.locator("#bench-stop").click()
    expect(told).to_contain_text("Left where it was")
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    expect(lines).to_have_count(4)
    expect(lines.first).to_contain_text("fp32")
    page.locator("#bench-more").click()
    expect(lines.locator("td.number[data-title='Tokens/s']")).to_have_count(4, timeout=60_000)
    expect(page.locator("#bench-stop")).not_to_be_visible()
    expect(board.locator(".advised .ready")).to_contain_text("Take ")
    page.wait_for_function(f"{POINTS} === 4")
    expect(board.locator(".winner").first).to_contain_text("Pareto front")
    expect(board.locator("[data-plot=latency] .trace.boxes")).to_have_count(4)
    use_it(page)
    what_it_costs(page)
    on_a_narrow_page(page)


def ask(page: Page) -> None:
    """Two models with two batch sizes; what cannot be had here is greyed out, and nonsense refused."""
    axes = page.locator("#bench-axes")
    flash = axes.get_by_role("checkbox", name="FlashAttention")
    expect(flash).to_be_disabled()
    expect(axes).to_contain_text("FlashAttention runs on NVIDIA GPUs only")
    expect(page.locator("#bench-models")).to_contain_text("adapter")  # of the run that this browser looks at
    choose(page, "bench-models", "merged")
    page.keyboard.press("Escape")
    axes.get_by_role("checkbox", name="fp32").check()
    axes.get_by_role("checkbox", name="bf16").uncheck()
    for field, value in (
        ("batch_size", "many"),
        ("prompt_tokens", "8"),
        ("answer_tokens", "4"),
        ("rounds", "1"),
        ("batches", "60"),
    ):
        fill(page, field, value)
    page.locator("#bench-start").click()
    toast(page, "batch_size")
    fill(page, "batch_size", "1, 2")
    page.locator("#bench-start").click()


def use_it(page: Page) -> None:
    """The figures as files, an earlier benchmark beside, the run in the chat; deleted in the end."""
    page.locator("#bench-files").click()
    expect(page.locator("#bench-saved a")).to_have_text(["CSV", "JSON"])
    board = page.locator("#bench-board")
    board.locator("summary").first.click()
    expect(board.locator("details[open] pre")).not_to_be_empty()
    board.get_by_role("button", name="Use in the chat").first.click()
    expect(page.get_by_role("tab", name="Chat", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator("#chat-run input")).to_have_value(re.compile("LoRA"))
    go(page, "Benchmark")
    expect(board.locator("tbody tr")).to_have_count(4)


def what_it_costs(page: Page) -> None:
    """The card of the run, then with a pass of it."""
    card = page.locator("#card")
    card.get_by_role("button", name="What a model is made of").click()
    expect(card.locator("tbody")).to_contain_text("Learnt")
    expect(card.locator("tbody")).not_to_contain_text("Forward pass")
    choose(page, "card-model", "as it is")
    expect(card.locator("tbody, .fault")).not_to_contain_text("Learnt")
    choose(page, "card-model", "Tuned")
    page.locator("#card-start").click()
    expect(card.locator("tbody")).to_contain_text("the median of 20 passes", timeout=60_000)
    expect(page.locator("#card-stop")).not_to_be_visible()
    expect(card.locator("#card-told")).to_be_empty()
    with page.expect_download() as download:
        card.get_by_role("link", name="Save as JSON").click()
    assert json.loads(download.value.path().read_text())["forward"]["milliseconds"] > 0


def on_a_narrow_page(page: Page) -> None:
    """Nothing sticks out; deleted in the end."""
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("#bench-board tbody tr")).to_have_count(4)
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#bench-delete").click()
    expect(page.locator("#bench-board")).to_contain_text("No benchmark yet")


def test_a_file_of_the_machine_is_not_named_by_others() -> None:
    asked = BenchSettings.parse({"precision": ["gguf"], "gguf": "/etc/passwd"})
    with pytest.raises(ConfigError, match="open to others"):
        _begin(SimpleNamespace(alone=False), asked)  # pyright: ignore[reportArgumentType]


def test_numbers_that_do_not_fit_a_plot_are_told_or_drawn_by_their_logarithm(
    workspace: Workspace,
    shown: Shown,  # noqa: F811
) -> None:
    asked = {"models": ["tiny"], "precision": ["float32", "bfloat16", "nf4"], "batch_size": [1, 2], "rounds": 1}
    bench = begin(workspace, BenchSettings.parse(asked))
    for place, (key, nats) in enumerate(zip(bench.measured, [300.0, 300.0, None, None, 9e9, 9e9], strict=True)):
        if place == 5:
            bench.keep({"failed": key, "why": "It does <b>not</b> fit.", "died": False})
            continue
        took, size = 10.0 ** (place - 3), bench.measured[key].variant.batch_size
        batches = [[[took], [1] * size, [3] * size]]
        told = {"load": 1.0, "warmup": 0.0, "host": 0.5, "device": 0.0, "answer": "<i>x</i>"}
        bench.keep({"found": key, "round": 0, "batches": batches, **told})
        quality = {"quality": bench.measured[key].variant.setup, "tokens": 10, "bytes": 40, "rows": 1, "asked": 1}
        bench.keep(quality | {"nats": nats})
    page = shown('<div class="versus bench"></div>', ["versus", "benchmark"], board(bench))
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.nth(5)).to_contain_text("It does <b>not</b> fit.")
    expect(rows.nth(2)).to_contain_text("– bits/byte")
    expect(rows.nth(0).locator("td.number[data-title='A token']")).to_contain_text("–")  # answers of one token
    page.wait_for_function("document.querySelector('[data-plot=latency]')?.data?.length === 5")
    axes = "name => { const { xaxis, yaxis } = document.querySelector(`[data-plot=${name}]`).layout; "
    axes += "return [xaxis.type, yaxis.type]; }"
    assert page.evaluate(axes, "speed") == ["log", "log"]
    assert page.evaluate("document.querySelector('[data-plot=speed]').data[1].x.length") == 3
    rows.nth(0).locator("summary").click()
    expect(rows.nth(0).locator("pre")).to_have_text("<i>x</i>")
