"""Rows as prompts to be answered."""

from __future__ import annotations

import json

from studio.data.prompts import encode_prompts
from studio.data.templates import Mapping
from studio.models.tiny import tiny_tokenizer


def test_a_conversation_is_asked_whole() -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "Who?"),
        ("assistant", "Me."),
        ("user", "And why?"),
        ("assistant", "So."),
    ]
    messages = [{"role": role, "content": content} for role, content in turns]
    rows = [{"messages": messages}, {"messages": messages[3:]}]
    mapping = Mapping(format="messages", columns={"messages": "messages"})
    (long, short), counts = encode_prompts(rows, mapping, tiny_tokenizer(), 500)
    assert (long.prompt, long.reference) == (short.prompt, short.reference) == ("And why?", "So.")
    assert json.loads(long.before) == messages[:3]
    assert short.before == ""
    asked = tiny_tokenizer().decode(long.input_ids)
    assert "Be brief." in asked
    assert "Me." in asked
    assert counts == {"long": 0, "empty": 0}
