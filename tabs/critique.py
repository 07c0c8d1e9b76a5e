"""Critique: a model holds answers against principles and revises them; every step is shown, and can be judged."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any, Literal

import gradio as gr

from studio import constitution
from studio.binder import find, listed
from studio.constitution import PRINCIPLES, Asked, Critique, Reviewed
from studio.critic import go_on
from studio.data.library import open_source
from studio.data.parquet import rows_of
from studio.data.turns import request_of
from studio.errors import RunError
from studio.settings import Settings, setting
from tabs import _voices
from tabs._form import Group
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, Page, ends, escaped, meter, said, source_choices, waits

TITLE = "Critique"
ORDER = 54
ON_A_PAGE = 8

INTRODUCTION = (
    "The model is asked of each answer whether it goes against a principle, in two wordings that say the opposite. "
    "Where both say so, it tells why and writes the answer again; the revised answers become training data. Small "
    "models are poor critics: look at the agreement below before you trust them."
)
NOTHING = "No critique yet: choose a model and a data set above, or write a prompt, and press “Criticise and revise”."
SURE = "(name) => confirm('Delete this critique? Data sets made of it stay.') ? name : null"


class Bounds(Settings):
    """How much is asked for."""

    rows: int = _voices.rows_setting(8)
    answers: Literal["of the data", "of the model"] = setting(
        "of the data", "Answers", help="Criticise those that the rows bring, or let the model write its own first."
    )
    max_new_tokens: int = _voices.length_setting()
    minutes: float | None = setting(
        None, "Minutes at most", gt=0, help="Then it stops behind the step under way, and can go on. Empty: no limit."
    )
    threshold: float = setting(
        0.5,
        "Violated from",
        ge=0.05,
        le=0.95,
        advanced=True,
        step=0.05,
        help="The probability from which an answer counts as going against a principle; both wordings must reach it.",
    )


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new critique over the steps of the chosen one."""
    with gr.Accordion("A new critique", open=True, elem_id="critique-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        with gr.Row():
            voice = gr.Dropdown([], label="Model", interactive=True, elem_id="critique-model")
            source = gr.Dropdown([], label="Data set", interactive=True, elem_id="critique-source")
        bounds = Group(Bounds)
        with gr.Accordion("Or one prompt of your own", open=False), gr.Row():
            prompt = gr.Textbox(label="Prompt", lines=2, elem_id="critique-prompt", info="Counts instead of the data.")
            answer = gr.Textbox(label="Answer", lines=2, elem_id="critique-answer", info="Empty: the model writes it.")
        principles = gr.Textbox(
            label="Principles, one a line",
            info="What a good answer does. They are kept for the next time.",
            lines=7,
            max_lines=20,
            elem_id="critique-principles",
        )
        with gr.Row(elem_classes="tools"):
            start = gr.Button("Criticise and revise", variant="primary", elem_id="critique-start")
            ours = gr.Button("The studio's principles", elem_id="critique-ours")
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown(
            [], label="Critique", interactive=True, scale=4, min_width=280, elem_id="critique-chooser"
        )
        more = gr.Button("Go on", visible=False, elem_id="critique-more")
        stop = gr.Button("Cancel", elem_id="critique-stop")
        drop = gr.Button("Delete", variant="stop", elem_id="critique-delete")
    told = gr.HTML("", apply_default_css=False, elem_id="critique-told")
    trust = gr.HTML("", apply_default_css=False, elem_id="critique-trust")
    panel = gr.HTML(
        {},
        html_template='<div class="critique"></div>',
        js_on_load=script("along", "critique"),
        apply_default_css=False,
        elem_id="critique",
    )
    with gr.Row(elem_classes="tools"):
        better = gr.Checkbox(
            True, label="Only revisions that the critic finds better", elem_id="critique-better", min_width=260
        )
        answers = gr.Button("Save prompts with revised answers", elem_id="critique-answers")
        pairs = gr.Button("Save preference pairs", elem_id="critique-pairs")
    saved = gr.HTML("", apply_default_css=False, elem_id="critique-saved")

    on = functools.partial(_on, page)
    shown = [panel, trust, more]
    form = [voice, source, prompt, answer, principles, *bounds.components()]

    def begun(page: Page, *raw: Any) -> Iterator[Any]:
        yield from _begin(page, bounds, raw)

    tab.select(
        on(_arrive),
        [voice, source, page.source, chooser, principles],
        [voice, source, chooser, principles, new, *shown],
        **QUIET,
    )
    chooser.input(on(_look), chooser, shown, **QUIET)
    waits(told, start, more)
    running = [
        start.click(on(begun), form, [new, chooser, told, *shown], **_voices.WRITING),
        more.click(on(_more), [chooser, bounds.widgets["minutes"]], [chooser, told, *shown], **_voices.WRITING),
    ]
    ends(told, stop, running)
    for work in running:
        work.failure(_voices.halted, None, [chooser, told], **QUIET).then(on(_look), chooser, shown, **QUIET)
    ours.click(lambda: "\n".join(PRINCIPLES), None, principles, **QUIET)
    drop.click(on(_delete), chooser, [chooser, *shown], js=SURE, trigger_mode="multiple", **PRIVATE)
    panel.click(on(_act), None, shown, trigger_mode="multiple", **HEARD)
    answers.click(on(_save, constitution.supervised, "revised"), [chooser, better], saved, **PRIVATE)
    pairs.click(on(_save, constitution.pairs, "revised over original"), [chooser, better], saved, **PRIVATE)


def _on(page: Page, handler: Any, *fixed: Any) -> Any:
    return said(functools.partial(handler, page, *fixed))


def _arrive(page: Page, voice: str | None, source: str | None, wanted: str, name: str | None, text: str) -> Any:
    """Models, data sets and critiques as they are now; the newest critique where none is chosen."""
    known = _voices.binder_choices(listed(page.workspace.critiques))
    return (
        _voices.picked(_voices.voice_choices(page), voice),
        _voices.picked(source_choices(page.workspace), source, wanted, "customer_messages"),
        _voices.picked(known, name),
        text or constitution.kept_principles(page.workspace),
        _voices.folded(known, name),
        *_look(page, _voices.pick(known, name)),
    )


def _critique(page: Page, name: str | None) -> Critique:
    if not name:
        raise RunError("No critique is chosen.", remedy="Begin one above.")
    return Critique(find(page.workspace.critiques, name))


def _look(page: Page, name: str | None, at: int = 0) -> Any:
    """A page of the rows with all that came of them, how far to trust it, and whether anything is left to do."""
    try:
        critique = _critique(page, name)
    except RunError:  # there is none, or another browser deleted it
        return {"nothing": NOTHING}, "", gr.Button(visible=False)
    rows = critique.rows()
    left = sum(not critique.done(row) for row in rows)
    value = {
        "name": name,
        "at": at,
        "size": ON_A_PAGE,
        "total": len(rows),
        "principles": list(critique.asked.principles),
        "rows": [_shown(critique, row) for row in rows[at : at + ON_A_PAGE]],
    }
    return value, _trust(critique, rows, left), gr.Button(visible=left > 0)


def _shown(critique: Critique, row: Reviewed) -> dict[str, Any]:
    """As the script draws it."""
    verdicts = [
        {
            "wordings": each,
            "mean": constitution.mean(each),
            "violated": critique.verdict(each),
            "critique": (row.critiques or {}).get(number, ""),
            "after": constitution.mean(row.after[number]) if row.after and number in row.after else None,
            "mark": row.marks.get(number),
        }
        for number, each in enumerate(row.verdicts or [])
    ]
    return {
        "prompt": request_of(row.messages),
        "answer": row.answer,
        "verdicts": verdicts,
        "revision": row.revision,
        "changed": row.changed,
        "skipped": row.skipped,
        "done": critique.done(row),
    }


def _trust(critique: Critique, rows: list[Reviewed], left: int) -> str:
    """What the critique came to, and how often the critic agrees with itself and with a person."""
    changed = sum(row.changed for row in rows)
    better = sum(constitution.improved(critique, row) for row in rows)
    lines = [
        f"Looked at {len(rows) - left:,} of {len(rows):,} answers. Revised: {changed:,}; of these the critic itself "
        f"finds {better:,} better than before."
    ]
    own = constitution.with_itself(critique, rows)
    yours = constitution.with_person(critique, rows)
    lines.append(constitution.sentence(own, "itself in the other wording"))
    lines.append(
        constitution.sentence(yours, "your marks") or "Mark verdicts right or wrong to see how it agrees with you."
    )
    if own.of and (own.kappa is None or own.kappa < constitution.POOR):
        lines.append(
            "With itself that is hardly more than chance. Where it contradicts itself nothing is revised; read what "
            "you keep of the rest, or let a larger model be the critic."
        )
    return '<div class="ready">' + "".join(f"<p>{escaped(line)}</p>" for line in lines if line) + "</div>"


def _begin(page: Page, form: Group, raw: tuple[Any, ...]) -> Iterator[Any]:
    """A new critique of the chosen rows, or of one prompt; then its steps."""
    key, source, prompt, answer, text, *values = raw
    bounds = Bounds.parse(form.parse(values))
    principles = constitution.keep_principles(page.workspace, text or "")
    voice = _voices.voice_of(key)
    if (prompt or "").strip():
        title = " ".join(prompt.split())[:60]
        rows = [([{"role": "user", "content": prompt.strip()}], (answer or "").strip() or None)]
    else:
        opened = open_source(source or "", page.workspace)
        title = opened.title
        own = bounds.answers == "of the data"
        rows = constitution.rows_of(rows_of(opened.train.path), opened.mapping, bounds.rows, own=own)
    title = f"{title}, by {_voices.name_of(page, voice)}"
    asked = Asked(title, voice, principles, bounds.threshold, bounds.max_new_tokens)
    name = constitution.begin(page.workspace, asked, rows).binder.name
    known = _voices.binder_choices(listed(page.workspace.critiques))
    yield gr.Accordion(open=False), _voices.picked(known, name), *[gr.skip()] * 4
    for each in _steps(page, name, bounds.minutes):
        yield gr.skip(), *each


def _more(page: Page, name: str | None, minutes: Any) -> Iterator[Any]:
    limit = str(minutes or "").strip()
    yield from _steps(page, name, Bounds.parse({"minutes": limit or None}).minutes)


def _steps(page: Page, name: str | None, minutes: float | None) -> Iterator[Any]:
    """The work on a critique, with its progress; the first page of rows as it fills."""
    critique, began = _critique(page, name), time.monotonic()
    total = len(critique.rows())
    first, known = None, ("", -1)
    yield gr.Dropdown(interactive=False), meter(0, "Starting", 0), *_look(page, name)  # nobody chooses another now
    for doing, done in go_on(critique, page.writer, minutes * 60 if minutes else None):
        first = done if first is None else first
        share = (done - first) / max(total - first, 1)
        told = meter(share, f"{doing} · {int(done):,} of {total:,} rows", time.monotonic() - began)
        # Whoever has turned the page by then must not be thrown back.
        fresh = (doing, done) != known and done <= ON_A_PAGE
        yield gr.skip(), told, *(_look(page, name) if fresh else [gr.skip()] * 3)
        known = doing, done
    panel, trust, more = _look(page, name)
    yield gr.Dropdown(interactive=True), "", panel if total <= ON_A_PAGE else gr.skip(), trust, more


def _act(page: Page, event: gr.EventData) -> Any:
    """A click in the panel: another page of rows, or a verdict marked right or wrong."""
    clicked = event._data
    name, at = str(clicked["name"]), max(0, int(clicked["at"]))
    if "row" in clicked:
        _critique(page, name).mark(int(clicked["row"]), int(clicked["number"]), bool(clicked["right"]))
    return _look(page, name, at)


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it, or there is none
        return [gr.skip()] * 4
    find(page.workspace.critiques, name).delete()
    known = _voices.binder_choices(listed(page.workspace.critiques))
    return _voices.picked(known), *_look(page, _voices.pick(known))


def _save(page: Page, made_of: Any, what: str, name: str | None, better: bool, request: gr.Request) -> str:
    critique = _critique(page, name)
    rows = made_of(critique, better_only=better)
    return _voices.kept_as(page, f"{critique.asked.title} ({what})", rows, request)
