"""Arena: the answers of two models side by side, and nobody says whose they are until the person has voted."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio import arena
from studio.arena import Arena, Round, Score
from studio.binder import find, listed
from studio.constitution import rows_of
from studio.data import parquet
from studio.data.library import open_source
from studio.data.turns import request_of
from studio.errors import RunError
from studio.settings import Settings
from tabs import _voices
from tabs._form import Group
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, ends, escaped, meter, said, source_choices, waits

TITLE = "Arena"
ORDER = 52

INTRODUCTION = (
    "Two models answer the same prompts, one model after the other, so that only one is in memory. Then you say which "
    "answer is better, without knowing whose it is: what people believe of a model colours what they see in it."
)
NOTHING = "No arena yet: choose two models and a data set above, or write prompts, and press “Let both answer”."
SURE = "(name) => confirm('Delete this arena with its votes? Data sets made of it stay.') ? name : null"


class Bounds(Settings):
    """How much is asked for."""

    rows: int = _voices.rows_setting(20)
    max_new_tokens: int = _voices.length_setting()


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new arena over the answers of the chosen one, and what the votes say."""
    with gr.Accordion("A new arena", open=True, elem_id="arena-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        with gr.Row():
            one = gr.Dropdown([], label="One model", interactive=True, elem_id="arena-one")
            other = gr.Dropdown([], label="The other", interactive=True, elem_id="arena-other")
            source = gr.Dropdown([], label="Prompts of the data set", interactive=True, elem_id="arena-source")
        bounds = Group(Bounds)
        prompts = gr.Textbox(label="Or your own prompts, one a line", lines=2, max_lines=12, elem_id="arena-prompts")
        start = gr.Button("Let both answer", variant="primary", elem_id="arena-start")
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown([], label="Arena", interactive=True, scale=4, min_width=280, elem_id="arena-chooser")
        more = gr.Button("Go on", visible=False, elem_id="arena-more")
        stop = gr.Button("Cancel", elem_id="arena-stop")
        drop = gr.Button("Delete", variant="stop", elem_id="arena-delete")
    told = gr.HTML("", apply_default_css=False, elem_id="arena-told")
    panel = gr.HTML(
        {},
        html_template='<div class="arena"></div>',
        js_on_load=script("arena"),
        apply_default_css=False,
        elem_id="arena",
    )
    standing = gr.HTML("", apply_default_css=False, elem_id="arena-standing")
    with gr.Row(elem_classes="tools"):
        pairs = gr.Button("Save the votes as preference pairs", elem_id="arena-pairs")
    saved = gr.HTML("", apply_default_css=False, elem_id="arena-saved")

    on = functools.partial(_on, page)
    shown = [panel, standing, more]

    def begun(page: Page, *raw: Any) -> Iterator[Any]:
        yield from _begin(page, bounds, raw)

    choosers = [one, other, source, chooser]
    tab.select(on(_arrive), [*choosers, page.source, page.run], [*choosers, new, *shown], **QUIET)
    chooser.input(on(_look), chooser, shown, **QUIET)
    form = [one, other, source, prompts, *bounds.components()]
    waits(told, start, more)
    running = [
        start.click(on(begun), form, [new, chooser, told, *shown], **_voices.WRITING),
        more.click(on(_more), chooser, [chooser, told, *shown], **_voices.WRITING),
    ]
    ends(told, stop, running)
    for work in running:
        work.failure(_voices.halted, None, [chooser, told], **QUIET).then(on(_look), chooser, shown, **QUIET)
    drop.click(on(_delete), chooser, [chooser, *shown], js=SURE, trigger_mode="multiple", **PRIVATE)
    panel.click(on(_vote), None, shown, trigger_mode="multiple", **HEARD)
    pairs.click(on(_save), chooser, saved, **PRIVATE)


def _on(page: Page, handler: Any) -> Any:
    return said(functools.partial(handler, page))


def _arrive(
    page: Page, one: str | None, other: str | None, source: str | None, name: str | None, wanted: str, run: str
) -> Any:
    """Models, data sets and arenas as they are now; at first the run this browser looks at against its base."""
    voices = _voices.voice_choices(page)
    first = _voices.pick(voices, one, _voices.key_of(run=run))
    base = _voices.base_of(page, first)
    second = _voices.pick([each for each in voices if each[1] != first], other, base)
    known = _voices.binder_choices(listed(page.workspace.arenas))
    return (
        gr.Dropdown(voices, value=first),
        gr.Dropdown(voices, value=second),
        _voices.picked(source_choices(page.workspace), source, wanted, "customer_messages"),
        _voices.picked(known, name),
        _voices.folded(known, name),
        *_look(page, _voices.pick(known, name)),
    )


def _arena(page: Page, name: str | None) -> Arena:
    if not name:
        raise RunError("No arena is chosen.", remedy="Begin one above.")
    return Arena(find(page.workspace.arenas, name))


def _look(page: Page, name: str | None, last: Round | None = None) -> Any:
    """The next prompt to vote on, what the votes say, and whether answers are missing still."""
    try:
        chosen = _arena(page, name)
    except RunError:  # there is none, or another browser deleted it
        return {"nothing": NOTHING}, "", gr.Button(visible=False)
    rounds = chosen.rounds()
    open_ = [number for number, each in enumerate(rounds) if each.votable and each.vote is None]
    missing = sum(not all(each.asked) for each in rounds)
    value: dict[str, Any] = {"name": name, "last": _revealed(chosen, last)}
    if open_:
        value |= _blind(rounds[open_[0]], open_[0], f"Prompt {open_[0] + 1} · {len(open_):,} to vote on")
    else:
        value["nothing"] = _over(rounds, missing)
    return value, _standing(arena.score(rounds), chosen.names), gr.Button(visible=missing > 0)


def _blind(each: Round, number: int, place: str) -> dict[str, Any]:
    """What a person may know before the vote: nothing that names a model."""
    answers = [each.answers[each.on(side)] for side in arena.SIDES]
    return {"row": number, "place": place, "prompt": request_of(each.messages), "answers": answers}


def _revealed(chosen: Arena, last: Round | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {"vote": last.vote, **{side: chosen.names[last.on(side)] for side in arena.SIDES}}


def _over(rounds: list[Round], missing: int) -> str:
    same = sum(None not in each.answers and not each.votable for each in rounds)
    alike = f" To {same:,} of {len(rounds):,} prompts both gave the same answer: nothing to vote on." if same else ""
    if missing:
        how = "they are being written, or “Go on” has it done"
        return f"{missing:,} of {len(rounds):,} prompts lack an answer: {how}.{alike}"
    return f"All is voted on.{alike}"


def _standing(found: Score, names: list[str]) -> str:
    """Who leads, as a bar and in words; whether the side matters."""
    if not found.votes:
        return ""
    parts = [
        ("first", found.wins[0], names[0]),
        ("tie", found.ties, "A tie"),
        ("bad", found.bad, "Both are bad"),
        ("second", found.wins[1], names[1]),
    ]
    bars = "".join(
        f'<span class="{key}" style="flex-grow:{count}" title="{escaped(what)}">{count:,}</span>'
        for key, count, what in parts
        if count
    )
    legend = "".join(f'<li class="{key}">{escaped(what)}: {count:,}</li>' for key, count, what in parts)
    words = "".join(f"<p>{escaped(each)}</p>" for each in (arena.verdict(found, names), arena.leaning(found)) if each)
    return (
        f'<div class="standing"><div class="votes">{bars}</div><ul>{legend}</ul></div><div class="ready">{words}</div>'
    )


def _begin(page: Page, form: Group, raw: tuple[Any, ...]) -> Iterator[Any]:
    """A new arena of two models on the chosen prompts; then their answers."""
    one, other, source, text, *values = raw
    bounds = Bounds.parse(form.parse(values))
    voices = _voices.told_apart(page, [_voices.voice_of(each) for each in (one, other)])
    typed = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if typed:
        title, prompts = f"{len(typed)} own prompts", [[{"role": "user", "content": line}] for line in typed]
    else:
        opened = open_source(source or "", page.workspace)
        title = opened.title
        rows = rows_of(parquet.rows_of(opened.train.path), opened.mapping, bounds.rows, own=False)
        prompts = [messages for messages, _ in rows]
    title = f"{title}: {voices[0][1]} or {voices[1][1]}"
    name = arena.begin(page.workspace, title, voices, prompts, bounds.max_new_tokens).binder.name
    known = _voices.binder_choices(listed(page.workspace.arenas))
    yield gr.Accordion(open=False), _voices.picked(known, name), *[gr.skip()] * 4
    for each in _steps(page, name):
        yield gr.skip(), *each


def _more(page: Page, name: str | None) -> Iterator[Any]:
    yield from _steps(page, name)


def _steps(page: Page, name: str | None) -> Iterator[Any]:
    """The missing answers, with progress; votes can begin as soon as a prompt has both."""
    chosen, began, first = _arena(page, name), time.monotonic(), None
    look = _look(page, name)
    yield gr.Dropdown(interactive=False), meter(0, "Starting", 0), *look  # nobody chooses another meanwhile
    for doing, done, total in chosen.go_on(page.writer):
        first = done if first is None else first
        told = meter(
            (done - first) / max(total - first, 1), f"{doing} · {done:,} of {total:,} answers", time.monotonic() - began
        )
        # Once there is a prompt to vote on it stays: a person may be reading it.
        news = "row" not in look[0] and done > total // 2
        look = _look(page, name) if news else look
        yield gr.skip(), told, *(look if news else [gr.skip()] * 3)
    panel, *rest = _look(page, name)
    yield gr.Dropdown(interactive=True), "", panel, *rest  # the same prompt, if one was open


def _vote(page: Page, event: gr.EventData) -> Any:
    """A click or a key: the vote is on disk before the page says whose answers these were."""
    clicked = event._data
    name = str(clicked["name"])
    voted = _arena(page, name).vote(int(clicked["row"]), str(clicked["vote"]))
    return _look(page, name, voted)


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it, or there is none
        return [gr.skip()] * 4
    find(page.workspace.arenas, name).delete()
    known = _voices.binder_choices(listed(page.workspace.arenas))
    return _voices.picked(known), *_look(page, _voices.pick(known))


def _save(page: Page, name: str | None, request: gr.Request) -> str:
    chosen = _arena(page, name)
    return _voices.kept_as(page, f"{chosen.title} (votes)", arena.pairs(chosen), request)
