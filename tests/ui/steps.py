"""What a person does in the page, for the tests that do it often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.ui.conftest import go


def choose(page: Page, elem_id: str, text: str) -> None:
    """Pick an entry of a dropdown by a part of its text."""
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option").filter(has_text=text).first.click()


@contextmanager
def far_away(page: Page) -> Iterator[None]:
    """Meanwhile each answer comes a second and a half later."""
    network = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", conditions)
    yield
    network.send("Network.emulateNetworkConditions", {**conditions, "latency": 0})
    network.detach()


def upload(page: Page, path: Path) -> None:
    """Bring a file in the Dataset tab."""
    go(page, "Dataset")
    with page.expect_file_chooser() as chooser:
        page.locator("#dataset-upload").click()
    chooser.value.set_files(path)


def bring(page: Page, path: Path, title: str | None = None) -> None:
    """Bring a file and wait until its rows are shown."""
    upload(page, path)
    expect(page.locator("#dataset-choice input")).to_have_value(f"{title or path.stem} (yours)")
    cell(page, 0).wait_for()


def go_to_part(page: Page, title: str) -> None:
    """Click on a part of the Dataset tab; on a narrow page it may hide in the strip's menu."""
    strip = page.locator("#dataset-parts")
    tab = strip.get_by_role("tab", name=title, exact=True).locator("visible=true")
    if tab.count():
        tab.first.click()
    else:
        strip.locator(".overflow-menu > button").first.click()
        strip.locator(".overflow-dropdown button", has_text=title).click()
    expect(tab.first).to_have_attribute("aria-selected", "true")


def cell(page: Page, row: int, column: str | None = None) -> Locator:
    """A cell of the table, rows counted from 0; without a column the row's first one."""
    named = f"[data-column='{column}']" if column else ""
    return page.locator(f"#dataset-rows td.cell[data-row='{row}']{named}").first


def numbers(page: Page) -> list[str]:
    """The row numbers the table shows, as it names them."""
    return page.locator("#dataset-rows td.number").all_inner_texts()


def toast(page: Page, text: str, *, close: bool = True) -> None:
    """Wait for a message that says `text`, and close it."""
    found = page.get_by_test_id("toast-body").filter(has_text=text).first
    expect(found).to_be_visible()
    assert "Traceback" not in found.inner_text()
    if close:
        found.get_by_test_id("toast-close").evaluate_all("all => all.forEach((each) => each.click())")  # may be gone
        expect(found).not_to_be_visible()
