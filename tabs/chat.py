"""Chat: the same prompt to the base model and to the tuned one, side by side. A model with heads labels a text."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.errors import RunError, StudioError
from studio.evaluation.metrics import LABELS, score
from studio.prompt import PLACEHOLDER, ROW, Prompt
from studio.responder import Labels, Sampling
from studio.workspace import RunFolder
from tabs._shared import HEARD, PRIVATE, QUIET, Page, escaped, judge, refusal, run_choices, said, shared_beginning

TITLE = "Chat"
ORDER = 50
HELD_OUT_SHOWN = 50
SHOWN_S = 0.1  # between two looks at an answer: each token of a swift model would have both talks drawn anew
LABELS_SHOWN = 5  # of a head, the likeliest
Turns = list[dict[str, str]]

EMPTY = (
    '<p class="muted">No tuned model yet: press <b>Start training</b> in the Start tab; it takes about two minutes.</p>'
)


def build(page: Page, tab: gr.Tab) -> None:
    """Two conversations that hear the same questions; or the labels of a text, where the run's model writes none."""
    with gr.Row():
        chooser = gr.Dropdown([], label="Run", interactive=True, elem_id="chat-run", scale=3)
        held_out = gr.Dropdown([], label="Try a held-out row", interactive=True, elem_id="chat-held-out", scale=4)
    status = gr.HTML("", apply_default_css=False, elem_id="chat-status")
    with gr.Row() as sides:
        base = _side("base", "Base model", "As it was before training.")
        tuned = _side("tuned", "Tuned model", "With what it learnt.")
    reference = gr.HTML("", apply_default_css=False, elem_id="chat-reference")
    with gr.Row(visible=False, elem_classes="tools") as framed:
        framing = gr.HTML("", apply_default_css=False, elem_id="chat-framing")
        bare = gr.Button("Ask without it", size="sm", scale=0, min_width=140, elem_id="chat-bare")
    prompt = gr.Textbox(
        label="Your message to both",
        lines=2,
        max_lines=8,
        elem_id="chat-prompt",
        placeholder="Write something, or choose a held-out row above.",
    )
    with gr.Row():
        send = gr.Button("Send to both", variant="primary", interactive=False, elem_id="chat-send")
        stop = gr.Button("Stop", elem_id="chat-stop")
        clear = gr.Button("Start over", elem_id="chat-clear")
        worth = gr.Button("Was fine-tuning worth it?", elem_id="chat-worth")
    labels = gr.HTML("", apply_default_css=False, elem_id="chat-labels")
    with gr.Accordion("How answers are drawn", open=False) as drawing, gr.Row():
        system = gr.Textbox("", label="System prompt", info="Put before the conversation; empty: the template's own.")
        heat = gr.Slider(0, 2, 0, step=0.05, label="Temperature", info="0 takes the likeliest token each time.")
        mass = gr.Slider(0.05, 1, 1, step=0.05, label="Top p", info="Draws from the likeliest that make up this share.")
        most = gr.Slider(8, 1024, 128, step=8, label="Answer length at most (tokens)")
    row = gr.State(("", ""))  # the chosen row's question and its right answer
    met = gr.State(None)  # the run that the talk is with

    seen = [chooser, met, status, held_out, base, tuned, reference, labels, sides, drawing, prompt, send]
    refresh = said(functools.partial(_refresh, page))
    page.run.change(refresh, [page.run, met], seen, **QUIET)
    tab.select(refresh, [page.run, met], seen, **QUIET)
    chooser.input(refresh, [chooser, met], seen, **QUIET)
    chooser.input(lambda run_id: run_id, chooser, page.run, **QUIET)
    held_out.input(
        said(functools.partial(_pick, page)),
        [chooser, held_out, page.prompt],
        [prompt, system, reference, row],
        **QUIET,
    )
    asking = gr.on(
        [send.click, prompt.submit],
        said(functools.partial(_ask, page)),
        [chooser, prompt, system, base, tuned, row, heat, mass, most, page.prompt],
        [base, tuned, prompt, status, labels],
        concurrency_id="model",
        concurrency_limit=1,
        trigger_mode="once",
        show_progress="hidden",
        **PRIVATE,
    )
    stop.click(lambda: '<p class="muted">Stopped.</p>', None, status, cancels=[asking], **QUIET)
    cleared = [base, tuned, reference, status, labels]
    clear.click(lambda: ([], [], "", "", ""), None, cleared, cancels=[asking], **QUIET)
    # Another prompt is another talk.
    page.prompt.change(_frame, page.prompt, [framed, framing, system, base, tuned], **QUIET)
    bare.click(lambda: None, None, page.prompt, **HEARD)
    worth.click(lambda run_id: judge(run_id), chooser, [page.judged, page.tabs], **HEARD)


