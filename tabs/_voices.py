"""Who answers: models as they are and what runs made of them, as people choose them and as settings name them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.binder import Binder
from studio.data import collection
from studio.data.library import open_source
from studio.errors import ConfigError
from studio.models.catalog import SUGGESTIONS, fits, free_memory, imported
from studio.settings import setting
from studio.store import State
from studio.writer import Voice
from tabs._data.bench import who
from tabs._shared import PRIVATE, Page, escaped, run_choices

# One model is in memory at a time: whoever comes second waits, instead of having it loaded to and fro.
WRITING: dict[str, Any] = {
    **PRIVATE,
    "concurrency_id": "writer",
    "concurrency_limit": 1,
    "trigger_mode": "once",
    "show_progress": "hidden",
}
RUN, MODEL = "run:", "model:"
_BASE = "base:"  # before the id of a run whose model is asked as it was before training


def rows_setting(default: int) -> Any:
    """How many rows of a data set are taken; what takes long begins small."""
    return setting(default, "Rows at most", ge=1, le=10_000, help="The first ones of the data set that have a prompt.")


def length_setting() -> Any:
    return setting(96, "Longest answer", ge=4, le=2048, unit="tokens", help="Whatever the model writes ends there.")


def writing(page: Page) -> list[State]:
    """Runs whose model writes, newest first."""
    return [state for state in page.store.states() if state.saved and state.writes]


def voice_choices(page: Page) -> list[tuple[str, str]]:
    """What runs learnt whose model writes, newest first, then the models that they can begin with."""
    states = writing(page)
    return [*learnt_choices(states, before=False), *model_choices(page, states)]


def learnt_choices(states: list[State], *, before: bool) -> list[tuple[str, str]]:
    """What these runs learnt; with `before`, each that writes also as it was before training."""
    choices = []
    for state, (label, run) in zip(states, run_choices(states), strict=True):
        choices.append((f"Tuned: {label}", key_of(run=run)))
        if before and state.writes:
            choices.append((f"Before training: {label}", key_of(run=run, tuned=False)))
    return choices


def model_choices(page: Page, states: list[State]) -> list[tuple[str, str]]:
    """Models as they are: those that the studio names, imported ones, and what these runs began with."""
    free, there = free_memory(), (*SUGGESTIONS, *imported(page.workspace.models))
    known = {each.model: f"{each.title}, as it is · {fits(each.parameters, free)}" for each in there if each.writes}
    known |= {base: f"{base}, as it is" for base in map(_base, states) if base not in known}
    return [(label, key_of(model=model)) for model, label in known.items()]


def _base(state: State) -> str:
    return str(state.config.get("model", ""))


def key_of(*, run: str = "", model: str = "", tuned: bool = True) -> str:
    """What a choice holds. `tuned` tells of a run only."""
    if not run:
        return MODEL + model
    return (RUN if tuned else _BASE) + run


def settings_of(key: str | None) -> dict[str, Any]:
    """A choice as settings name who answers. Raises ConfigError where none is chosen."""
    if key and key.startswith(_BASE):
        return {"run": key.removeprefix(_BASE), "tuned": False}
    voice = voice_of(key)
    return {"run": voice.run} if voice.run else {"model": voice.model}


def base_of(page: Page, key: str | None) -> str | None:
    """The choice that is the model a run began with; None where it is no run."""
    if not key or not key.startswith(RUN):
        return None
    return key_of(model=_base(page.store.state(key.removeprefix(RUN))))


def voice_of(key: str | None) -> Voice:
    """Raises ConfigError where none is chosen."""
    if key and key.startswith(RUN):
        return Voice(run=key.removeprefix(RUN))
    if key and key.startswith(MODEL):
        return Voice(model=key.removeprefix(MODEL))
    raise ConfigError("No model is chosen.", remedy="Choose one from the list.")


def name_of(page: Page, voice: Voice) -> str:
    """As people call it. Raises RunError where a run is gone."""
    if voice.run:
        return page.store.state(voice.run).title
    there = (*SUGGESTIONS, *imported(page.workspace.models))
    return next((each.title for each in there if each.model == voice.model), voice.model)


def told_apart(page: Page, voices: list[Voice]) -> list[tuple[Voice, str]]:
    """Each with its name; runs that are named alike also with when they began."""
    names = [name_of(page, voice) for voice in voices]
    alike = len(set(names)) < len(names)
    return [
        (voice, f"{name} ({_when(voice.run)})" if alike and voice.run else name)
        for voice, name in zip(voices, names, strict=True)
    ]


def halted() -> tuple[Any, str]:
    """People may choose again where what filled the page ended early; it held the chooser until then."""
    text = "Stopped. What was written, if anything was, is kept: “Go on” takes it up."
    return gr.Dropdown(interactive=True), f'<p class="muted">{text}</p>'


def pick(choices: list[tuple[str, str]], *wanted: str | None) -> str | None:
    """The first of those wanted that can still be chosen, else the first there is."""
    keys = [key for _, key in choices]
    return next((each for each in wanted if each in keys), keys[0] if keys else None)


def picked(choices: list[tuple[str, str]], *wanted: str | None) -> gr.Dropdown:
    """A dropdown of these choices with that one chosen."""
    return gr.Dropdown(choices, value=pick(choices, *wanted))


def folded(known: list[tuple[str, str]], chosen: str | None) -> Any:
    """The form for a new one, folded away where a person comes back to an older one; later as they left it."""
    return gr.Accordion(open=not known) if chosen is None else gr.skip()


def binder_choices(binders: list[Binder]) -> list[tuple[str, str]]:
    """Newest first: what people call them, and when they were begun → name."""
    return [(f"{each.about['title']} · {_when(each.name)}", each.name) for each in binders]


def _when(name: str) -> str:
    day, clock = name[:8], name[9:13]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]}"


def kept_as(page: Page, title: str, rows: list[dict[str, Any]], request: gr.Request | None) -> str:
    """The rows as a data set of their own, and a sentence on it."""
    name = collection.add_rows(page.workspace, title, rows, mapping=None, by=who(request))
    opened = open_source(name, page.workspace)
    kind = {"preference": "preference pairs"}.get(opened.mapping.format, "prompts with answers")
    count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    return (
        f'<p class="ready">{count} of {kind} are the new data set “{escaped(title)}”: choose it in the '
        "Dataset or the Train tab.</p>"
    )
