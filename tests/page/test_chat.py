"""What a model wrote must come back to it as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio.config import RunConfig
from studio.errors import RunError
from studio.prompt import Demonstration, Prompt
from studio.responder import Piece, Responder
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


class Echo:
    """A responder that answers every talk alike and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, str]]] = []

    def ask(self, folder: object, messages: list[dict[str, str]], **how: object) -> Any:
        self.asked.append(messages)
        yield Piece("text", "ok")


def test_what_a_search_found_stands_around_each_message(workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    echo = Echo()
    page: Any = SimpleNamespace(workspace=workspace, store=Store(workspace), responder=echo)
    shown = Demonstration(fields={"row": "{row} of old"}, answer="yes")
    prompt = Prompt(system="Be exact.", template="Say: {row}", demonstrations=(shown,))
    framing = {"title": "t", "prompt": prompt.model_dump(mode="json")}
    *_, (base, _, _, _, _) = _ask(page, folder.id, "now", "Be quick.", [], [], ("", ""), 0, 1, 8, framing)
    first = ["Be quick.", "Say: {row} of old", "yes", "Say: now"]  # the system text as the person left it
    assert [[each["content"] for each in asked] for asked in echo.asked] == [first, first]
    [*_] = _ask(page, folder.id, "then", "Be quick.", _plain(base), _plain(base), ("", ""), 0, 1, 8, framing)
    assert [each["content"] for each in echo.asked[-1]] == [*first, "ok", "Say: then"]


def test_a_prompt_with_one_column_takes_the_message_and_one_with_several_is_refused(workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    echo = Echo()
    page: Any = SimpleNamespace(workspace=workspace, store=Store(workspace), responder=echo)

    def ask(template: str) -> None:
        framing = {"title": "t", "prompt": Prompt(template=template).model_dump(mode="json")}
        [*_] = _ask(page, folder.id, "now", "", [], [], ("", ""), 0, 1, 8, framing)

    ask("Sort {text}!")
    assert echo.asked[0][-1]["content"] == "Sort now!"
    with pytest.raises(RunError, match="several columns"):
        ask("{question} {context}")


class Swift(Echo):
    """One that writes faster than anybody reads."""

    def ask(self, folder: object, messages: list[dict[str, str]], **how: object) -> Any:
        yield from (Piece("text", f"{i} ") for i in range(1000))


def test_a_swift_answer_is_whole_and_not_drawn_anew_for_each_token(workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    page: Any = SimpleNamespace(workspace=workspace, store=Store(workspace), responder=Swift())
    shown = list(_ask(page, folder.id, "count", "", [], [], ("", ""), 0, 1, 8))
    assert len(shown) < 200
    whole = "".join(f"{i} " for i in range(1000))
    assert [_plain(side)[-1]["content"] for side in shown[-1][:2]] == [whole, whole]
