"""A workshop as people see it: in by the door, a run watched, seen by the presenter, and out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.workshop import Workshop
from studio.workspace import Workspace
from tests.page.test_door import WORD, serving

pytestmark = pytest.mark.browser


ENGLISH = ("Your name", "Your word", "The workshop's code", "Come in")
GERMAN = ("Dein Name", "Dein Kennwort", "Der Code des Workshops", "Eintreten")


def come(page: Page, url: str, name: str, word: str, code: str = "", said: tuple[str, str, str, str] = ENGLISH) -> None:
    page.goto(url)
    for label, value in zip(said, (name, word, code), strict=False):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name=said[-1]).click()


def test_in_by_the_door_a_run_watched_and_out_again(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "--workshop") as url:
        code = Workshop(Workspace(tmp_path / "w")).code
        ada, presenter = (
            browser.new_context(viewport={"width": 1280, "height": 900}, locale=locale).new_page()
            for locale in ("en-US", "de-DE")
        )
        complaints: list[str] = []
        for page in (ada, presenter):
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        come(ada, url, "Ada <b>", "wrong", "wrong")
        expect(ada.get_by_role("alert")).to_contain_text("not the workshop's code")
        expect(ada.get_by_label("Your name")).to_have_value("Ada <b>")
        come(ada, url, "Ada <b>", "word of Ada", code)
        ada.locator("body[data-arrived]").wait_for()
        expect(ada.locator(".person")).to_contain_text("Ada <b>")
        come(presenter, url, "Grace", "short", code, said=GERMAN)
        expect(presenter.get_by_role("alert")).to_contain_text("Dein Kennwort ist zu kurz")
        expect(presenter.get_by_role("alert")).to_contain_text("Nimm eines mit 6 oder mehr Zeichen")
        come(presenter, url, "presenter", "wrong", code, said=GERMAN)
        expect(presenter.get_by_role("alert")).to_contain_text("nicht das Kennwort von „presenter“")
        come(presenter, url, "presenter", WORD, said=GERMAN)
        expect(presenter.locator("li")).to_contain_text("Hat noch nicht trainiert")

        ada.locator("#start-again button").first.click()
        ada.locator("#start-speed input").click()
        ada.get_by_role("option", name="100 × as fast as it was trained").click()
        ada.locator("#start-replay").click()
        expect(ada.locator(".live:visible")).to_contain_text("Nothing is trained here")
        expect(ada.locator(".live:visible")).to_contain_text("done")
        expect(presenter.locator("li polyline.eval_loss")).to_have_count(1)
        expect(presenter.locator("li h2")).to_have_text("Ada <b>")
        expect(presenter.locator("header")).to_contain_text("1 Person")
        expect(presenter.locator("li .state")).to_contain_text("Fertig")
        presenter.get_by_label("Sprache").select_option("English")
        expect(presenter.locator("li .state")).to_contain_text("Done")
        expect(presenter.get_by_role("button", name="Sign out")).to_be_visible()

        ada.get_by_role("button", name="Sign out").click()
        expect(ada.get_by_label("Your word")).to_be_visible()
        ada.goto(url)
        expect(ada.get_by_label("Your word")).to_be_visible()
        assert complaints == []
        for page in (ada, presenter):
            page.context.close()