def _side(name: str, label: str, hint: str) -> gr.Chatbot:
    # Plain text: what a model writes is shown, never rendered.
    return gr.Chatbot(
        label=label, elem_id=f"chat-{name}", render_markdown=False, height=380, buttons=["copy"], placeholder=hint
    )


def _refresh(page: Page, run_id: str | None, met: str | None) -> Any:
    """The runs that can be talked to; the one this browser looks at is chosen. Another one starts another talk."""
    states = [state for state in page.store.states(also=[run_id, met]) if state.saved and state.talks]
    found, known = run_choices(states), [state.id for state in states]
    chosen = next((each for each in (run_id, met) if each in known), known[0] if known else None)
    chooser = gr.Dropdown(found, value=chosen)
    if chosen == met:
        return chooser, met, gr.skip() if known else EMPTY, *[gr.skip()] * 9
    held_out = gr.Dropdown(_held_out_choices(_folder(page, chosen)), value=None)
    look = _look(chosen is None or page.store.state(chosen).writes, chosen is not None)
    return chooser, chosen, "" if known else EMPTY, held_out, [], [], "", "", *look


def _look(writes: bool, known: bool) -> tuple[Any, ...]:
    """The form for a model that writes, or for one that labels; nothing is sent before it is known to whom."""
    return (
        gr.Row(visible=writes),
        gr.Accordion(visible=writes),
        gr.Textbox(label="Your message to both" if writes else "A text to classify"),
        gr.Button("Send to both" if writes else "Classify", interactive=known),
    )


def _frame(framing: dict[str, Any] | None) -> Any:
    """What from now on stands around each message, if anything does; an empty talk."""
    if not framing:
        return gr.Row(visible=False), "", "", [], []
    prompt = Prompt.parse(framing["prompt"])
    count = len(prompt.demonstrations)
    parts = ["its system text"] * bool(prompt.system.strip()) + ["its instruction"] * (
        prompt.template != Prompt().template
    )
    parts += [f"{count} example{'s' * (count > 1)}"] * bool(count)
    what = " and ".join(parts) or "the message as it is"
    told = f"Both are asked with the prompt found for “{framing['title']}”: {what}."
    return gr.Row(visible=True), f'<p class="ready">{escaped(told)}</p>', prompt.system, [], []


def _pick(page: Page, run_id: str, index: int | None, framing: dict[str, Any] | None) -> Any:
    """A held-out row's question into the prompt, its right answer beside it; its system text where no other is set."""
    rows = _held_out(_folder(page, run_id))
    if index is None or index >= len(rows):
        return gr.skip(), gr.skip(), "", ("", "")
    turns = rows[index]
    question, answer = turns[-2]["content"], turns[-1]["content"]
    shown = f'<p class="right-answer"><span class="label">Right answer</span> <code>{escaped(answer)}</code></p>'
    system = turns[0]["content"] if turns[0]["role"] == "system" else ""
    return question, gr.skip() if framing else system, shown, (question, answer)


