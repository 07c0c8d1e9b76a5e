"""The form for a search: who answers what, the prompt to begin with, what scores, how a better one is looked for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.config import RunConfig
from studio.data.library import Opened, open_source
from studio.endpoint import WriterSettings
from studio.errors import StudioError
from studio.evaluation.shape import suited
from studio.prompt import ROW, Example, Prompt, askable, examples_of, plain
from studio.prompts import strategies
from studio.rewards import rewards
from studio.study import StudySettings
from tabs import _tidy, _voices
from tabs._form import Choice, Choices, Group
from tabs._shared import QUIET, Page, escaped, refusal, source_choices

WRITES = (
    "Strategies that have instructions written ask the model itself, unless an endpoint is named here: small models "
    "write poor ones."
)


class Form:
    """Its widgets, and what they hold as settings."""

    def __init__(self, page: Page) -> None:
        with gr.Row():
            self.who = gr.Dropdown([], label="Who answers", interactive=True, elem_id="prompts-who")
            self.source = gr.Dropdown([], label="Data set", interactive=True, elem_id="prompts-source")
        self.told = gr.HTML("", apply_default_css=False, elem_id="prompts-placeholders")
        self.of = gr.State("")  # the rows that the form was filled for: what a person wrote for them stays
        with gr.Row():
            self.system = gr.Textbox(
                label="System text",
                info="Who the model is and what holds for every answer. It may be empty.",
                lines=3,
                max_lines=12,
                min_width=280,
                elem_id="prompts-system",
            )
            self.template = gr.Textbox(
                label="Instruction",
                info="What the model is asked; placeholders stand for the row.",
                lines=3,
                max_lines=12,
                min_width=280,
                elem_id="prompts-template",
            )
        self.shots = gr.State([])  # examples that the first prompt shows, as `Demonstration` dumps them
        with gr.Row(elem_classes="tools"):
            self.shown = gr.HTML("", apply_default_css=False, elem_id="prompts-shown")
            self.bare = gr.Button("Without them", size="sm", visible=False, elem_id="prompts-bare")
        self.bare.click(lambda: _shown_examples([]), None, self.examples(), **QUIET)
        _tidy.build(functools.partial(_prompt, page), self.prompt(), self.system, self.template)
        with gr.Accordion("What a good answer is", open=False):
            self.rewards = Choices(rewards(), "prompts-rewards")
        self.strategy = Choice("Strategy: what is tried", strategies(), "halving", "prompts-strategy")
        with gr.Accordion("Another model that writes", open=False):
            gr.HTML(f'<p class="muted">{WRITES}</p>', apply_default_css=False)
            self.writer = Group(WriterSettings)
        self.group = Group(StudySettings, skip=["model", "run", "tuned"], more="Rows and seed")

    def prompt(self) -> list[Component]:
        return [self.who, self.source, self.system, self.template]

    def examples(self) -> list[Component]:
        """In the order of `_shown_examples`."""
        return [self.shots, self.shown, self.bare]

    def components(self) -> list[Component]:
        return [*self.prompt(), self.shots, *(each for part in self._parts() for each in part.components())]

    def _parts(self) -> list[Choices | Choice | Group]:
        return [self.rewards, self.strategy, self.writer, self.group]

    def filled(self) -> list[Component]:
        """What the data set says, in the order of `fill`."""
        prompt = [self.system, self.template, *self.examples()]
        return [self.source, self.told, self.of, *prompt, *self.rewards.ticks.values()]

    def read(self, raw: Sequence[Any]) -> StudySettings:
        """Raises ConfigError."""
        who, source, system, template, shots, *rest = raw
        parsed = []
        for part in self._parts():
            size = len(part.components())
            parsed.append(part.parse(rest[:size]))
            del rest[:size]
        chosen, strategy, writer, others = parsed
        return StudySettings.parse(
            {
                **_voices.settings_of(who),
                "dataset": {"source": source or ""},
                "prompt": {"system": system or "", "template": template or "", "demonstrations": shots},
                "rewards": chosen,
                "strategy": strategy,
                "writer": writer,
                **others,
            }
        )


def _choices(page: Page) -> list[tuple[str, str]]:
    """Models as they are, then each run's tuned model and the one it began with, newest first."""
    states = _voices.writing(page)
    return [*_voices.model_choices(page, states), *_voices.learnt_choices(states, before=True)]


