"""The Dataset tab's editor in a browser: rows changed, taken back, saved, compared, found, asked for, exported."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Locator, Page, Route, expect

from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import bring, cell, choose, far_away, go_to_part, numbers, toast

pytestmark = pytest.mark.browser
COUNT = itertools.count(1)


@pytest.fixture(scope="module")
def studio(lasting: Studio) -> Studio:
    return lasting


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """Twelve rows, under a name that no other test brings."""
    return table(tmp_path / f"sums{next(COUNT)}.csv", 12)


def table(path: Path, rows: int) -> Path:
    lines = ["question,answer", *(f"what is {i} and {i}?,it is {2 * i}" for i in range(rows))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write(page: Page, text: str) -> None:
    """Another text for the open cell, by the panel beside the table."""
    page.locator("#cell-text textarea").fill(text)
    page.locator("#cell-keep").click()


def open_cell(page: Page, row: int, column: str) -> Locator:
    found = cell(page, row, column)
    found.click()
    expect(page.locator("#cell-heading")).to_contain_text(f"{column}, row {row + 1}")
    return found


def pick(page: Page, *rows: int) -> None:
    for row in rows:
        page.locator(f"#dataset-rows td.tick input[data-id='{row}']").check()
    expect(page.locator("#rows-place")).to_contain_text(f"{len(rows)} picked")


def place(page: Page, text: str) -> None:
    expect(page.locator("#rows-place")).to_contain_text(text)


def download(page: Page, title: str, ending: str) -> bytes:
    """The file that 'Make the file' gives in that format."""
    page.locator(f"#export-format input[value='{ending}']").check()
    link = page.locator("#export-told a.download")
    before = link.get_attribute("href") if link.count() else None
    page.locator("#export-go").click()
    expect(link).to_have_attribute("href", re.compile(rf"\{ending}$"))
    if before:
        expect(link).not_to_have_attribute("href", before)
    with page.expect_download() as got:
        link.click()
    assert got.value.suggested_filename == f"{title}{ending}"
    return got.value.path().read_bytes()


def test_rows_are_edited_taken_back_saved_and_found_again(open_page: Open, sums: Path) -> None:
    page = open_page()
    bring(page, sums)
    open_cell(page, 0, "answer")
    expect(page.locator("#cell-text textarea")).to_have_value("it is 0")
    write(page, "=1+1 is nothing")
    expect(cell(page, 0, "answer")).to_have_text("=1+1 is nothing")

    cell(page, 1, "answer").dblclick()
    page.locator("textarea.writing").fill("it is two")
    page.locator("textarea.writing").press("Enter")
    expect(page.locator("#rows-unsaved")).to_contain_text("2 changes")
    expect(cell(page, 1, "answer")).to_have_text("it is two")

    pick(page, 3, 4)
    page.locator("#rows-delete").click()
    place(page, "of 10")
    assert numbers(page) == [str(n) for n in (1, 2, 3, 6, 7, 8, 9, 10, 11, 12)]
    page.locator("#rows-undo").click()
    place(page, "of 12")
    page.locator("#rows-redo").click()
    place(page, "of 10")
    page.locator("#rows-save").click()
    expect(page.locator("#rows-unsaved")).to_contain_text("Everything is saved")

    page.reload()
    with far_away(page):  # what is chosen at once stays chosen, however late the answer to the arrival comes
        go(page, "Dataset")
        choose(page, "dataset-choice", f"{sums.stem} (yours)")
        place(page, "of 10")
        page.wait_for_timeout(3000)
    expect(page.locator("#dataset-choice input")).to_have_value(f"{sums.stem} (yours)")
    expect(cell(page, 0, "answer")).to_have_text("=1+1 is nothing")
    expect(cell(page, 1, "answer")).to_have_text("it is two")
    assert not page.locator("#dataset-rows").get_by_text("what is 3 and 3?").count()

    go_to_part(page, "Versions and export")
    choose(page, "versions-choice", "as it came")
    page.locator("#versions-compare").click()
    difference = page.locator("#versions-diff")
    expect(difference).to_contain_text("8 rows are the same, 2 changed, 0 came, 2 went")
    lines = difference.locator("tbody tr").all_inner_texts()
    assert [line.split("\t")[0] for line in lines] == ["row 1, answer", "row 2, answer", "row 4 went", "row 5 went"]
    expect(difference.locator("ins").nth(0)).to_contain_text("=1+1")

    assert len(download(page, sums.stem, ".jsonl").splitlines()) == 12  # of the version chosen
    choose(page, "versions-choice", "current")
    rows = [json.loads(line) for line in download(page, sums.stem, ".jsonl").decode().splitlines()]
    assert len(rows) == 10
    assert rows[:2] == [
        {"question": "what is 0 and 0?", "answer": "=1+1 is nothing"},
        {"question": "what is 1 and 1?", "answer": "it is two"},
    ]
    safe = list(csv.DictReader(io.StringIO(download(page, sums.stem, ".csv").decode("utf-8-sig"))))
    assert [row["answer"] for row in safe[:2]] == ["'=1+1 is nothing", "it is two"]
    expect(page.locator("#export-told")).to_contain_text("apostrophe")

    choose(page, "versions-choice", "as it came")
    page.locator("#versions-back").click()
    toast(page, "the current one now")
    go_to_part(page, "Rows")
    place(page, "of 12")
    expect(cell(page, 0, "answer")).to_have_text("it is 0")


def test_two_people_at_one_cell_lose_nothing(open_page: Open, sums: Path) -> None:
    first = open_page()
    bring(first, sums)
    second = open_page()
    go(second, "Dataset")
    choose(second, "dataset-choice", f"{sums.stem} (yours)")
    for page in (first, second):
        open_cell(page, 5, "answer")
        expect(page.locator("#cell-text textarea")).to_have_value("it is 10")

    write(first, "by the first")
    expect(cell(first, 5, "answer")).to_have_text("by the first")
    write(second, "by the second")
    toast(second, "was changed by someone else meanwhile")
    expect(second.locator("#cell-text textarea")).to_have_value("by the second")
    second.locator("#rows-clear").click()
    expect(cell(second, 5, "answer")).to_have_text("by the first")
    open_cell(second, 5, "answer")
    expect(second.locator("#cell-text textarea")).to_have_value("by the first")
    write(second, "by both")
    expect(cell(second, 5, "answer")).to_have_text("by both")


def test_rows_are_paged_filtered_and_sorted(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    bring(page, table(tmp_path / "many.csv", 250))
    place(page, "rows 1–100 of 250")
    page.locator("#rows-forth").click()
    place(page, "rows 101–200 of 250")
    page.locator("#rows-forth").click()
    place(page, "rows 201–250 of 250")
    assert numbers(page) == [str(n) for n in range(201, 251)]
    page.locator("#rows-forth").click()
    page.wait_for_timeout(300)  # it changes nothing that could be waited for
    page.locator("#rows-back").click()
    place(page, "rows 101–200 of 250")

    page.locator("#rows-search input, #rows-search textarea").fill("WHAT IS 24")
    page.keyboard.press("Enter")
    place(page, "rows 1–11 of 11 found")
    assert numbers(page) == ["25", *(str(n) for n in range(241, 251))]
    page.get_by_role("button", name="answer", exact=True).click()
    expect(page.locator("#dataset-rows th[aria-sort=ascending]")).to_have_text("answer ▲")
    page.locator("#dataset-rows th[aria-sort] button").click()
    expect(page.locator("#dataset-rows th[aria-sort=descending]")).to_have_text("answer ▼")
    assert numbers(page) == [str(n) for n in (*range(250, 240, -1), 25)]

    page.locator("#rows-clear").click()
    place(page, "rows 1–100 of 250")
    choose(page, "rows-column", "answer")
    choose(page, "rows-operator", "is longer than")
    page.locator("#rows-value input, #rows-value textarea").fill("8")
    page.keyboard.press("Enter")
    place(page, "of 200 found")  # from 50 + 50 on a sum has three digits
    assert numbers(page)[0] == "51"
    choose(page, "rows-operator", "matches the pattern")
    page.locator("#rows-value input, #rows-value textarea").fill("[")
    page.keyboard.press("Enter")
    toast(page, "The query cannot be answered", close=False)


def test_replacing_shows_first_what_it_would_do(open_page: Open, sums: Path) -> None:
    page = open_page()
    bring(page, sums)
    page.get_by_role("button", name="Find and replace").click()
    page.locator("#replace-find textarea, #replace-find input").fill("it is 2")
    page.locator("#replace-by textarea, #replace-by input").fill("they make 2")
    page.locator("#replace-preview").click()
    shown = page.locator("#replace-shown")
    expect(shown).to_contain_text("3 rows would change")
    expect(shown.locator("ins").first).to_contain_text("they make")
    expect(cell(page, 1, "answer")).to_have_text("it is 2")
    page.locator("#replace-go").click()
    expect(shown).to_contain_text("3 rows were changed")
    expect(cell(page, 1, "answer")).to_have_text("they make 2")
    expect(cell(page, 11, "answer")).to_have_text("they make 22")
    page.locator("#rows-undo").click()
    expect(cell(page, 11, "answer")).to_have_text("it is 22")


def ask(page: Page, query: str) -> None:
    page.locator("#sql-query .cm-content").fill(query)
    page.wait_for_timeout(400)  # the editor hands on what was typed after a moment; nobody's hand is that fast
    page.locator("#sql-run").click()


def test_sql_answers_and_changes_nothing(open_page: Open, sums: Path) -> None:
    page = open_page()
    bring(page, sums)
    page.get_by_role("button", name="Ask in SQL").click()
    ask(page, "SELECT row, answer FROM data WHERE answer LIKE '%1%' ORDER BY row")
    expect(page.locator("#sql-said")).to_contain_text("5 rows")
    expect(page.locator("#sql-answer")).to_contain_text("it is 10")
    page.locator("#sql-show").click()
    place(page, "of 5 found")
    assert numbers(page) == ["6", "7", "8", "9", "10"]

    ask(page, "DELETE FROM data")
    toast(page, "Only one SELECT can be asked here")
    for query in (f"SELECT * FROM read_csv('{sums}')", "SELECT * FROM read_text('/etc/hosts')"):
        ask(page, query)
        toast(page, "The query cannot be answered")
    page.locator("#rows-clear").click()
    place(page, "of 12")


def test_rows_that_could_not_be_read_are_mended_and_added(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    lines = [json.dumps({"prompt": f"say {i}", "completion": f"{i}"}) for i in range(6)]
    path = tmp_path / "torn.jsonl"
    path.write_text("\n".join([*lines[:3], '{"prompt": "say x", "completion": ', *lines[3:]]), encoding="utf-8")
    bring(page, path)
    place(page, "of 6")
    expect(page.locator("#dataset-about")).to_contain_text("1 row could not be read")
    with page.expect_download() as got:
        page.locator("#dataset-about a.download").click()
    torn = got.value.path().read_text()
    assert torn.strip() == '{"prompt": "say x", "completion":'
    mended = tmp_path / "mended.jsonl"
    mended.write_text(torn.strip() + ' "x"}', encoding="utf-8")

    go_to_part(page, "Get and make data")
    with page.expect_file_chooser() as chooser:
        page.locator("#make-more").click()
    chooser.value.set_files(mended)
    toast(page, "Added 1 rows")
    go_to_part(page, "Rows")
    place(page, "of 7")
    expect(cell(page, 6, "prompt")).to_have_text("say x")
    assert numbers(page)[-1] == "new 1"


def test_a_data_set_is_deleted_only_by_who_means_it(open_page: Open, sums: Path) -> None:
    page = open_page()
    bring(page, sums)
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if len(asked) > 1 else dialog.dismiss()

    page.on("dialog", answer)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        held.append(route)
        for each in held[:] if len(held) == 2 else held[2:]:
            each.continue_()

    page.route("**/gradio_api/queue/join*", hold_the_first)  # the no is still on its way when the yes is said
    page.locator("#dataset-delete").click()
    place(page, "of 12")
    expect(page.locator("#dataset-choice input")).to_have_value(f"{sums.stem} (yours)")
    page.wait_for_timeout(500)
    page.locator("#dataset-delete").click()
    expect(page.locator("#dataset-choice input")).to_have_value("Customer messages (sample)")
    assert len(asked) == 2
    assert "all its versions" in asked[0]