def _ask(
    page: Page,
    run_id: str | None,
    text: str,
    system: str,
    base: Turns,
    tuned: Turns,
    row: tuple[str, str],
    heat: float,
    mass: float,
    most: float,
    framing: dict[str, Any] | None = None,
) -> Iterator[Any]:
    """Both answers, as they are written: first the base model's, then the tuned one's. Or the text's labels.

    Where an answer cannot be had, both talks are again as they were before the question.
    """
    if not (text or "").strip():
        raise RunError("There is nothing to send.", remedy="Write a message, or choose a held-out row.")
    if not run_id:
        raise RunError("There is no tuned model yet.", remedy="Press 'Start training' in the Start tab first.")
    folder = page.workspace.run(run_id)
    if not page.store.state(run_id).writes:
        yield from _label(page.responder.label(folder, text))
        return
    framed = Prompt.parse({**(framing["prompt"] if framing else {}), "system": system})
    *before, user = framed.messages(_as_asked(framed, text))
    talks = [[*_plain(side), user] for side in (base, tuned)]
    sampling = Sampling(max_new_tokens=int(most), temperature=heat, top_p=mass)
    shown = 0.0
    try:
        for side, adapter in enumerate((False, True)):
            asked, answer = talks[side], ""
            for piece in page.responder.ask(folder, [*before, *asked], adapter=adapter, sampling=sampling):
                answer += piece.text if piece.kind == "text" else ""
                doing = "Answering" if piece.kind == "text" else piece.text
                if answer:
                    talks[side] = [*asked, {"role": "assistant", "content": answer}]
                if piece.kind == "text" and time.monotonic() - shown < SHOWN_S:
                    continue
                shown = time.monotonic()
                # The prompt is kept until both have answered: a fault must not lose what was written.
                yield *map(_shown, talks), gr.skip(), f'<p class="muted">{escaped(doing)} …</p>', gr.skip()
            talks[side] = [*asked, {"role": "assistant", "content": answer or "(it said nothing)"}]
    except StudioError as error:  # as a message it would hide both talks
        yield _shown(_plain(base)), _shown(_plain(tuned)), gr.skip(), refusal(error), gr.skip()
        return
    right = row[1] if text == row[0] else ""  # a row's right answer says nothing of another question
    yield *map(_shown, talks), "", _outcome(right, talks[0][-1]["content"], talks[1][-1]["content"]), gr.skip()


def _as_asked(prompt: Prompt, text: str) -> dict[str, str]:
    """The message where the row belongs. Raises RunError for a prompt that asks for several columns."""
    named = set(PLACEHOLDER.findall(prompt.template))
    if ROW in named:
        return {ROW: text}
    if len(named) == 1:
        return {named.pop(): text}
    raise RunError(
        "The prompt that the chat asks with has a place for each of several columns, and a message is one text.",
        remedy="Press 'Ask without it', or take a prompt with {row}.",
    )


def _label(parts: Iterator[str | Labels]) -> Iterator[Any]:
    """What the model is busy with, then the labels. The text stays: people try others like it."""
    for part in parts:
        busy = isinstance(part, str)
        status = f'<p class="muted">{escaped(part)} …</p>' if busy else ""
        yield *[gr.skip()] * 3, status, gr.skip() if busy else labels_html(part)


def labels_html(found: Labels) -> str:
    """What each head says of a text: its likeliest labels, or its number."""
    parts = []
    for head, answer in found.items():
        shown = _shares(answer) if isinstance(answer, list) else f"<strong>{answer:.4g}</strong>"
        parts.append(f'<p class="label">{escaped(head)}</p>{shown}')
    return "".join(parts)


def _shares(labels: list[tuple[str, float]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(label)}</th><td class="track"><span style="width:{share:.1%}"></span></td>'
        f"<td>{100 * share:.1f} %</td></tr>"
        for label, share in labels[:LABELS_SHOWN]
    )
    return f'<table class="shares">{rows}</table>'


def _outcome(right: str, base: str, tuned: str) -> str:
    """Whether the answers differ and, where the right one is known, how near each came."""
    text = "Both gave the same answer." if base == tuned else "The answers differ."
    if right:
        was, now = score([right], [base]), score([right], [tuned])
        text += "".join(f" {LABELS[k].partition(':')[0]}: base {was[k]:.0%}, tuned {now[k]:.0%}." for k in now)
    return f'<p class="ready" id="chat-outcome">{escaped(text)}</p>'


def _shown(turns: Turns) -> list[dict[str, Any]]:
    """As parts: Gradio strips the indentation of plain strings, which is half of what code says."""
    return [{"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def _plain(turns: Turns) -> Turns:
    """Gradio's messages carry more than a model needs."""
    return [{"role": turn["role"], "content": _text(turn["content"])} for turn in turns]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _folder(page: Page, run_id: str | None) -> RunFolder | None:
    return page.workspace.run(run_id) if run_id else None


def _held_out(folder: RunFolder | None) -> list[Turns]:
    if folder is None or not folder.held_out.exists():
        return []
    with folder.held_out.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _held_out_choices(folder: RunFolder | None) -> list[tuple[str, int]]:
    """The last question of each row → its place, without the words with which all begin."""
    questions = [turns[-2]["content"] if len(turns) > 1 else "" for turns in _held_out(folder)[:HELD_OUT_SHOWN]]
    shared = len(shared_beginning(questions))
    return [(text[shared:].replace("\n", " ")[:120], place) for place, text in enumerate(questions) if text]
