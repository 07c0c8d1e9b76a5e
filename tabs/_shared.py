"""What every tab is given, and the few things that several need."""

from __future__ import annotations

import functools
import html
import inspect
import json
import os
import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from studio.config import RunConfig
from studio.data.draft import Desk
from studio.data.library import names, open_source
from studio.errors import StudioError
from studio.jobs import Jobs
from studio.models.catalog import SUGGESTIONS, fits, free_memory, imported
from studio.searcher import Searches
from studio.store import State, Store
from studio.workspace import Workspace
from tabs._engines import Engines

# Quick handlers: no queue, no spinner, and not listed as an API.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# Without a spinner, but through the queue: only then does Gradio tell listeners that a gr.State changed.
HEARD: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

# The bell may be drawn a moment after the first of what rings it.
_RING = """() => {
    const rung = (window.rung ??= {});
    const ring = () => {
        const bell = document.getElementById("BELL");
        if (bell) bell.click();
        else rung["BELL"] = setTimeout(ring, 150);
    };
    clearTimeout(rung["BELL"]);
    rung["BELL"] = setTimeout(ring, 150);
}"""

WAITING = '<p class="muted">Waiting for its turn: one model works at a time.</p>'
LEAVING = '<p class="muted">It ends with the step that is under way.</p>'


@dataclass(frozen=True, kw_only=True)
class Page(Engines):
    """The page's world: the engines behind it and the few values through which tabs meet.

    `run` is the id of the run this browser looks at, `source` the data set it would train on next, `wanted` a
    config to put into the Train tab's form, `base` one to search around, `overlay` the ids of runs to lay over one
    another, `run` among them. `prompt` stands around what the chat asks: {"title", "prompt"}, or None; `judged` is the
    run whose worth was asked for, and when; `looked` the data set that the Dataset tab shall show. `alone` says that
    nobody but this machine's people reaches the page.
    """

    workspace: Workspace
    store: Store
    jobs: Jobs
    desk: Desk
    searches: Searches
    tabs: gr.Tabs
    run: gr.State
    source: gr.State
    wanted: gr.State
    base: gr.State
    overlay: gr.State
    prompt: gr.State
    judged: gr.State
    looked: gr.State
    alone: bool


def said(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose StudioErrors become a message in the page instead of a traceback."""

    def message(error: StudioError) -> gr.Error:
        # Gradio renders the message as HTML, and it may quote a file's or a model's text.
        text = f"<strong>{html.escape(error.problem)}</strong><br>{html.escape(error.remedy)}"
        return gr.Error(text, title="That did not work", duration=None, print_exception=False)

    if inspect.isgeneratorfunction(getattr(handler, "func", handler)):

        def pieces(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from handler(*args, **kwargs)
            except StudioError as error:
                raise message(error) from None

        return _like(handler, pieces)

    def whole(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except StudioError as error:
            raise message(error) from None

    return _like(handler, whole)


def settled(form: Sequence[Component], handler: Callable[..., Any], inputs: list[Any], outputs: Any) -> None:
    """Call `handler` once a burst of changes in `form` is over; drawn where it is called, and never seen.

    Gradio itself would copy every input for each change of the burst, and ask once for each of those that come at one
    moment: most of the time that it takes to fill a form.
    """
    bell = gr.Button("", visible="hidden")
    bell.elem_id = f"settled-{bell._id}"
    changed = [component.change for component in form]  # pyright: ignore[reportAttributeAccessIssue]
    gr.on(changed, None, js=_RING.replace("BELL", bell.elem_id), **QUIET)
    bell.click(handler, inputs, outputs, **QUIET, trigger_mode="always_last")


def _like(handler: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """`wrapper` with the handler's signature and types: Gradio looks there for who wants the event or the request."""
    functools.update_wrapper(wrapper, handler)
    wrapper.__annotations__ = typing.get_type_hints(getattr(handler, "func", handler))
    return wrapper


def judge(run_id: str | None) -> tuple[Any, gr.Tabs]:
    """To the report on what that run was worth: values of `Page.judged` and `Page.tabs`."""
    return (run_id or "", time.time()), gr.Tabs(selected="prompts")  # the time: asked twice, it is opened twice


def run_choices(states: list[State]) -> list[tuple[str, str]]:
    """Runs as dropdown choices, newest first: what people call them → their id."""
    return [(f"{state.title} · {_when(state)}", state.id) for state in states]


def _when(state: State) -> str:
    """The run's start as its id tells it, and how it ended; what still changes is not for a list."""
    day, clock = state.id[:8], state.id[9:13]
    began = f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]}"
    return began if state.active or state.status == "paused" else f"{began} · {state.status}"


