"""Prompts: a better one is looked for and judged on rows nobody had seen; and whether fine-tuning was worth it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.binder import listed
from studio.errors import ConfigError, RunError
from studio.study import Study, StudySettings, begin, look_up
from tabs import _downloads, _voices, _worth
from tabs._live import script
from tabs._prompt_form import Form, arrive, fill, take
from tabs._shared import HEARD, PRIVATE, QUIET, WAITING, Page, ends, meter, said, waits
from tabs._study import as_data, board, prompt_of

TITLE = "Prompts"
ORDER = 48

INTRODUCTION = (
    "Before a model is trained, or after: how it is asked decides much of what it answers. A search tries prompts on "
    "some rows, chooses among the best on others, and asks the sealed rows once, at the end, for an honest score."
)
NOTHING = "No search yet: choose who answers and the data above, and press “Look for a better prompt”."
SURE = "(name) => confirm('Delete this search with all its scores? Data sets made of it stay.') ? name : null"
LEFT = '<p class="muted">Left where it was. What was scored is kept: “Go on” takes it up.</p>'
ENDING = '<p class="muted">It stops after the rows it has asked, and chooses among what it has.</p>'
REFRESH = 1.5  # seconds between two looks at the leaderboard

# One process asks: whoever comes second waits in Gradio's line.
ALONE: dict[str, Any] = {**PRIVATE, "concurrency_id": "prompter", "concurrency_limit": 1, "show_progress": "hidden"}


def build(page: Page, tab: gr.Tab) -> None:
    """Two parts: the search, and the report on what training was worth."""
    with gr.Tabs(elem_id="prompts-parts") as parts:
        with gr.Tab("A better prompt", id="search"):
            _build_search(page, tab)
        with gr.Tab("Was it worth it?", id="worth"):
            _worth.build(page, tab)
    page.judged.change(lambda _: gr.Tabs(selected="worth"), page.judged, parts, **QUIET)


def _build_search(page: Page, tab: gr.Tab) -> None:
    """A form for a new search over the leaderboard of the chosen one."""
    with gr.Accordion("A new search", open=True, elem_id="prompts-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        form = Form(page)
        start = gr.Button("Look for a better prompt", variant="primary", elem_id="prompts-start")
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Search", interactive=True, scale=4, min_width=280, elem_id="prompts-chooser")
        more = gr.Button("Go on", visible=False, elem_id="prompts-more")
        stop = gr.Button("Stop and decide", visible=False, elem_id="prompts-stop")
        leave = gr.Button("Leave it", visible=False, elem_id="prompts-leave")
        drop = gr.Button("Delete", variant="stop", elem_id="prompts-delete")
    told = gr.HTML("", apply_default_css=False, elem_id="prompts-told")
    panel = gr.HTML(
        {},
        html_template='<div class="prompts"></div>',
        js_on_load=script("along", "diff", "whiskers", "prompts"),
        apply_default_css=False,
        elem_id="prompts-board",
    )
    with gr.Row(elem_classes="tools", visible=False) as uses:
        chat = gr.Button("Ask in the chat with it", elem_id="prompts-chat")
        data = gr.Button("Make a training set of it", elem_id="prompts-data")
        files = gr.Button("Save it as text and YAML", elem_id="prompts-files")
        again = gr.Button("Begin another search with it", elem_id="prompts-again")
    saved = gr.HTML("", apply_default_css=False, elem_id="prompts-saved")
    opened = gr.State("")  # key of the prompt that is open; "": the best one

    on = functools.partial(_on, page)
    shown = [panel, more, uses]
    fresh = [opened, saved]  # empty again where another search is shown

    def begun(page: Page, *raw: Any) -> Any:
        return _begin(page, form.read(raw))

    arrived = [form.who, *form.filled(), chooser, new, *shown]
    asked = [form.who, form.source, form.of]
    tab.select(on(_arrive), [*asked, page.source, page.run, chooser], arrived, **QUIET)
    gr.on([form.who.input, form.source.input], on(fill), asked, form.filled(), **QUIET)
    chooser.input(on(_chosen), chooser, [*shown, *fresh], **QUIET)
    working = [chooser, told, stop, leave, *shown]  # what a search under way speaks through
    # Begun outside the line of those who wait: what is wrong with it is said at once.
    new_one = start.click(on(begun), form.components(), [new, *fresh, chooser, told], **PRIVATE)
    waits(told, more)
    running = [
        new_one.success(on(_steps), chooser, working, **ALONE),
        more.click(on(_steps), chooser, working, **ALONE),
    ]
    stop.click(on(_stop), chooser, told, **QUIET)
    ends(told, leave, running)
    for work in running:
        work.failure(on(_rest), chooser, working, **QUIET)
    drop.click(on(_delete), chooser, [chooser, *shown, *fresh], js=SURE, trigger_mode="multiple", **PRIVATE)
    panel.click(on(_open), None, [panel, opened], trigger_mode="multiple", **HEARD)
    picked = [chooser, opened]
    chat.click(on(_chat), picked, [page.prompt, page.tabs], **HEARD)
    data.click(on(_data), picked, saved, **PRIVATE)
    files.click(on(_files), picked, saved, **PRIVATE)
    again.click(on(_again), picked, [form.who, *form.filled(), new], **QUIET)


def _on(page: Page, handler: Any) -> Any:
    return said(functools.partial(handler, page))


# -- a search --------------------------------------------------------------------------------------------


def _study(page: Page, name: str | None) -> Study:
    if not name:
        raise RunError("No search is chosen.", remedy="Begin one above.")
    return look_up(page.workspace, name)


def _arrive(
    page: Page, who: str | None, source: str | None, of: str, wanted: str, run: str, name: str | None
) -> tuple[Any, ...]:
    """The form and the searches as they are now."""
    known = _voices.binder_choices(listed(page.workspace.studies))
    return (
        *arrive(page, who, source, of, wanted, run),
        _voices.picked(known, name),
        _voices.folded(known, name),
        *_look(page, _voices.pick(known, name)),
    )


def _look(page: Page, name: str | None) -> tuple[Any, Any, Any]:
    """The leaderboard with the best prompt open, whether anything is left to do, and what to do with a prompt."""
    try:
        study = _study(page, name)
    except RunError:  # there is none, or another browser deleted it
        return {"nothing": NOTHING}, gr.Button(visible=False), gr.Row(visible=False)
    return board(page, study), gr.Button(visible=not study.end), gr.Row(visible=bool(study.tried))


def _chosen(page: Page, name: str | None) -> tuple[Any, ...]:
    """Another search, of which no prompt was opened yet."""
    return *_look(page, name), "", ""


def _open(page: Page, event: gr.EventData) -> Any:
    """A click on a line: its prompt, held against the first one or another."""
    name, key, against = (str(event._data[each]) for each in ("name", "key", "against"))
    return board(page, _study(page, name), key, against), key


def _begin(page: Page, settings: StudySettings) -> Any:
    """A new search, which waits for its turn."""
    if settings.writer.url and not page.alone:
        raise ConfigError(
            "This studio is open to others, and an endpoint would be asked with the keys of whoever runs it.",
            remedy="Let the model itself write, or search from the command line: finetune-studio prompts FILE.yaml.",
        )
    name = begin(page.workspace, settings).binder.name
    known = _voices.binder_choices(listed(page.workspace.studies))
    return gr.Accordion(open=False), "", "", _voices.picked(known, name), WAITING


def _steps(page: Page, name: str | None) -> Iterator[Any]:
    """The work on a search, with its progress and a leaderboard that grows; nobody chooses another meanwhile."""
    study, began = _study(page, name), time.monotonic()
    minutes, before = study.settings.minutes, study.seconds
    panel, _, uses = _look(page, name)
    hidden, visible = gr.Button(visible=False), gr.Button(visible=True)
    yield gr.Dropdown(interactive=False), meter(0, "Starting", 0), visible, visible, panel, hidden, uses
    first, seen, looked = None, 0.0, time.monotonic()
    with closing(page.prompter.run(study.binder.name)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            if not part.total:  # it is made ready
                yield gr.skip(), meter(0, part.doing, 0), *[gr.skip()] * 5
                began = time.monotonic()
                continue
            passed = time.monotonic() - began
            spent = (before + passed) / (60 * minutes) if minutes else 0.0
            share = max(part.done / part.total, min(spent, 1.0))
            first = share if first is None else first
            words = f"{part.doing} · {part.done:,.0f} of {part.total:,.0f} calls"
            told = meter((share - first) / max(1 - first, 1e-9), words, passed)
            panel, uses = gr.skip(), gr.skip()
            if part.done != seen and time.monotonic() - looked > REFRESH:
                seen, looked = part.done, time.monotonic()
                panel, _, uses = _look(page, name)
            # Whoever comes back to the tab finds "Go on" there, as it is not over yet.
            yield gr.skip(), told, gr.skip(), gr.skip(), panel, hidden, uses
    yield _rest(page, name)


def _rest(page: Page, name: str | None) -> tuple[Any, ...]:
    """A search that is not under way, or not any more."""
    panel, more, uses = _look(page, name)
    hidden, told = gr.Button(visible=False), LEFT if "lines" in panel and not panel["end"] else ""
    return gr.Dropdown(interactive=True), told, hidden, hidden, panel, more, uses


def _stop(page: Page, name: str | None) -> str:
    page.prompter.stop(_study(page, name).binder.name)
    return ENDING


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it, or there is none
        return [gr.skip()] * 6
    page.prompter.delete(name)
    known = _voices.binder_choices(listed(page.workspace.studies))
    return _voices.picked(known), *_chosen(page, _voices.pick(known))


# -- the prompt that is open -------------------------------------------------------------------------------


def _chat(page: Page, name: str | None, key: str) -> Any:
    """Into the chat, which asks with it from now on."""
    study = _study(page, name)
    prompt = prompt_of(study, key)
    return {"title": study.title, "prompt": prompt.model_dump(mode="json")}, gr.Tabs(selected="chat")


def _data(page: Page, name: str | None, key: str, request: gr.Request) -> str:
    study = _study(page, name)
    return as_data(page, study, prompt_of(study, key), request)


def _again(page: Page, name: str | None, key: str) -> list[Any]:
    """Into the form, with who answered and the rows, as the prompt that another search begins with."""
    study = _study(page, name)
    return [*take(page, study.settings, prompt_of(study, key)), gr.Accordion(open=True)]


def _files(page: Page, name: str | None, key: str) -> str:
    """Links to the prompt as text and as YAML."""
    study = _study(page, name)
    prompt = prompt_of(study, key)
    links = []
    for label, ending, text in (("Text", ".txt", prompt.to_text()), ("YAML", ".yaml", prompt.to_yaml())):
        path = _downloads.place(page.workspace, f"prompt-{study.title}", ending, f"{name}{prompt.key}{ending}")
        path.write_text(text, encoding="utf-8")
        links.append(_downloads.link(path, label))
    return f'<p class="ready">Here it is: {" · ".join(links)}</p>'
