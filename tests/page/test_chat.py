"""What a model wrote must come back to it as it was."""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.chat import _plain, _shown

CODE = "def f(x):\n    return x\n"


def test_indentation_goes_to_the_page_and_back() -> None:
    chatbot = gr.Chatbot(render_markdown=False)
    parts: Any = _shown([{"role": "assistant", "content": CODE}])
    returned: Any = chatbot.preprocess(chatbot.postprocess(parts))
    assert _plain(returned) == [{"role": "assistant", "content": CODE}]
