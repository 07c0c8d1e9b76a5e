"""Takes the README's pictures from the real page: a real run of the starter model in a headless Chromium.

python assets/screenshots/make.py [--workspace FOLDER] [--only PART]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import FloatRect, Page, expect, sync_playwright

HERE = Path(__file__).parent


def take(page: Page, name: str, first: str = "", last: str = "") -> None:
    """The page as it is seen; or what stands between two of its parts."""
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1200)  # transitions come to rest
    top, end = (page.locator(each).bounding_box() if each else None for each in (first, last))
    if top and end:
        area = FloatRect(x=top["x"], y=top["y"], width=top["width"], height=end["y"] + end["height"] - top["y"])
        page.screenshot(path=HERE / f"{name}.png", clip=area, full_page=True)
    else:
        page.screenshot(path=HERE / f"{name}.png")


def drive(page: Page, url: str) -> None:
    """The newcomer's path, with a picture at each stop."""
    page.goto(url)
    page.locator("#start-training").wait_for()
    take(page, "start")
    page.locator("#start-training").click()
    page.locator("#live .live .chip.training").wait_for(timeout=120_000)
    page.wait_for_function("document.querySelector('[data-live=loss]').data?.[0]?.x?.length >= 14", timeout=300_000)
    take(page, "training")
    page.locator("#live .live .chip.done").wait_for(timeout=600_000)
    take(page, "result")
    page.get_by_role("button", name="Talk to both models").click()
    page.locator("#chat-held-out input").click()
    page.get_by_role("option").nth(0).click()
    page.wait_for_timeout(800)
    page.locator("#chat-send").click()
    page.locator("#chat-outcome").wait_for(timeout=120_000)
    take(page, "chat")
    page.get_by_role("tab", name="Train", exact=True).click()
    page.wait_for_timeout(1500)
    take(page, "train")


def drive_compare(page: Page, url: str) -> None:
    """Six methods on the same rows, and what the last run's adapter changed."""
    page.goto(url)
    page.get_by_role("tab", name="Compare", exact=True).click()
    steps = page.locator("#tab-compare .field-max_steps textarea, #tab-compare .field-max_steps input").first
    steps.fill("20")
    steps.blur()
    page.wait_for_timeout(2000)
    page.locator("#compare-start").click()
    expect(page.locator("#compare .progress")).to_have_text("All runs have ended.", timeout=1_800_000)
    take(page, "compare")
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.locator("#runs .chip").first.wait_for()
    take(page, "runs")
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare tr", has=page.locator(".method", has_text=re.compile("LoRA$"))).first.get_by_role(
        "button", name="Curves"
    ).click()
    page.get_by_role("tab", name="Adapter", exact=True).click()
    page.locator("#adapter-weigh").click()
    page.locator("#adapter-told .ready").wait_for(timeout=600_000)
    take(page, "adapter")


def part(page: Page, title: str) -> None:
    page.locator("#dataset-parts").get_by_role("tab", name=title, exact=True).click()


def choose(page: Page, elem_id: str, text: str) -> None:
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option").filter(has_text=text).first.click()


def drive_data(page: Page, url: str) -> None:
    """A data set full of faults: edited, looked at as tokens, checked."""
    page.goto(url)
    page.get_by_role("tab", name="Dataset", exact=True).click()
    page.locator("#dataset-rows td.cell").first.wait_for()
    choose(page, "dataset-choice", "Messy support")
    page.locator("#dataset-copy").click()
    page.locator("#dataset-rows td.tick input").first.wait_for()  # a copy can be edited
    cell = page.locator("#dataset-rows td.cell[data-row='4'][data-column='answer']")
    cell.click()
    text = page.locator("#cell-text textarea")
    expect(text).to_have_value(re.compile("^Sorry"))
    text.fill(text.input_value() + " Is there anything else that we can do for you?")
    page.locator("#cell-keep").click()
    expect(cell).to_contain_text("anything else")
    page.locator("#dataset-rows td.tick input[data-id='6']").check()
    expect(page.locator("#rows-place")).to_contain_text("picked")
    take(page, "dataset", "#dataset-parts", "#rows-place")

    part(page, "What the model sees")
    page.locator("#seen-fetch input").check()
    page.locator("#seen-count").click()
    page.locator("#seen-told .ready").wait_for(timeout=600_000)
    page.locator("#seen-show").click()
    page.locator("#seen-tokens .seen").wait_for(timeout=600_000)
    take(page, "mask", "#seen-tokens", "#seen-plot")

    part(page, "Quality")
    page.locator("#quality-go").click()
    personal = page.locator(".finding").filter(has_text="Personal data")
    personal.get_by_role("button", name="preview").click(timeout=120_000)
    page.locator("#quality-preview ins").first.wait_for()
    take(page, "quality")


def tick(page: Page, tab: str, title: str, *, on: bool = True) -> None:
    box = page.locator(f"#tab-{tab}").get_by_role("checkbox", name=title, exact=True)
    box.set_checked(on)


def drive_rewards(page: Page, url: str) -> None:
    """What three rewards would teach the starter model."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    page.get_by_role("tab", name="Rewards", exact=True).click()
    tick(page, "rewards", "Valid JSON")
    tick(page, "rewards", "No repetition")
    page.locator("#rewards-preview").click()
    page.locator("#rewards-report h3").first.wait_for(timeout=900_000)
    take(page, "rewards")


def drive_prompts(page: Page, url: str) -> None:
    """A search for a better prompt, to its verdict; in a workspace that holds one, that one."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    page.get_by_role("tab", name="Prompts", exact=True).click()
    page.locator("#prompts-placeholders code").first.wait_for(state="attached")
    if not page.locator("#prompts-board .verdict").count():
        page.locator("#prompts-start").click()
    page.locator("#prompts-board .verdict .whiskers").wait_for(timeout=900_000)
    page.wait_for_function("document.querySelector('#prompts-board .chart')?.data?.length > 1")
    take(page, "prompts", "#prompts-board .headline", "#prompts-board .pareto")


