"""Chat: the same prompt to the base model and to the tuned one, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.errors import RunError
from studio.responder import Sampling
from studio.workspace import RunFolder
from tabs._shared import PRIVATE, QUIET, Page, escaped, run_choices, said

TITLE = "Chat"
ORDER = 50
SIDES = (("base", False), ("tuned", True))
Turns = list[dict[str, str]]


def build(page: Page, tab: gr.Tab) -> None:
    """Two conversations that hear the same questions."""
    with gr.Row():
        chooser = gr.Dropdown([], label="Tuned model (run)", interactive=True, elem_id="chat-run", scale=3)
        held_out = gr.Dropdown(
            [],
            label="Try a held-out row: neither model has seen it",
            interactive=True,
            elem_id="chat-held-out",
            scale=4,
        )
    status = gr.HTML("", apply_default_css=False, elem_id="chat-status")
    with gr.Row():
        # Plain text: what a model writes is shown, never rendered.
        sides = [
            gr.Chatbot(
                label=label,
                elem_id=f"chat-{side}",
                render_markdown=False,
                height=380,
                buttons=["copy"],
                placeholder=hint,
            )
            for (side, _), label, hint in zip(
                SIDES,
                ("Base model", "Tuned model"),
                ("As it was before training.", "With what it learnt."),
                strict=True,
            )
        ]
    reference = gr.HTML("", apply_default_css=False, elem_id="chat-reference")
    with gr.Row():
        prompt = gr.Textbox(
            label="Your message to both",
            lines=2,
            max_lines=8,
            scale=6,
            elem_id="chat-prompt",
            placeholder="Write something, or choose a held-out row above.",
        )
        send = gr.Button("Send to both", variant="primary", scale=0, min_width=140, elem_id="chat-send")
        stop = gr.Button("Stop", scale=0, min_width=80)
        clear = gr.Button("Start over", scale=0, min_width=110)
    with gr.Accordion("How answers are drawn", open=False), gr.Row():
        system = gr.Textbox("", label="System prompt", info="Put before the conversation; empty: the template's own.")
        temperature = gr.Slider(0, 2, 0, step=0.05, label="Temperature", info="0 takes the likeliest token each time.")
        top_p = gr.Slider(
            0.05, 1, 1, step=0.05, label="Top p", info="Draws from the likeliest tokens that make up this share."
        )
        length = gr.Slider(8, 1024, 128, step=8, label="Answer length at most (tokens)")
        free = gr.Button("Free the models' memory", size="sm")

    def choices() -> list[tuple[str, str]]:
        return run_choices([state for state in page.store.states() if state.saved])

    def refresh(run_id: str, current: str | None) -> Any:
        found = choices()
        known = [value for _, value in found]
        chosen = next((each for each in (run_id, current) if each in known), known[0] if known else None)
        text = (
            "" if known else '<p class="muted">No tuned model yet: start a run first, it takes about two minutes.</p>'
        )
        return gr.Dropdown(found, value=chosen), gr.Dropdown(_held_out_choices(_folder(page, chosen)), value=None), text

    def pick(run_id: str, index: int | None) -> Any:
        rows = _held_out(_folder(page, run_id))
        if index is None or index >= len(rows):
            return gr.skip(), gr.skip(), ""
        turns = rows[index]
        right = f"<code>{escaped(turns[-1]['content'])}</code>"
        shown = f'<p class="reference"><span class="label">Right answer</span> {right}</p>'
        system_text = turns[0]["content"] if turns[0]["role"] == "system" else ""
        return turns[-2]["content"], system_text, shown

    def answer(
        run_id: str | None,
        text: str,
        system_text: str,
        base: Turns,
        tuned: Turns,
        heat: float,
        mass: float,
        most: float,
    ) -> Iterator[Any]:
        if not (text or "").strip():
            raise RunError("There is nothing to send.", remedy="Write a message, or choose a held-out row.")
        if not run_id:
            raise RunError("There is no tuned model yet.", remedy="Press 'Start training' in the Start tab first.")
        folder = page.workspace.run(run_id)
        asked = {"role": "user", "content": text}
        talks = [[*_plain(base), asked], [*_plain(tuned), asked]]
        sampling = Sampling(max_new_tokens=int(most), temperature=heat, top_p=mass)
        yield *talks, "", '<p class="muted">Waking the model …</p>'
        for side, (_, adapter) in enumerate(SIDES):
            before = [{"role": "system", "content": system_text}] if system_text.strip() else []
            history, said_so_far = [*before, *talks[side]], ""
            for piece in page.responder.ask(folder, history, adapter=adapter, sampling=sampling):
                if piece.kind == "phase":
                    yield *talks, "", f'<p class="muted">{escaped(piece.text)} …</p>'
                    continue
                said_so_far += piece.text
                talks[side] = [*history[len(before) :], {"role": "assistant", "content": said_so_far}]
                yield *talks, "", '<p class="muted">Answering …</p>'
            if not said_so_far:
                talks[side] = [*history[len(before) :], {"role": "assistant", "content": "(it said nothing)"}]
        same = talks[0][-1]["content"] == talks[1][-1]["content"]
        yield *talks, "", f'<p class="muted">{"Both gave the same answer." if same else "The answers differ."}</p>'

    page.run.change(refresh, [page.run, chooser], [chooser, held_out, status], **QUIET)
    tab.select(refresh, [page.run, chooser], [chooser, held_out, status], **QUIET)
    chooser.input(
        lambda run_id: (gr.Dropdown(_held_out_choices(_folder(page, run_id)), value=None), [], [], ""),
        chooser,
        [held_out, *sides, reference],
        **QUIET,
    )
    held_out.input(pick, [chooser, held_out], [prompt, system, reference], **QUIET)
    asking = gr.on(
        [send.click, prompt.submit],
        said(answer),
        [chooser, prompt, system, *sides, temperature, top_p, length],
        [*sides, prompt, status],
        concurrency_id="model",
        concurrency_limit=1,
        trigger_mode="once",
        show_progress="hidden",
        **PRIVATE,
    )
    stop.click(lambda: '<p class="muted">Stopped.</p>', None, status, cancels=[asking], **QUIET)
    clear.click(lambda: ([], [], "", ""), None, [*sides, reference, status], cancels=[asking], **QUIET)
    free.click(
        lambda: page.responder.close() or '<p class="muted">Freed; the next message loads them again.</p>',
        None,
        status,
        **QUIET,
    )


def _plain(turns: Turns) -> Turns:
    """Gradio's messages carry more than a model needs."""
    plain = []
    for turn in turns:
        content: Any = turn["content"]
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content)
        plain.append({"role": turn["role"], "content": content})
    return plain


def _folder(page: Page, run_id: str | None) -> RunFolder | None:
    return page.workspace.run(run_id) if run_id else None


def _held_out(folder: RunFolder | None) -> list[Turns]:
    if folder is None or not folder.held_out.exists():
        return []
    with folder.held_out.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _held_out_choices(folder: RunFolder | None) -> list[tuple[str, int]]:
    rows = _held_out(folder)[:50]
    return [(rows[i][-2]["content"].replace("\n", " ")[-110:], i) for i in range(len(rows)) if len(rows[i]) > 1]
