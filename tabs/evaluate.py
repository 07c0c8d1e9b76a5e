"""Evaluate: models beside one another on rows that none was trained on, with intervals, a test and every answer."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from studio.binder import listed
from studio.errors import ConfigError, RunError
from studio.evaluate import Evaluation, EvaluationSettings, begin, look_up
from studio.evaluated import Filter, every_line, lines, plain, report
from studio.evaluation.tasks import ABSENT, INSTALL, installed
from studio.objectives import objectives
from studio.objectives._labelled import LabelObjective
from studio.store import State
from studio.workspace import Workspace, write_whole
from tabs import _downloads, _voices
from tabs._form import Group
from tabs._live import script
from tabs._shared import HEARD, PRIVATE, QUIET, WAITING, Page, ends, meter, said, source_choices, waits

TITLE = "Evaluate"
ORDER = 46

INTRODUCTION = (
    "What did training change? All models are asked the same rows, which none of them was trained on. The first one "
    "chosen is what the others are held against; a difference counts where chance would hardly bring it about."
)
NOTHING = "No evaluation yet: choose models above and press “Evaluate”."
SURE = "(name) => confirm('Delete this evaluation with all its answers?') ? name : null"
LEFT = '<p class="muted">Left where it was. What was answered is kept: “Go on” takes it up.</p>'
SHOWN = 10  # rows on a page
_OWN, _NONE = "The rows that the first run held out", "None"

# One process asks: whoever comes second waits in Gradio's line.
ALONE: dict[str, Any] = {**PRIVATE, "concurrency_id": "evaluator", "concurrency_limit": 1, "show_progress": "hidden"}


def build(page: Page, tab: gr.Tab) -> None:
    """A form for a new one over the report of the chosen one."""
    with gr.Accordion("A new evaluation", open=True, elem_id="evaluate-new") as new:
        gr.HTML(f'<p class="muted">{INTRODUCTION}</p>', apply_default_css=False)
        # On arrival they are filled, and can be chosen from.
        who = gr.Dropdown(
            [],
            label="Models",
            info="The others are held against the first.",
            multiselect=True,
            interactive=False,
            elem_id="evaluate-who",
        )
        with gr.Row():
            source = gr.Dropdown(
                [],
                value=None,
                label="Data set",
                info="Rows that one of the models was trained on are left out.",
                interactive=False,
                elem_id="evaluate-source",
            )
            old = gr.Dropdown(
                [],
                value=None,
                label="Old data",
                info="What the models could do before, to see what was forgotten.",
                interactive=False,
                elem_id="evaluate-old",
            )
        group = _group()
        start = gr.Button("Evaluate", variant="primary", elem_id="evaluate-start")
    with gr.Row(elem_classes="tools"):
        chooser = gr.Dropdown(
            [], label="Evaluation", interactive=False, scale=4, min_width=280, elem_id="evaluate-chooser"
        )
        more = gr.Button("Go on", visible=False, elem_id="evaluate-more")
        leave = gr.Button("Leave it", visible=False, elem_id="evaluate-leave")
        save = gr.Button("Save as JSON", elem_id="evaluate-save")
        drop = gr.Button("Delete", variant="stop", elem_id="evaluate-delete")
    told = gr.HTML("", apply_default_css=False, elem_id="evaluate-told")
    panel = gr.HTML(
        {},
        html_template='<div class="evaluated"></div>',
        js_on_load=script("confusion", "along", "diff", "whiskers", "evaluate"),
        apply_default_css=False,
        elem_id="evaluate-report",
    )

    def on(handler: Any) -> Any:
        return said(functools.partial(handler, page))

    def begun(page: Page, *raw: Any) -> Any:
        return _begin(page, _read(group, *raw))

    shown, asked = [panel, more], [who, source, old, *group.components()]
    tab.select(on(_arrive), [who, source, old, page.run, chooser], [who, source, old, chooser, new, *shown], **QUIET)
    chooser.input(on(_chosen), chooser, [*shown, told], **QUIET)
    working = [chooser, told, leave, *shown]
    # Begun outside the line of those who wait: what is wrong with it is said at once.
    new_one = start.click(on(begun), asked, [new, chooser, told], **PRIVATE)
    running = [
        new_one.success(on(_steps), chooser, working, **ALONE),
        more.click(on(_steps), chooser, working, **ALONE),
    ]
    waits(told, more)
    ends(told, leave, running)
    for work in running:
        work.failure(on(_rest), chooser, working, **QUIET)
    drop.click(on(_delete), chooser, [chooser, *shown, told], js=SURE, trigger_mode="multiple", **PRIVATE)
    save.click(on(_save), chooser, told, **PRIVATE)
    panel.click(on(_turned), None, panel, trigger_mode="multiple", **HEARD)


# -- the form ------------------------------------------------------------------------------------------


def _group() -> Group:
    """Where lm-eval is not installed, the field for its tasks says so, and what else is said of tasks has none."""
    more = "Several programs, tasks of lm-eval, seed"
    if installed():
        return Group(EvaluationSettings, more=more)
    label = EvaluationSettings.model_fields["tasks"].title
    absent = gr.Textbox(
        "", label=label, info=f"{ABSENT} {INSTALL}", interactive=False, elem_classes=["field-tasks"], render=False
    )
    return Group(EvaluationSettings, more=more, skip=["include_path", "num_fewshot", "limit"], own={"tasks": absent})


def _choices(page: Page) -> list[tuple[str, str]]:
    """What runs learnt, newest first, and what they began with; then models as they are."""
    states = [state for state in page.store.states() if state.saved and (state.writes or _names_labels(state))]
    return [*_voices.learnt_choices(states, before=True), *_voices.model_choices(page, _voices.writing(page))]


def _names_labels(state: State) -> bool:
    objective = objectives().get(str(state.config.get("objective", {}).get("name", "")))
    return objective is not None and issubclass(objective, LabelObjective)


def _first_choice(known: Sequence[tuple[str, str]], run: str) -> list[str]:
    """What a run began with and what it learnt; of the newest, where none is looked at."""
    keys = [key for _, key in known]
    if _voices.key_of(run=run) not in keys:
        run = next((each.removeprefix(_voices.RUN) for each in keys if each.startswith(_voices.RUN)), "")
    both = [_voices.key_of(run=run, tuned=tuned) for tuned in (False, True)] if run else []
    return [each for each in both if each in keys]


def _read(
    group: Group, who: Sequence[str] | None, source: str | None, old: str | None, *raw: Any
) -> EvaluationSettings:
    """Raises ConfigError."""
    return EvaluationSettings.parse(
        {
            "candidates": [_voices.settings_of(each) for each in who or []],
            "dataset": {"source": source} if source else None,
            "old": {"source": old} if old else None,
            **group.parse(raw),
        }
    )


def _arrive(
    page: Page, who: list[str] | None, source: str | None, old: str | None, run: str, name: str | None
) -> tuple[Any, ...]:
    """Models, data sets and evaluations as they are now; at first what this browser looks at elsewhere.

    What was chosen already is left alone: this answer may come late, and would overrule what a person chose meanwhile.
    """
    voices, sources = _choices(page), source_choices(page.workspace)
    known = _voices.binder_choices(listed(page.workspace.evaluations))
    keys, names = {key for _, key in voices}, [each for _, each in known]
    there = bool(who) and keys.issuperset(who or [])
    return (
        _offered(voices, None if there else _first_choice(voices, run)),
        _offered([(_OWN, ""), *sources], None if source is not None else ""),
        _offered([(_NONE, ""), *sources], None if old is not None else ""),
        gr.Dropdown(known) if name in names else gr.Dropdown(known, value=next(iter(names), None), interactive=True),
        _voices.folded(known, name),
        *((gr.skip(), gr.skip()) if name in names else _look(page, next(iter(names), None))),
    )


def _offered(choices: list[tuple[str, str]], value: Any) -> gr.Dropdown:
    """None: what is chosen stays."""
    return gr.Dropdown(choices) if value is None else gr.Dropdown(choices, value=value, interactive=True)


def _begin(page: Page, settings: EvaluationSettings) -> Any:
    """A new one, which waits for its turn."""
    if settings.include_path and not page.alone:
        raise ConfigError(
            "This studio is open to others, and any folder of the machine that runs it could be named.",
            remedy=f"Leave 'Folder of tasks' empty: tasks are then taken from {page.workspace.tasks.name} in the "
            "workspace. Or evaluate from the command line.",
        )
    name = begin(page.workspace, settings).binder.name
    known = _voices.binder_choices(listed(page.workspace.evaluations))
    return gr.Accordion(open=False), _voices.picked(known, name), WAITING


# -- an evaluation ---------------------------------------------------------------------------------------


def _evaluation(page: Page, name: str | None) -> Evaluation:
    if not name:
        raise RunError("No evaluation is chosen.", remedy="Begin one above.")
    return look_up(page.workspace, name)


def _look(page: Page, name: str | None) -> tuple[Any, Any]:
    """The report, and whether anything is left to do."""
    try:
        evaluation = _evaluation(page, name)
    except RunError:  # there is none, or another browser deleted it
        return {"nothing": NOTHING}, gr.Button(visible=False)
    return _shown(page.workspace, evaluation), gr.Button(visible=evaluation.done < evaluation.total)


def _shown(workspace: Workspace, evaluation: Evaluation, **turned: Any) -> dict[str, Any]:
    """What `assets/evaluate.js` draws."""
    rows = {"set": 0, "filter": "all", "who": min(1, len(evaluation.contenders) - 1), "at": 0, **turned}
    found = lines(evaluation, rows["set"], rows["filter"], rows["who"], rows["at"], SHOWN)
    told = _report(str(workspace.root), evaluation.binder.name, evaluation.done)
    shown = {"name": evaluation.binder.name, **told, "rows": {**rows, **asdict(found), "count": SHOWN}}
    return json.loads(json.dumps(shown))  # places of candidates as text: Gradio sends no other keys


@functools.lru_cache(maxsize=4)
def _report(root: str, name: str, done: int) -> dict[str, Any]:
    """Of as many requests: what is drawn does not change until there are more."""
    return plain(report(look_up(Workspace(Path(root)), name)))


def _chosen(page: Page, name: str | None) -> tuple[Any, Any, str]:
    return *_look(page, name), ""


def _turned(page: Page, event: gr.EventData) -> dict[str, Any]:
    """Other rows: of another set, by another filter, of another model, or further on."""
    asked = event._data
    evaluation = _evaluation(page, str(asked["name"]))
    place = {key: max(0, int(asked[key])) for key in ("set", "who", "at")}
    there = place["set"] < len(evaluation.sets) and place["who"] < len(evaluation.contenders)
    if not there or asked["filter"] not in get_args(Filter):
        raise RunError("There are no such rows.", remedy="Choose the evaluation again.")
    return _shown(page.workspace, evaluation, filter=asked["filter"], **place)


def _steps(page: Page, name: str | None) -> Iterator[Any]:
    """The work, with its progress and a report that grows by each model; nobody chooses another meanwhile."""
    evaluation, began, before = _evaluation(page, name), time.monotonic(), None
    hidden, visible, stay = gr.Button(visible=False), gr.Button(visible=True), gr.skip()
    yield gr.Dropdown(interactive=False), meter(0, "Starting", 0), visible, stay, hidden
    doing = ""
    with closing(page.evaluator.run(evaluation.binder.name)) as parts:  # pyright: ignore[reportArgumentType]
        for part in parts:
            panel = _look(page, name)[0] if part.doing.startswith("Asked ") and part.doing != doing else stay
            doing = part.doing
            if not part.total:  # it is made ready
                yield stay, meter(0, part.doing, 0), stay, panel, hidden
                continue
            if before is None:
                began, before = time.monotonic(), part.done
            share = (part.done - before) / max(part.total - before, 1)
            words = f"{part.doing} · {part.done:,.0f} of {part.total:,.0f} requests"
            yield stay, meter(share, words, time.monotonic() - began), stay, panel, hidden
    yield _rest(page, name)


def _rest(page: Page, name: str | None) -> tuple[Any, ...]:
    """It is not under way, or not any more."""
    panel, more = _look(page, name)
    told = LEFT if "sets" in panel and panel["done"] < panel["total"] else ""
    return gr.Dropdown(interactive=True), told, gr.Button(visible=False), panel, more


def _delete(page: Page, name: str | None) -> Any:
    if not name:  # they thought better of it, or there is none
        return [gr.skip()] * 4
    page.evaluator.delete(name)
    known = _voices.binder_choices(listed(page.workspace.evaluations))
    return _voices.picked(known), *_chosen(page, _voices.pick(known))


def _save(page: Page, name: str | None) -> str:
    """The report and every answer, as a file to take away."""
    evaluation = _evaluation(page, name)
    path = _downloads.place(page.workspace, evaluation.title, ".json", evaluation.binder.name)
    told = {**plain(report(evaluation)), "rows": every_line(evaluation)}
    write_whole(path, json.dumps(told, ensure_ascii=False))
    return f"<p>{_downloads.link(path, 'Report and answers')}</p>"
