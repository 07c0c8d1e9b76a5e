"""The page as somebody reads it whose browser asks for German."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.data.collection import add_rows
from studio.workspace import Workspace
from tests.ui.conftest import Studio

pytestmark = pytest.mark.browser

SENTENCE = "Works on the rows that the filter above shows; Undo takes it back."  # of the page itself


@pytest.fixture
def german(browser: Browser, studio: Studio) -> Iterator[Page]:
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(studio.url)
    page.locator("body[data-arrived]").wait_for()
    yield page
    context.close()


def test_labels_help_texts_and_what_handlers_draw_are_german_and_data_stays_as_it_is(
    german: Page, studio: Studio
) -> None:
    page = german
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("heading", name="Bring einem Sprachmodell etwas Neues bei")).to_be_visible()
    expect(page.get_by_text("Etwa 3 % der Gewichte lernen")).to_be_visible()
    expect(page.get_by_role("meter", name="RAM")).to_contain_text("Seite ")

    page.get_by_role("tab", name="Training", exact=True).click()
    rate = page.locator(".field-learning_rate:visible")
    expect(rate).to_contain_text("Lernrate")
    page.locator("#train-objective input").click()
    expect(page.get_by_role("option").filter(has_text="Nächstes Token")).to_be_visible()
    page.keyboard.press("Escape")

    rows = [{"prompt": SENTENCE, "Answer": "Answer"} for _ in range(3)]
    add_rows(Workspace(studio.workspace), "<b>Words</b>", rows, mapping=None, by="")
    page.reload()
    page.locator("body[data-arrived]").wait_for()
    page.get_by_role("tab", name="Datensatz", exact=True).click()
    page.locator("#dataset-choice input").click()
    page.get_by_role("option").filter(has_text="Words").click()
    expect(page.locator("td.cell").first).to_have_text(SENTENCE)
    expect(page.locator("td.cell").nth(1)).to_have_text("Answer")
    expect(page.locator("thead button").nth(1)).to_have_text("Answer")
    expect(page.get_by_role("button", name="Zeile duplizieren")).to_be_visible()
    # A sentence that Gradio changes in its place is translated whenever it is changed.
    for row in (0, 2):
        page.locator("td.cell").nth(2 * row).click()
        expect(page.locator("#tab-dataset")).to_contain_text(f"prompt, Zeile {row + 1}")

    # What is filled into a sentence stays text.
    page.get_by_role("tab", name="Lernen", exact=True).click()
    page.locator("#learn-source input").click()
    page.get_by_role("option").filter(has_text="Words").click()
    steps = page.locator("#learn-steps")
    expect(steps).to_contain_text("Die 3 Zeilen von „<b>Words</b>“ wurden noch nicht geprüft.")
    assert steps.locator("b").count() == 0

    page.locator("#learn-parts").get_by_role("tab", name="Glossar").click()
    for words in ("Lernrate", "learning rate"):
        page.get_by_role("searchbox", name="Begriffe und Einstellungen").fill(words)
        expect(page.locator("#learn-glossary h3").first).to_have_text("Lernrate")

    # Each text of the table is found as itself, and what is filled in stays as it is.
    wrong = page.evaluate("""() => {
        const table = window.gradio_config.i18n_translations.de, GAP = /(?<!#)#(?!#)|\\{\\d*\\}/g;
        const fill = (text, some) => { let at = 0; return text.replace(GAP, (gap) => some(gap, at++)); };
        return Object.entries(table).filter(([key, translation]) => {
            const gaps = key.match(GAP) ?? [], given = gaps.map((gap, at) => (gap === "#" ? `${at + 3}` : `x${at}y`));
            const asked = fill(key, (_, at) => given[at]);
            const place = (gap, at) => (/\\d/.test(gap) ? gap.slice(1, -1) - 1 : at);
            return window.translated(asked) !== fill(translation, (gap, at) => given[place(gap, at)]);
        }).map(([key]) => key);
    }""")
    assert len(wrong) <= 4, wrong  # two sentences that say the same up to a plural
    assert page.evaluate("window.translated('Answer one. Answer two.')") == "Answer one. Answer two."

    chooser = page.get_by_label("Sprache")
    expect(chooser).to_have_value("de")
    chooser.select_option("English")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator("body[data-arrived]").wait_for()
    expect(page.get_by_role("heading", name="Teach a language model something new")).to_be_visible()
    page.reload()
    expect(page.get_by_role("tab", name="Train", exact=True)).to_be_visible()
    expect(page.get_by_label("Language")).to_have_value("en")
