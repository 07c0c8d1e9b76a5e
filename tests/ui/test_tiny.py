"""The page driven by a browser, with the tiny model so that each test takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import Open, Studio, go, wait_for_status
from tests.ui.steps import choose, go_to_part, toast, upload

pytestmark = pytest.mark.browser

POINTS = "document.querySelector('[data-live=loss]').data?.[0]?.x?.length || 0"


def fill(page: Page, field: str, value: str) -> None:
    box = page.locator(f".field-{field} input, .field-{field} textarea").locator("visible=true").first
    box.fill(value)
    box.blur()


@pytest.fixture(scope="module")
def studio(lasting: Studio) -> Studio:
    return lasting


@pytest.fixture
def rows(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"{request.node.name}.csv"
    lines = ["question,answer", *(f"say {i % 7},the number is {i % 7} and row {i}" for i in range(60))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def start_tiny(page: Page, rows: Path, *, steps: int) -> None:
    """Upload, train on it with the tiny model: the way a person does."""
    upload(page, rows)
    expect(page.locator("#dataset-choice input")).to_have_value(f"{rows.stem} (yours)", timeout=15_000)
    page.locator("#dataset-use").click()
    expect(page.locator("#train-source input")).to_have_value(f"{rows.stem} (yours)")
    choose(page, "train-model", "Tiny")
    fill(page, "max_steps", str(steps))
    fill(page, "learning_rate", "0.01")
    expect(page.locator("#train-yaml")).to_contain_text(f"max_steps: {steps}")
    page.locator("#train-start").click()
    page.locator("#live .live .chip").wait_for()


def test_a_reload_a_second_browser_and_a_killed_server_lose_nothing(
    studio: Studio, open_page: Open, rows: Path
) -> None:
    page = open_page()
    start_tiny(page, rows, steps=20_000)
    wait_for_status(page, "training", 60)
    page.wait_for_function(f"{POINTS} > 5")

    page.reload()
    page.locator("#live .live .chip").wait_for()  # it comes back to where the run is
    wait_for_status(page, "training", 20)
    page.wait_for_function(f"{POINTS} > 10")

    second = open_page()
    wait_for_status(second, "training", 20)
    assert second.locator("[data-live=title]").text_content() == page.locator("[data-live=title]").text_content()

    before = page.evaluate(POINTS)
    studio.kill()
    page.locator("[data-live=offline]").wait_for(state="visible", timeout=20_000)
    studio.start()
    page.wait_for_function(f"{POINTS} > {before} && !document.querySelector('[data-live=offline]')?.checkVisibility()",
                           timeout=40_000)  # fmt: skip
    (path,) = studio.workspace.glob("runs/*/events.jsonl")
    events = path.read_text().splitlines()
    steps = [event["step"] for event in map(json.loads, events) if event["event"] == "StepDone"]
    assert steps == list(range(1, len(steps) + 1))
    assert sum(json.loads(event)["event"] == "Started" for event in events) == 1

    page.get_by_role("button", name="Stop and save").click()
    wait_for_status(page, "stopped", 30)
    expect(page.locator("[data-live=messages]")).to_contain_text("what was learnt is saved")


@pytest.mark.slow
def test_zoom_and_hidden_curves_survive_what_arrives(open_page: Open, rows: Path) -> None:
    page = open_page()
    start_tiny(page, rows, steps=20_000)
    wait_for_status(page, "training", 60)
    page.wait_for_function(f"{POINTS} > 5")
    page.evaluate("""() => { const plot = document.querySelector('[data-live=loss]');
        Plotly.relayout(plot, {'xaxis.range': [2, 4]}); Plotly.restyle(plot, {visible: 'legendonly'}, [1]); }""")
    before = page.evaluate(POINTS)
    page.wait_for_function(f"{POINTS} > {before} + 5")
    kept = page.evaluate("""() => { const plot = document.querySelector('[data-live=loss]');
        return [plot.layout.xaxis.range, plot.data[1].visible]; }""")
    assert kept == [[2, 4], "legendonly"]
    page.get_by_role("button", name="Stop and save").click()
    wait_for_status(page, "stopped", 30)

    page.locator("[data-live=log]").check()
    page.locator("[data-live=smooth]").fill("0")
    page.wait_for_function("""() => { const plot = document.querySelector('[data-live=loss]');
        return plot.layout.yaxis.type === 'log' && plot.data[1].y.every((y, i) => y === plot.data[0].y[i]); }""")
    page.reload()
    go(page, "Curves")
    wait_for_status(page, "stopped", 30)
    expect(page.locator("[data-live=log]")).to_be_checked()
    assert page.evaluate("document.querySelector('[data-live=loss]').layout.yaxis.type") == "log"


def test_a_wrong_value_is_said_in_the_page_and_cannot_be_started(open_page: Open) -> None:
    page = open_page()
    go(page, "Train")
    start = page.locator("#train-start")
    expect(start).to_be_enabled()
    fill(page, "learning_rate", "fast")
    expect(page.locator("#train-verdict")).to_contain_text("training.learning_rate")
    expect(start).to_be_disabled()
    fill(page, "learning_rate", "0.001")
    expect(start).to_be_enabled()
    fill(page, "r", "0")
    expect(page.locator("#train-verdict")).to_contain_text("method.r")
    expect(start).to_be_disabled()
    fill(page, "r", "4")
    expect(page.locator("#train-yaml")).to_contain_text("learning_rate: 0.001")
    expect(start).to_be_enabled()


def test_methods_change_the_form(open_page: Open) -> None:
    page = open_page()
    go(page, "Train")
    expect(page.locator(".field-bits")).not_to_be_visible()
    choose(page, "train-method", "QLoRA")
    expect(page.locator(".field-bits")).to_be_visible()
    expect(page.locator("#train-yaml")).to_contain_text("name: qlora")


def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(studio: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    before = list((studio.workspace / "datasets").iterdir())
    for name, content, said in (
        ("empty.csv", b"", "empty"),
        ("broken.parquet", b"PAR1 not really", "broken.parquet"),
        ("picture.csv", bytes(range(256)) * 40, "picture.csv"),
    ):
        (tmp_path / name).write_bytes(content)
        upload(page, tmp_path / name)
        toast(page, said)
    assert list((studio.workspace / "datasets").iterdir()) == before


def test_what_data_says_is_shown_and_never_run(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    path = tmp_path / "<b>evil<b>.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"{evil} {i}", "completion": f"{evil} {i}"}) for i in range(8)))
    upload(page, path)
    expect(page.locator("#dataset-rows")).to_contain_text("onerror")
    go_to_part(page, "Columns")
    expect(page.locator("#dataset-example")).to_contain_text("onerror")
    page.wait_for_timeout(500)
    assert page.evaluate("window.hacked") is None
    assert page.locator("#dataset-example img, #dataset-rows img").count() == 0


def test_columns_can_be_mapped_by_hand_and_are_kept(studio: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    path = tmp_path / "odd.csv"
    path.write_text("a,b\n" + "\n".join(f"frage {i},antwort {i}" for i in range(10)), encoding="utf-8")
    upload(page, path)
    expect(page.locator("#dataset-about")).to_contain_text("please choose")
    go_to_part(page, "Columns")
    choose(page, "dataset-format", "Prompt and completion")
    expect(page.locator("#dataset-role-0")).to_contain_text("Prompt")  # the parts of that format are there
    choose(page, "dataset-role-0", "a")
    choose(page, "dataset-role-1", "b")
    expect(page.locator("#dataset-example .learnt")).to_contain_text("antwort 0")
    page.locator("#dataset-save").click()
    expect(page.locator("#dataset-about")).to_contain_text("Prompt and completion")
    abouts = [json.loads(path.read_text()) for path in studio.workspace.glob("datasets/*/about.json")]
    (about,) = (each for each in abouts if each["title"] == "odd")
    assert about["mapping"] == {"format": "prompt_completion", "columns": {"prompt": "a", "completion": "b"}}
