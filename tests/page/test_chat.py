"""What a model wrote must come back to it as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr

from studio.config import RunConfig
from studio.responder import Responder
from studio.store import Store
from studio.workspace import Workspace
from tabs.chat import LABELS_SHOWN, _ask, _plain, _shown, labels_html

CODE = "def f(x):\n    return x\n"


def test_indentation_goes_to_the_page_and_back() -> None:
    chatbot = gr.Chatbot(render_markdown=False)
    parts: Any = _shown([{"role": "assistant", "content": CODE}])
    returned: Any = chatbot.preprocess(chatbot.postprocess(parts))
    assert _plain(returned) == [{"role": "assistant", "content": CODE}]


def test_labels_are_shown_as_text_the_likeliest_few() -> None:
    shown = labels_html({"<i>mood</i>": [(f"<b>{i}</b>", 1 / (i + 2)) for i in range(9)], "stars": 4.25})
    assert shown.count("<tr>") == LABELS_SHOWN
    assert "&lt;b&gt;0&lt;/b&gt;" in shown
    assert "&lt;i&gt;mood&lt;/i&gt;" in shown
    assert "50.0 %" in shown
    assert "4.25" in shown
    assert "<b>" not in shown


def test_an_answer_that_cannot_be_had_leaves_both_talks_as_they_were(workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    responder = Responder(workspace)
    page: Any = SimpleNamespace(workspace=workspace, store=Store(workspace), responder=responder)
    talk = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}]
    try:
        *_, (base, tuned, prompt, status, _) = _ask(page, folder.id, "now", "", talk, talk, ("", ""), 0, 1, 8)
    finally:
        responder.close()
    assert _plain(base) == _plain(tuned) == talk
    assert prompt == gr.skip()  # what was asked can be asked again
    assert "This run saved no adapter." in status