def _opened(page: Page, who: str | None, source: str | None) -> Opened:
    """The rows that a search would be about. Raises StudioError."""
    run = _voices.settings_of(who).get("run")
    if not run:
        return open_source(source or "", page.workspace)
    used = RunConfig.parse(page.store.state(run).config).dataset
    return open_source(used.source, page.workspace, used.mapping(), used.version)


def arrive(page: Page, who: str | None, source: str | None, of: str, wanted: str, run: str) -> list[Any]:
    """Who answers, and what `fill` says: models and data sets as they are now; at first what a person looks at."""
    voices, sources = _choices(page), source_choices(page.workspace)
    chosen = _voices.pick(voices, who, _voices.key_of(run=run) if run else None)
    data = _voices.pick(sources, source, wanted, "customer_messages")
    _, *filled = fill(page, chosen, data, of)
    rows = gr.Dropdown(sources, value=data, visible="run" not in _voices.settings_of(chosen))
    return [gr.Dropdown(voices, value=chosen), rows, *filled]


def fill(page: Page, who: str | None, source: str | None, of: str) -> list[Any]:
    """The prompt that the data set has of its own, its placeholders, and what its answers are scored by."""
    ofrun = "run" in _voices.settings_of(who)
    stay = [gr.skip()] * (5 + len(rewards()))
    try:
        opened = _opened(page, who, source)
        prompt = plain(opened.train.rows, opened.mapping)
        by = suited([each.answer for each in examples_of(opened.train.rows, opened.mapping)])
    except StudioError as error:
        return [gr.Dropdown(visible=not ofrun), refusal(error), "", *stay]
    columns = askable(opened.mapping, opened.train.columns)
    names = "".join(f"<code>{{{escaped(each)}}}</code> " for each in (ROW, *columns))
    rows = f"Rows: those of {escaped(opened.title)} that the run held out. " if ofrun else ""
    told = (
        f'<p class="muted">{rows}Placeholders: {names} {{{ROW}}} stands for all that a row asks, another for the text '
        "of its column.</p>"
    )
    key = f"{opened.train.path} {opened.mapping}"
    if key != of:
        stay = [prompt.system, prompt.template, *_shown_examples([]), *(each == by for each in rewards())]
    return [gr.Dropdown(visible=not ofrun), told, key, *stay]


def take(page: Page, asked: StudySettings, prompt: Prompt) -> list[Any]:
    """Who answers, and what `fill` says, of another search that begins with a prompt of this one."""
    who = _voices.key_of(run=asked.run, model=asked.model, tuned=asked.tuned)
    source = asked.dataset.source
    _, told, of, _, _, _, _, _, *ticks = fill(page, who, source, "")
    shots = _shown_examples([each.model_dump(mode="json") for each in prompt.demonstrations])
    rows = gr.Dropdown(value=source, visible=not asked.run)
    there = any(who == each for _, each in _choices(page))  # it may have been deleted since
    return [who if there else gr.skip(), rows, told, of, prompt.system, prompt.template, *shots, *ticks]


def _shown_examples(shots: list[dict[str, Any]]) -> list[Any]:
    """What the form holds of the first prompt's examples."""
    words = f"{len(shots)} {'example stands' if len(shots) == 1 else 'examples stand'} before the row."
    return [shots, f'<p class="muted">{words}</p>' if shots else "", gr.Button(visible=bool(shots))]


def _prompt(page: Page, who: str, source: str, system: str, template: str) -> tuple[Prompt, list[Example]]:
    """The form's prompt, and rows to judge it by. Raises StudioError."""
    opened = _opened(page, who, source)
    prompt = Prompt.parse({"system": system or "", "template": template or ""})
    return prompt, examples_of(opened.train.rows, opened.mapping)