def drive_evaluate(page: Page, url: str) -> None:
    """What the newest run learnt, beside what it began with; in a workspace that holds such a report, that one."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.locator("#evaluate-report p").first.wait_for()
    if not page.locator("#evaluate-report .whiskers").count():
        page.locator("#evaluate-start").click()
    page.locator("#evaluate-report .whiskers").first.wait_for(timeout=1_800_000)
    expect(page.locator("#evaluate-leave")).not_to_be_visible(timeout=1_800_000)
    take(page, "evaluate", "#evaluate-report p.ready", "#evaluate-report .whiskers >> nth=0")


def go(page: Page, title: str) -> None:
    """To a tab, which may have no place in the strip."""
    if not (tab := page.get_by_role("tab", name=title, exact=True).locator("visible=true")).count():
        page.locator("#tabs .overflow-menu > button").first.click()
        tab = page.locator("#tabs .overflow-dropdown button", has_text=title)
    tab.first.click()


def drive_learn(page: Page, url: str) -> None:
    """A real update of a weight, and what is left of it at a rank."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    go(page, "Learn")
    page.locator("#learn-parts").get_by_role("tab", name="LoRA from scratch").click()
    page.locator("#learn-lowrank").get_by_role("slider", name="Rank").fill("8")
    take(page, "learn")


def drive_export(page: Page, url: str) -> None:
    """The newest run as GGUF, and what was checked of it."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    go(page, "Export")
    choose(page, "export-form", "GGUF")
    expect(page.locator("#export-start")).to_be_enabled()
    page.locator("#export-start").click()
    page.locator("#export-told a").first.wait_for(timeout=900_000)
    take(page, "export")


def drive_language(page: Page, url: str) -> None:
    """The form in German."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    page.get_by_label("Language").select_option("Deutsch")
    page.locator("html[lang=de] body[data-arrived]").wait_for()
    go(page, "Training")
    page.locator("#train-memory .needs").wait_for()
    take(page, "language")
    page.get_by_label("Sprache").select_option("English")
    page.locator("html[lang=en] body[data-arrived]").wait_for()


def drive_workshop(page: Page, _: str) -> None:
    """What the presenter sees of four people who watch a finished run."""
    word = "shown-in-a-picture"
    with tempfile.TemporaryDirectory() as root, served(Path(root), "--workshop", word=word) as url:
        code = json.loads((Path(root) / "workshop.json").read_text(encoding="utf-8"))["code"]
        browser = page.context.browser
        assert browser
        for name, speed in (("Ada", "100"), ("Emmy", "20"), ("Grace", "20"), ("Sofja", "5")):
            guest = browser.new_context().new_page()
            enter(guest, url, name, f"word of {name}", code)
            guest.locator("body[data-arrived]").wait_for()
            guest.locator("#start-again button").first.click()
            choose(guest, "start-speed", f"{speed} ×")
            guest.locator("#start-replay").click()
            guest.locator("#live .live .chip").wait_for()
        page.set_viewport_size({"width": 1280, "height": 420})
        enter(page, url, "presenter", word)
        page.wait_for_function("document.querySelectorAll('polyline.eval_loss').length >= 3", timeout=120_000)
        take(page, "workshop")


def enter(page: Page, url: str, name: str, word: str, code: str = "") -> None:
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Your word").fill(word)
    page.get_by_label("The workshop's code").fill(code)
    page.get_by_role("button", name="Come in").click()


def drive_benchmark(page: Page, url: str) -> None:
    """That run, as adapter and merged, alone and four at once; in a workspace that holds a benchmark, that."""
    page.goto(url)
    page.locator("body[data-arrived]").wait_for()
    go(page, "Benchmark")
    page.locator("#bench-board p").first.wait_for()
    if not page.locator("#bench-board tbody tr").count():
        choose(page, "bench-models", "merged")
        page.keyboard.press("Escape")
        page.locator("#tab-benchmark .field-batch_size :is(textarea, input)").first.fill("1, 4")
        page.locator("#bench-start").click()
    page.locator("#bench-board .advised .ready").wait_for(timeout=1_800_000)
    expect(page.locator("#bench-stop")).not_to_be_visible(timeout=1_800_000)
    take(page, "benchmark", "#bench-board .advised", "#bench-board table")


PARTS = {
    "run": drive,
    "data": drive_data,
    "compare": drive_compare,
    "rewards": drive_rewards,
    "prompts": drive_prompts,
    "evaluate": drive_evaluate,
    "benchmark": drive_benchmark,
    "learn": drive_learn,
    "export": drive_export,
    "language": drive_language,
    "workshop": drive_workshop,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.mkdtemp()))
    parser.add_argument("--only", choices=tuple(PARTS), help="only the pictures of that part")
    options = parser.parse_args()
    with served(options.workspace) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 940})
        for name, part_of in PARTS.items():
            if options.only in (None, name):
                part_of(page, url + "/?__theme=light")
        browser.close()


@contextmanager
def served(workspace: Path, *arguments: str, word: str = "") -> Iterator[str]:
    """A studio over that workspace; its address."""
    command = [str(Path(sys.executable).parent / "finetune-studio"), "--no-browser", "--port", "0", *arguments]
    # Named by a variable, so that no picture names its path.
    own = {**os.environ, "FINETUNE_STUDIO_WORKSPACE": str(workspace), "FINETUNE_STUDIO_WORD": word}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the studio did not start"
        yield found[0]
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
