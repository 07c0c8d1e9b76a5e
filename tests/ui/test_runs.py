"""The Runs tab in a browser: the queue put in order, and what happens to runs between a star and the trash."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.config import RunConfig
from studio.events import Done, EvalDone, Queued, Saved, StepDone
from studio.workspace import RunFolder, Workspace
from tests.ui.conftest import Open, Studio, go

pytestmark = pytest.mark.browser


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"say {i % 7}", "completion": f"number {i % 7}"} for i in range(24)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def made(studio: Studio, source: str, method: str, steps: int = 2) -> RunFolder:
    folder = Workspace(studio.workspace).new_run(method)
    training = {"max_steps": steps, "num_train_epochs": 1000, "eval_steps": 5000, "answer_rows": 1, "max_new_tokens": 4}
    config = {"model": "tiny", "method": method, "dataset": {"source": source}, "training": training}
    RunConfig.parse(config).settled().save(folder.config)
    return folder


def ended(studio: Studio, method: str, loss: float) -> str:
    folder = made(studio, "customer_messages", method)
    metrics = {"loss": loss}
    for event in (
        StepDone(step=2, total_steps=2, seconds=1.0, tokens=9, metrics=metrics),
        EvalDone(step=2, metrics={"eval_loss": loss}),
        Saved(step=2, size=9),
        Done(),
    ):
        folder.events.append(event)
    folder.events.close()
    return folder.id


def titles(page: Page, where: str) -> list[str]:
    """The methods of the runs in the table or in the queue."""
    return [text.split(" · ")[0] for text in page.locator(f"#runs {where}").all_inner_texts()]


def wait_for_queue(page: Page, *methods: str) -> None:
    shown = (
        "[...document.querySelectorAll('#runs .queue .title')].map((each) => each.textContent.split(' · ')[0]).join()"
    )
    page.wait_for_function(f"{shown} === {json.dumps(','.join(methods))}", timeout=60_000)


def test_the_queue_is_put_in_order_and_a_restart_keeps_it(studio: Studio, open_page: Open, rows: Path) -> None:
    for method, steps in (("lora", 20_000), ("dora", 2), ("ia3", 2), ("full", 2)):
        folder = made(studio, str(rows), method, steps)
        folder.events.append(Queued())
        folder.events.close()
    studio.kill()
    studio.start()
    page = open_page()
    go_to_runs(page)
    wait_for_queue(page, "DoRA", "(IA)³", "Full fine-tuning")

    page.get_by_role("button", name="One place down: DoRA").press("Enter")
    wait_for_queue(page, "(IA)³", "DoRA", "Full fine-tuning")
    expect(page.get_by_role("button", name="One place down: DoRA")).to_be_focused()
    page.get_by_role("button", name="To the front of the queue: Full fine-tuning").click()
    wait_for_queue(page, "Full fine-tuning", "(IA)³", "DoRA")
    lines = page.locator("#runs .queue li")
    lines.nth(2).locator(".handle").drag_to(lines.nth(1), target_position={"x": 60, "y": 3})
    wait_for_queue(page, "Full fine-tuning", "DoRA", "(IA)³")

    studio.kill()
    studio.start()
    again = open_page()
    go_to_runs(again)
    wait_for_queue(again, "Full fine-tuning", "DoRA", "(IA)³")
    again.get_by_role("button", name="Out of the queue; Continue puts it back: Full").click()
    wait_for_queue(again, "DoRA", "(IA)³")
    line(again, "Full fine-tuning").locator(".name").click()
    again.locator("#runs .details").get_by_role("button", name="Continue").click()
    wait_for_queue(again, "DoRA", "(IA)³", "Full fine-tuning")

    line(again, "LoRA").locator(".name").click()
    again.locator("#runs .details").get_by_role("button", name="Stop and save").click()
    expect(line(again, "LoRA").locator(".chip")).to_have_text("stopped", timeout=60_000)
    expect(again.locator("#runs .queue .title")).not_to_have_count(3, timeout=60_000)  # the first has begun


def go_to_runs(page: Page) -> None:
    """Once the page has gone to a run by itself, and the first run trains."""
    page.locator("#live .live .chip").wait_for()
    go(page, "Runs")
    expect(line(page, "LoRA").locator(".chip")).to_have_text("training", timeout=60_000)


def line(page: Page, method: str) -> Locator:
    """Of the table."""
    named = page.locator(".name").filter(has_text=f"{method} ·")
    return page.locator("#runs tbody tr", has=named).first


def test_runs_are_found_described_compared_and_thrown_away(studio: Studio, open_page: Open) -> None:
    page = open_page()
    go(page, "Runs")
    expect(page.locator("#runs .nothing")).to_contain_text("No run yet")
    ids = {method: ended(studio, method, loss) for method, loss in (("lora", 2.0), ("full", 1.0), ("ia3", 3.0))}
    go(page, "Start")
    go(page, "Runs")
    expect(page.locator("#runs .name")).to_have_count(3)

    page.get_by_role("button", name="Held-out loss").click()
    page.get_by_role("button", name="Held-out loss").click()
    expect(page.locator("#runs .name").first).to_contain_text("Full fine-tuning")
    assert titles(page, ".name") == ["Full fine-tuning", "LoRA", "(IA)³"]

    line(page, "LoRA").get_by_role("button", name="Give it a star").click()
    line(page, "LoRA").locator(".name").click()
    details = page.locator("#runs .details")
    details.get_by_label("Tags").fill("<b>bold</b>, paper")
    details.get_by_label("Note").fill("<img src=x onerror=alert(1)>")
    details.get_by_role("button", name="Save").click()
    expect(line(page, "LoRA").locator(".tag")).to_have_text(["<b>bold</b>", "paper"])
    expect(line(page, "LoRA").locator(".said-note")).to_have_text("<img src=x onerror=alert(1)>")
    details.get_by_label("Tags").fill("x" * 60)
    details.get_by_role("button", name="Save").click()
    expect(page.locator("#runs .fault[role=alert]")).to_contain_text("at most 40 letters")

    page.get_by_label("Starred only").check()
    expect(page.locator("#runs .name")).to_have_count(1)
    page.get_by_label("Starred only").uncheck()
    page.get_by_label("Search").fill("onerror paper")
    expect(page.locator("#runs .name")).to_have_count(1)
    page.get_by_label("Search").fill("nobody")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#runs .name")).to_have_count(3)

    for method in ("LoRA", "Full fine-tuning"):
        line(page, method).get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_function("document.querySelector('[data-plot=overlay]')?.data?.length === 2")
    go(page, "Runs")
    line(page, "Full fine-tuning").locator(".name").click()
    details.get_by_role("button", name="Copy with changes").click()
    expect(page.locator("#train-method input")).to_have_value(re.compile("^Full fine-tuning"))

    go(page, "Chat")  # what uses a run must bear that it goes
    go(page, "Runs")
    page.get_by_role("button", name="Choose none").click()
    line(page, "LoRA").get_by_role("checkbox").check()
    page.locator("#runs .picked").get_by_role("button", name="Delete").click()
    expect(page.locator("#runs .name")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(line(page, "LoRA").locator(".tag")).to_have_count(2)
    page.get_by_label("Choose all runs of this page").check()
    page.locator("#runs .picked").get_by_role("button", name="Delete").click()
    expect(page.locator("#runs .nothing")).to_contain_text("No run yet")
    for tab in ("Chat", "Curves", "Adapter", "Compare"):
        go(page, tab)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)

    go(page, "Runs")
    page.get_by_role("button", name="Trash (3)").click()
    line(page, "(IA)³").locator(".name").click()
    details.get_by_role("button", name="Restore").click()
    expect(page.locator("#runs .name")).to_have_count(2)
    page.get_by_role("button", name="Empty the trash").click()
    expect(page.locator("#runs .told")).to_contain_text("Delete 2 runs for ever? This frees")
    page.get_by_role("button", name="Keep").click()
    assert len(list((studio.workspace / "trash").iterdir())) == 2
    page.get_by_role("button", name="Empty the trash").click()
    page.locator("#runs .told").get_by_role("button", name="Delete for ever").click()
    expect(page.locator("#runs .nothing")).to_contain_text("The trash is empty")
    assert list((studio.workspace / "trash").iterdir()) == []
    page.get_by_role("button", name="Back to the runs").click()
    expect(page.locator("#runs .name")).to_have_count(1)
    assert [path.name for path in (studio.workspace / "runs").iterdir()] == [ids["ia3"]]
