"""Rewards: what they would teach a model, seen before any training."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.child import Progress
from studio.config import RunConfig
from studio.data.library import title_of
from studio.errors import StudioError
from studio.models.catalog import SUGGESTIONS, imported
from studio.previewer import Asked, Draws
from studio.rewards import Answered, rewards
from studio.workspace import Workspace
from tabs._form import Choices, Group
from tabs._live import panel, script
from tabs._shared import (
    HEARD,
    QUIET,
    WAITING,
    Page,
    ends,
    escaped,
    meter,
    model_choices,
    refusal,
    run_choices,
    said,
    source_choices,
)

TITLE = "Rewards"
ORDER = 45
RUN = "run:"  # before a run's id where a model's name might stand, which has no colon
NOT_YET = (
    '<p class="muted">A reward is a score for answers, and training on it makes those answers likelier that score '
    "high. Choose who answers, prompts and rewards, then press <b>Preview</b>: the model answers a few prompts, and "
    "you see what its answers get, what would be learnt from that, and how the reward could be had without a good "
    "answer. Nothing is trained.</p>"
)


class Form:
    """Who answers what, and what scores it."""

    def __init__(self) -> None:
        self.who = gr.Dropdown(
            _models(),
            value="starter",
            allow_custom_value=True,
            label="Who answers",
            info="A model, or a run of yours; any Hub id or local folder too.",
            elem_id="rewards-who",
        )
        self.source = gr.Dropdown([], label="Prompts from", elem_id="rewards-source")
        self.draws = Group(Draws, more="Seed")
        with gr.Accordion("Rewards: what scores an answer"):
            self.rewards = Choices(rewards(), "rewards-choices")
            self.rewards.ticks["length"].value = True  # something to begin with

    def components(self) -> list[Component]:
        return [self.who, self.source, *self.draws.components(), *self.rewards.components()]

    def read(self, page: Page, raw: Sequence[Any]) -> tuple[Asked, str, Draws]:
        """Who and what scores, the data set, which answers. Raises StudioError."""
        who, source, *rest = raw
        at = len(self.draws.components())
        chosen = RunConfig.parse({"rewards": self.rewards.parse(rest[at:])}).rewards
        name = str(who or "").strip()
        run = name.removeprefix(RUN) if name.startswith(RUN) else ""
        model = str(page.store.state(run).config["model"]) if run else name
        return Asked(model, run, chosen), source or "", Draws.parse(self.draws.parse(rest[:at]))


# One process answers: whoever waits for it waits in Gradio's line, and holds no thread that others need.
ALONE: dict[str, Any] = {**HEARD, "concurrency_id": "previewer", "concurrency_limit": 1}


def build(page: Page, tab: gr.Tab) -> None:
    """The form at the left; at the right what the rewards would teach, and an answer of one's own.

    Above both the newest run that learns from rewards, or has.
    """
    with gr.Accordion("", open=False, visible=False, elem_id="rewards-running") as running:
        live = panel(page, "rewards-live")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            form = Form()
        with gr.Column(scale=3, min_width=320):
            with gr.Row(elem_classes="tools"):
                preview = gr.Button("Preview", variant="primary", elem_id="rewards-preview")
                cancel = gr.Button("Cancel", visible=False, elem_id="rewards-cancel")
                train = gr.Button("Train on these rewards …", elem_id="rewards-train")
            told = gr.HTML(NOT_YET, apply_default_css=False, elem_id="rewards-told")
            own, scored = _draw_own()
            shown = gr.HTML(
                {},
                html_template='<div class="preview"></div>',
                js_on_load=script("rewards"),
                apply_default_css=False,
                elem_id="rewards-report",
            )
    fields = form.components()

    form.rewards.offer_runs(tab, page.store)
    arrived = [form.who, form.source, running, live]
    tab.select(functools.partial(_arrive, page), [form.who, form.source, page.source, live], arrived, **QUIET)
    buttons = [preview, cancel]
    preview.click(lambda: (WAITING, *_buttons(busy=True)), None, [told, *buttons], **QUIET)
    # Not 'once': a click right after a cancel would be dropped. The button itself rests meanwhile.
    begun = preview.click(
        functools.partial(_preview, page, form), fields, [told, shown, *buttons], trigger_mode="multiple", **ALONE
    )
    ends(told, cancel, [begun])
    begun.failure(lambda: ('<p class="muted">Cancelled.</p>', *_buttons(busy=False)), None, [told, *buttons], **QUIET)
    train.click(said(functools.partial(_train, page, form)), fields, [page.wanted, page.source, page.tabs], **HEARD)
    score, *texts = own
    score.click(functools.partial(_score, page, form), [*texts, *fields], scored, **ALONE)


def _draw_own() -> tuple[list[Any], gr.HTML]:
    """A button and the boxes that it reads, and where the scores go."""
    with gr.Accordion("Score an answer of your own", open=False, elem_id="rewards-own"):
        with gr.Row():
            prompt = gr.Textbox(label="Prompt", lines=2, max_lines=6, elem_id="rewards-prompt")
            right = gr.Textbox(label="Right answer, if there is one", lines=2, max_lines=6, elem_id="rewards-right")
        answer = gr.Textbox(label="Answer", lines=3, max_lines=10, elem_id="rewards-answer")
        score = gr.Button("Score it", size="sm", elem_id="rewards-score")
        scored = gr.HTML("", apply_default_css=False, elem_id="rewards-scored")
    return [score, prompt, answer, right], scored


def _models(workspace: Workspace | None = None) -> list[tuple[str, str]]:
    reads = {
        each.model for each in (*SUGGESTIONS, *(imported(workspace.models) if workspace else ())) if not each.writes
    }
    return [choice for choice in model_choices(workspace) if choice[1] not in reads]


def _arrive(page: Page, who: str, source: str | None, wanted: str, shown: str) -> Any:
    """Models, runs and data sets as they are now, and the newest run that learns from rewards."""
    states = page.store.states()
    runs = [(f"Run: {title}", RUN + key) for title, key in run_choices([s for s in states if s.saved and s.writes])]
    sources = source_choices(page.workspace)
    keys = [key for _, key in sources]
    source = next((each for each in (source, wanted) if each in keys), "customer_messages")
    found = next((state for state in states if state.config.get("rewards")), None)
    running = gr.update(visible=False)
    if found:
        doing = "is learning from rewards now" if found.active else "has learnt from rewards"
        running = {**gr.update(label=f"{found.title} {doing}", visible=True)}
        if found.id != shown:  # later as a person left it
            running["open"] = found.active
    return (
        gr.Dropdown([*_models(page.workspace), *runs], value=who),
        gr.Dropdown(sources, value=source),
        running,
        found.id if found else "",
    )


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    return gr.Button(interactive=not busy), gr.Button(visible=busy)


def _preview(page: Page, form: Form, *raw: Any) -> Iterator[Any]:
    """How far the preview is, then the report. What cannot be previewed is said in its place."""
    stay = gr.skip()
    yield meter(0, "Starting", 0), stay, *_buttons(busy=True)
    doing, began = "", time.monotonic()
    try:
        asked, source, draws = form.read(page, raw)
        with closing(page.previewer.preview(asked, source, draws)) as parts:  # pyright: ignore[reportArgumentType]
            for part in parts:
                if isinstance(part, Progress):
                    if part.doing != doing:
                        doing, began = part.doing, time.monotonic()
                    share = part.done / part.total if part.total else 0.0
                    yield meter(share, doing, time.monotonic() - began), stay, stay, stay
                else:
                    yield _headline(page, asked, source, part), part, *_buttons(busy=False)
    except StudioError as error:
        yield refusal(error), stay, *_buttons(busy=False)


def _headline(page: Page, asked: Asked, source: str, found: dict[str, Any]) -> str:
    """What the report is about; the form may say something else by now."""
    count = found["prompts"] * found["answers"]
    who = page.store.state(asked.run).title if asked.run else asked.model
    scored = ", ".join(
        f"{each.title}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{each.weight:g}" for each in asked.rewards.values()
    )
    told = (
        f"{count:,} answers of {who} to {found['prompts']:,} prompts of {title_of(source, page.workspace)}: {scored}."
    )
    return f'<p class="ready">{escaped(told)}</p>'


def _score(page: Page, form: Form, prompt: str, answer: str, right: str, *raw: Any) -> str:
    """What one answer gets, part by part."""
    try:
        asked, _, _ = form.read(page, raw)
        found = page.previewer.score(asked, Answered(prompt or "", answer or "", right or ""))
    except StudioError as error:
        return refusal(error)
    rows = "".join(
        f'<tr><th scope="row">{escaped(reward.title)}</th><td>{found.parts[key][0]:.3g}</td>'
        f"<td>× {reward.weight:g}</td><td>{reward.weight * found.parts[key][0]:.3g}</td></tr>"
        for key, reward in asked.rewards.items()
    )
    total = f'<tr><th scope="row">Total</th><td></td><td></td><td><strong>{found.total[0]:.3g}</strong></td></tr>'
    return f'<table class="figures"><tbody>{rows}{total}</tbody></table>'


def _train(page: Page, form: Form, *raw: Any) -> Any:
    """The same model, data and rewards into the Train tab. Raises StudioError."""
    asked, source, draws = form.read(page, raw)
    drawn = draws.model_dump(include={"max_completion_length", "temperature"})
    config = RunConfig.parse(
        {
            "model": asked.model,
            "dataset": {"source": source},
            "objective": {"name": "ppo", **drawn},
            "rewards": {key: reward.model_dump() for key, reward in asked.rewards.items()},
        }
    )
    if asked.run:
        gr.Info("A run begins at its base model, not at what another run has learnt.", title="From the base model")
    return config.to_dict(), source, gr.Tabs(selected="train")
