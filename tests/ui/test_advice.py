"""What stands beside the curves: what they say, what happened along them, and the answers at each evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from studio.config import RunConfig
from studio.events import Continued, EvalDone, Phase, Sampled, Started, StepDone
from studio.jobs import create_run
from studio.processes import Identity
from studio.workspace import RunFolder, Workspace
from tests.ui.conftest import Studio
from tests.ui.test_tiny import fill

pytestmark = pytest.mark.browser

STEPS, EVERY = 200, 5
HOSTILE = "<img src=x onerror=alert(1)>"
LOSS = "document.querySelector('[data-live=loss]')"


def step(number: int) -> StepDone:
    loss = 2 * 0.05 ** (number / STEPS)
    metrics = {"loss": loss * (1 + 0.1 * (-1) ** number), "grad_norm": 0.5, "learning_rate": 1e-4}
    return StepDone(step=number, total_steps=STEPS, seconds=number / 10, tokens=number, metrics=metrics)


def scored(number: int) -> EvalDone:
    return EvalDone(step=number, metrics={"eval_loss": 1.6 - number / 100 if number <= 80 else number / 100})


def sampled(number: int) -> Sampled:
    answer = f"It is {number} and {HOSTILE}" if number else "I do not know"
    asked = [{"prompt": f"What is {HOSTILE}?", "reference": "It is 7"}, {"prompt": "And now?", "reference": "Now"}]
    return Sampled(step=number, answers=[{**each, "answer": answer} for each in asked])


@pytest.fixture
def training(workspace: Workspace) -> RunFolder:
    """A run that learns its rows by heart, as it is amid training: this process stands for its worker."""
    config = RunConfig.parse({"model": "tiny", "training": {"max_steps": STEPS, "learning_rate": 1e-4}})
    folder = create_run(workspace, config)
    folder.events.append(Started(**asdict(Identity.of(psutil.Process()))))
    folder.events.append(Phase(name="Training", total=STEPS, unit="steps"))
    for number in range(180):
        if number:
            folder.events.append(step(number))
        if number == 50:
            folder.events.append(Continued(step=50))
        if number % EVERY == 0:
            folder.events.append(scored(number))
            folder.events.append(sampled(number))
    return folder


@pytest.fixture
def page(browser: Browser, workspace: Workspace, training: RunFolder) -> Iterator[Page]:
    """The panel of that run."""
    studio = Studio(workspace.root).start()
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(f"{studio.url}/?run={training.id}")
    opened.locator("#live .live .chip").wait_for()
    yield opened
    opened.close()
    studio.kill()
    assert faults == []


def drawn(page: Page) -> list[tuple[float, str | None]]:
    """Step and dash of each vertical line over the loss."""
    shapes = page.evaluate(f"({LOSS}.layout.shapes || []).map((each) => [each.x0, each.line.dash])")
    return [(at, dash) for at, dash in shapes]


def test_what_the_curves_say_is_shown_on_them_and_becomes_the_next_run(page: Page) -> None:
    card = page.locator(".advice article").filter(has_text="Overfitting since step 80:")
    expect(card).to_contain_text("training.load_best_model_at_end: false → true")
    page.wait_for_function(f"({LOSS}.layout.shapes || []).length === 1")
    assert drawn(page) == [(50, "dot")]
    assert page.evaluate(f"{LOSS}.layout.annotations[0].hovertext") == "Went on from step 50."

    page.evaluate(
        f"Plotly.relayout({LOSS}, {{'xaxis.range': [40, 160]}}); Plotly.restyle({LOSS}, {{visible: 'legendonly'}}, [0])"
    )
    show = card.get_by_role("button", name="Show on the curve")
    show.click()
    expect(show).to_have_attribute("aria-pressed", "true")
    assert drawn(page) == [(50, "dot"), (80, None), (175, None)]
    kept = f"[{LOSS}.layout.xaxis.range, {LOSS}.data[0].visible]"
    assert page.evaluate(kept) == [[40, 160], "legendonly"]
    show.click()
    assert drawn(page) == [(50, "dot")]

    card.get_by_role("button", name="Copy the run with this change").click()
    expect(page.locator("#train-yaml")).to_contain_text("load_best_model_at_end: true")
    expect(page.locator("#train-yaml")).to_contain_text(f"max_steps: {STEPS}")
    picture = page.locator("#train-memory .schedule svg")
    label = "Learning rate: linear, at most 0.0001, warm-up 10 steps, 200 steps"
    expect(picture).to_have_attribute("aria-label", label)
    fill(page, "max_steps", "50")
    expect(picture).to_have_attribute("aria-label", label.replace("10 steps, 200", "2 steps, 50"))


def test_answers_are_scrubbed_along_the_run_and_the_newest_is_followed(page: Page, training: RunFolder) -> None:
    along = page.get_by_label("The evaluation whose answers are shown")
    when, answers = page.locator("[data-live=when]"), page.locator("[data-live=answers]")
    expect(when).to_have_text("After step 175 (36 of 36)")
    expect(answers.locator(".asked")).to_have_count(2)
    expect(answers).to_contain_text(HOSTILE)
    assert answers.locator("img").count() == 0
    assert answers.locator("mark").all_inner_texts() == ["175", "175"]

    training.events.append(sampled(180))  # nobody moved it: it follows
    expect(when).to_have_text("After step 180 (37 of 37)")

    along.press("Home")
    expect(when).to_have_text("Step 0: the base model (1 of 37)")
    expect(answers).to_contain_text("I do not know")
    assert answers.locator("mark").count() == 0
    along.press("ArrowRight")
    expect(along).to_have_attribute("aria-valuetext", "After step 5")
    training.events.append(sampled(185))  # somebody moved it: it stays
    expect(when).to_have_text("After step 5 (2 of 38)")
    along.press("End")
    training.events.append(sampled(190))
    expect(when).to_have_text("After step 190 (39 of 39)")

    page.evaluate(f"{LOSS}.emit('plotly_click', {{points: [{{x: 100, data: {{mode: 'lines+markers'}}}}]}})")
    expect(when).to_have_text("After step 100 (21 of 39)")
