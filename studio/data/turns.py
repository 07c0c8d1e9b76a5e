"""A cell's turns → messages in order, or in a few words why there are none."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": ...}

TURN_KEYS = {"messages": ("role", "content"), "conversations": ("from", "value")}  # format → keys of one turn
_USER, _ASSISTANT = ("user", "human", "prompter"), ("assistant", "gpt", "chatgpt", "bot", "model", "ai")
SPEAKERS = {
    **dict.fromkeys(_USER, "user"),
    **dict.fromkeys(_ASSISTANT, "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):")  # how Anthropic's hh-rlhf writes a conversation in one text
_TOOLS = ("tool", "function", "function_call", "tool_call", "observation", "ipython")


class Unlearnable(Exception):
    """Why a row holds nothing to learn, as the page says it; never seen outside the data layer."""


def as_text(cell: Any) -> str:
    """A cell as a model reads it: nothing for None and NaN, JSON for lists and objects."""
    if cell is None or cell != cell:  # NaN, a missing number in Parquet, is not equal to itself
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    if isinstance(cell, (dict, list, tuple, bool)):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def request_of(messages: Sequence[Message]) -> str:
    """What an answer answers, as one text."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def turns_in(cell: Any) -> list[Any] | None:
    """The list of turns in a cell, or the single one; also as JSON text (as in CSV files) or a transcript that

    begins with a blank line and "Human:". None: no turn at all.
    """
    if isinstance(cell, str) and cell.startswith("\n\nHuman:"):
        _, *parts = _TRANSCRIPT.split(cell)
        return [{"from": who, "value": said.strip()} for who, said in zip(parts[::2], parts[1::2], strict=True)]
    if isinstance(cell, str) and cell.lstrip().startswith(("[", "{")):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    turns = [cell] if isinstance(cell, dict) else cell
    return turns if isinstance(turns, list) and any(map(keys_of, turns)) else None


def keys_of(turn: Any) -> tuple[str, str] | None:
    """The keys under which a turn holds its speaker and what is said; None where it is no turn."""
    if not isinstance(turn, dict):
        return None
    return next((keys for keys in TURN_KEYS.values() if turn.keys() >= set(keys)), None)


def messages_from(turns: Sequence[Any]) -> list[Message]:
    """The turns under the names models know, in whatever order. Raises Unlearnable for a stranger among them."""
    messages = []
    for number, turn in enumerate(turns, start=1):
        keys = keys_of(turn)
        if keys is None:
            raise Unlearnable(f"turn {number} lacks a speaker or a text")
        messages.append({"role": _speaker(turn[keys[0]], number), "content": _spoken(turn[keys[1]])})
    return messages


def up_to_last_answer(messages: list[Message]) -> list[Message]:
    """Without what stands behind the last answer. Raises Unlearnable where there is no answer."""
    end = max((index for index, message in enumerate(messages, start=1) if message["role"] == "assistant"), default=0)
    if not end:
        raise Unlearnable("there is no answer")
    return messages[:end]


def in_order(messages: list[Message]) -> list[Message]:
    """The messages, an empty system prompt left out, if user and assistant take turns behind at most one such.

    The assistant may speak first. Raises Unlearnable for another order and for turns that say nothing.
    """
    before = ""
    for number, message in enumerate(messages, start=1):
        role = message["role"]
        if role == "system" and number > 1:
            raise Unlearnable(f"turn {number} is a system prompt, which can only come first")
        if role == before:
            raise Unlearnable(f"turn {number} is a second '{role}' turn in a row")
        if role != "system" and not message["content"].strip():
            raise Unlearnable("the answer is empty" if role == "assistant" else f"turn {number} is empty")
        before = role
    if all(message["role"] != "user" for message in messages):
        raise Unlearnable("there is no user turn")
    return [message for message in messages if message["role"] != "system" or message["content"].strip()]


def opened(messages: list[Message], system: Any) -> list[Message]:
    """With a system prompt from a column of its own, unless the messages bring one."""
    text = as_text(system)
    if not text.strip() or (messages[:1] and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": text}, *messages]


def _speaker(name: Any, number: int) -> str:
    plain = as_text(name).strip().lower()
    if plain in _TOOLS:
        raise Unlearnable(f"turn {number} belongs to a tool ('{plain}'), which cannot be learnt from here")
    if plain not in SPEAKERS:
        raise Unlearnable(f"turn {number} has the unknown role '{as_text(name)[:40]}'")
    return SPEAKERS[plain]


def _spoken(content: Any) -> str:
    """A turn's text; content given in parts is joined."""
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "".join(as_text(part["text"]) for part in content)
    return as_text(content)