def as_asked(state: State, workspace: Workspace) -> tuple[dict[str, Any], str]:
    """What the Train tab's form needs to ask for such a run again: its config, and its data set.

    Says so where the data set has changed since. Raises StudioError where that or the config is of no use any more.
    """
    config = RunConfig.parse({**state.config, "comparison": ""})
    if changed := _changed(config, workspace):
        gr.Info(escaped(changed), title="Other rows than that run's", duration=None)
    return config.to_dict(), config.dataset.source


def _changed(config: RunConfig, workspace: Workspace) -> str:
    """What the same settings would read otherwise today, for the Train tab holds neither version nor columns.

    Raises DatasetError where the data set is gone.
    """
    used, now = config.dataset, open_source(config.dataset.source, workspace)
    if used.version and used.version != now.version:
        return f"It used version {used.version} of '{now.title}'; a new run uses the current one, {now.version}."
    if used.mapping() not in (None, now.mapping):
        return f"It read the columns of '{now.title}' otherwise; a new run reads them as the Dataset tab says."
    return ""


def model_choices(workspace: Workspace | None = None) -> list[tuple[str, str]]:
    """The suggested models as dropdown choices, with their size, licence and whether they fit here.

    Those that were imported into a workspace, too.
    """
    free = free_memory()
    return [
        (f"{each.title} · {each.parameters / 1e6:,.0f} M · {each.licence} · {fits(each.parameters, free)}", each.model)
        for each in (*SUGGESTIONS, *(imported(workspace.models) if workspace else ()))
    ]


def source_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """One's own data sets and the samples as dropdown choices."""
    return [(f"{each.title} ({each.kind})", each.name) for each in names(workspace)]


def refusal(error: StudioError) -> str:
    """What is wrong and what to do, where a person fills in a form."""
    return f'<p class="fault" role="alert"><strong>{escaped(error.problem)}</strong> {escaped(error.remedy)}</p>'


def escaped(text: object) -> str:
    """Text from data, models or people, safe inside HTML."""
    return html.escape(str(text))


def meter(share: float, text: str, seconds: float) -> str:
    """A progress bar with what is left, once there is enough to tell it by."""
    left = seconds / share * (1 - share) if share > 0.02 and seconds > 1 else None
    eta = f", about {max(1, round(left))} s left" if left is not None else ""
    bar = f'<div class="track"><span style="width:{100 * min(share, 1):.0f}%"></span></div>'
    return f'<div class="meter" role="status">{bar}<p class="muted">{escaped(text)}{eta}</p></div>'


def waits(told: gr.HTML, *buttons: gr.Button) -> None:
    """Say at once that what these begin stands in line: of who waits there, Gradio shows nothing.

    The browser says it by itself: an answer might come after the work's first word, and overrule it. Call this before
    the buttons get the listeners that work, for the same reason.
    """
    for button in buttons:
        button.click(None, None, told, js=f"() => {json.dumps(WAITING)}", **QUIET)


def ends(told: gr.HTML, button: gr.Button, running: Sequence[Dependency]) -> None:
    """Let this button end what runs, which then tells by its own listener for `failure` how it was left.

    Nothing else may answer the button: Gradio cancels what a listener `cancels` only after that listener has answered,
    and who begins anew upon such an answer, quicker than it, loses the new work too.
    """
    button.click(None, None, told, js=f"() => {json.dumps(LEAVING)}", cancels=[*running], **QUIET)


def shared_beginning(prompts: list[str]) -> str:
    """The whole lines with which all prompts begin: an instruction that need not be read eight times."""
    common = os.path.commonprefix(prompts) if len(prompts) > 1 else ""  # noqa: RUF071 - letters are what we compare
    return common[: common.rfind("\n") + 1]
