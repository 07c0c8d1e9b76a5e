"""The Dataset tab's other parts in a browser: tokens with their mask, findings and fixes, hostile data, a phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import bring, cell, choose, go_to_part, numbers, toast

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def studio(lasting: Studio) -> Studio:
    return lasting


PARTS = ("Rows", "Columns", "What the model sees", "Quality", "Versions and export", "Get and make data")


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def cut_off(page: Page, tokens: int) -> None:
    box = page.locator("#dataset-part-seen .field-max_length input, #dataset-part-seen .field-max_length textarea")
    box.first.fill(str(tokens))
    box.first.blur()


def tokens(page: Page) -> dict[str, str]:
    """The texts of the tokens shown in each colour."""
    page.locator("#seen-tokens .seen span").first.wait_for()
    return page.evaluate("""() => Object.fromEntries(['trained', 'masked', 'cut'].map((state) => [state,
        [...document.querySelectorAll(`#seen-tokens .seen .${state}`)].map((each) => each.textContent).join('')]))""")


def test_the_tokens_shown_as_learnt_are_the_answer(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    rows = [{"prompt": f"say {i}", "completion": f"yes {i}"} for i in range(10)]
    rows[3]["completion"] = rows[7]["completion"] = "long " * 30
    rows[5]["completion"] = ""
    bring(page, written(tmp_path / "mixed.jsonl", rows))
    go_to_part(page, "What the model sees")
    choose(page, "seen-model", "Tiny")
    page.locator("#seen-show").click()
    expect(page.locator("#seen-tokens")).to_contain_text("Row 1:", timeout=60_000)
    shown = tokens(page)
    assert shown["trained"] == "yes 0<|im_end|>"
    assert "say 0<|im_end|>" in shown["masked"]
    assert "yes" not in shown["masked"]
    assert shown["cut"] == ""

    cut_off(page, 8)
    page.locator("#seen-show").click()
    expect(page.locator("#seen-tokens .fault")).to_contain_text("Nothing is learnt from row 1")
    shown = tokens(page)
    assert shown["trained"] == ""
    assert shown["cut"].rstrip().endswith("yes 0<|im_end|>")

    cut_off(page, 64)
    page.locator("#seen-count").click()
    told = page.locator("#seen-told")
    expect(told).to_contain_text("2 rows are cut off at 64 tokens", timeout=60_000)
    expect(told).to_contain_text("1 rows teach nothing")
    expect(page.locator("#seen-plot .chart").first).to_contain_text("cut-off 64")
    for button, found in (("#seen-cut-rows", ["4", "8"]), ("#seen-untrained-rows", ["6"])):
        page.locator(button).click()
        expect(page.locator("#rows-place")).to_contain_text(f"of {len(found)} found")
        assert numbers(page) == found
        go_to_part(page, "What the model sees")


def finding(page: Page, title: str) -> Locator:
    return page.locator(".finding").filter(has_text=title)


def test_a_fix_is_shown_made_and_taken_back(open_page: Open) -> None:
    page = open_page()
    go(page, "Dataset")
    cell(page, 0).wait_for()
    choose(page, "dataset-choice", "Messy support")
    page.locator("#dataset-copy").click()
    expect(page.locator("#dataset-choice input")).to_have_value("Messy support (mine) (yours)")
    go_to_part(page, "Quality")
    page.locator("#quality-go").click()
    personal = finding(page, "Personal data")
    expect(personal).to_contain_text("12 rows", timeout=60_000)
    personal.get_by_role("button", name="Show the rows").click()
    expect(page.locator("#rows-place")).to_contain_text("of 12 found")
    with_address = page.locator("#dataset-rows td.cell").filter(has_text="@").first
    row = int(with_address.get_attribute("data-row") or "")
    before = cell(page, row).inner_text()
    assert "@" in before

    page.locator("#rows-clear").click()
    expect(page.locator("#rows-place")).to_contain_text("of 117")
    go_to_part(page, "Quality")
    personal.get_by_role("button", name="Show the rows").click()  # once more the same
    expect(page.locator("#rows-place")).to_contain_text("of 12 found")

    go_to_part(page, "Quality")
    personal.get_by_role("button", name="Mask them: preview").click()
    expect(page.locator("#quality-preview ins").filter(has_text="[EMAIL]").first).to_be_visible()
    go_to_part(page, "Rows")
    expect(cell(page, row)).to_have_text(before)  # so far nothing has changed
    go_to_part(page, "Quality")
    page.locator("#quality-apply").click()
    expect(page.locator("#quality-preview")).to_contain_text("12 rows were changed")
    go_to_part(page, "Rows")
    expect(cell(page, row)).to_contain_text("[EMAIL]")
    assert page.locator("#dataset-rows td.cell").filter(has_text="@").count() == 0
    page.locator("#rows-undo").click()
    expect(cell(page, row)).to_have_text(before)


EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"'


def harmless(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0


def test_hostile_data_is_text_in_every_part(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    rows = [{EVIL: f"{EVIL} {i}", "b": f" {EVIL} {i}"} for i in range(8)]
    name = "<img src=x onerror=hacked=1>.jsonl"
    bring(page, written(tmp_path / name, rows), "img src=x onerror=hacked=1")
    expect(page.locator("#dataset-rows th").nth(2)).to_have_text(EVIL)
    cell(page, 0, "b").click()
    expect(page.locator("#cell-text textarea")).to_have_value(f" {EVIL} 0")
    page.locator("#cell-text textarea").fill(f" {EVIL} again")
    page.locator("#cell-keep").click()
    expect(cell(page, 0, "b")).to_contain_text("again")
    page.get_by_role("button", name="Find and replace").click()
    page.locator("#replace-find textarea, #replace-find input").fill("<script>")
    page.locator("#replace-by textarea, #replace-by input").fill("<script >")
    page.locator("#replace-preview").click()
    expect(page.locator("#replace-shown")).to_contain_text(EVIL[:20])
    page.get_by_role("button", name="Ask in SQL").click()
    page.locator("#sql-run").click()
    expect(page.locator("#sql-answer")).to_contain_text("onerror")
    harmless(page)

    go_to_part(page, "Columns")
    choose(page, "dataset-format", "Prompt and completion")
    choose(page, "dataset-role-0", EVIL)
    choose(page, "dataset-role-1", "b")
    expect(page.locator("#dataset-example .learnt")).to_contain_text(EVIL)
    page.locator("#dataset-save").click()
    expect(page.locator("#dataset-about")).to_contain_text("Prompt and completion")
    go_to_part(page, "What the model sees")
    choose(page, "seen-model", "Tiny")
    page.locator("#seen-show").click()
    expect(page.locator("#seen-tokens")).to_contain_text("Row 1:", timeout=60_000)
    shown = tokens(page)
    assert EVIL in shown["masked"]
    assert EVIL in shown["trained"]
    page.locator("#seen-count").click()
    expect(page.locator("#seen-plot .chart").nth(1)).to_contain_text("onerror", timeout=60_000)
    harmless(page)

    go_to_part(page, "Quality")
    page.locator("#quality-go").click()
    spaces = finding(page, "Spaces around a text")
    expect(spaces).to_contain_text("8 rows", timeout=60_000)
    spaces.get_by_role("button", name="preview").click()
    expect(page.locator("#quality-preview")).to_contain_text("onerror")
    page.locator("#quality-apply").click()
    expect(page.locator("#quality-preview")).to_contain_text("8 rows were changed")
    go_to_part(page, "Rows")
    page.locator("#rows-undo").click()
    toast(page, "Undone")
    page.locator("#rows-save").click()
    toast(page, "Saved as version")
    go_to_part(page, "Versions and export")
    choose(page, "versions-choice", "as it came")
    page.locator("#versions-compare").click()
    expect(page.locator("#versions-diff")).to_contain_text("1 changed")
    expect(page.locator("#versions-diff")).to_contain_text("onerror")
    choose(page, "versions-which", "that led to")
    expect(page.locator("#versions-history")).to_contain_text("Edited 'b' of row 1")
    expect(page.locator("#versions-cells")).to_contain_text("again")
    page.locator("#export-go").click()
    page.locator("#export-told a.download").wait_for()
    harmless(page)

    go_to_part(page, "Get and make data")
    page.get_by_role("button", name="Split into train").click()
    choose(page, "split-how", "same shares")
    choose(page, "split-column", EVIL)
    page.locator("#split-preview").click()
    expect(page.locator("#split-told")).to_contain_text("onerror")
    page.locator("#split-go").click()
    expect(page.locator("#split-told")).to_contain_text("Made")
    harmless(page)


CLIPPED = """() => [...document.querySelectorAll('#tab-dataset *')].filter((each) => each.checkVisibility()
    && each.textContent.trim() && !each.closest('.grid, .tab-container, .overflow-menu, table')
    && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 200))"""


def test_parts_do_not_call_each_other_without_end(open_page: Open) -> None:
    """Where two put off calls for one widget's change event, each that ends calls all of them again."""
    page = open_page()
    names = page.evaluate("Object.fromEntries(window.gradio_config.components.map((c) => [c.id, c.props.elem_id]))")
    listeners = [
        names[str(target)]
        for each in page.evaluate("window.gradio_config.dependencies")
        for target, event in each["targets"]
        if each["trigger_mode"] == "always_last" and event == "change"
    ]
    assert listeners.count("dataset-choice") == 1
    assert listeners.count("make-choice") == 1


def test_every_part_fits_a_phone(open_page: Open) -> None:
    page = open_page("/?__theme=dark", width=390, height=844)
    go(page, "Dataset")
    cell(page, 0).click()
    expect(page.locator("#cell-heading")).to_contain_text("row 1")
    for part in PARTS:
        go_to_part(page, part)
        page.wait_for_function("() => !document.querySelector('#dataset-parts .pending')")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, part
        assert page.evaluate(CLIPPED) == [], part
