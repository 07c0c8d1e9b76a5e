"""How each format is read: a row's cells by role → messages whose last is an answer to learn.

Readers raise Unlearnable where a row holds none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.data.turns import (
    Message,
    Unlearnable,
    as_text,
    in_order,
    messages_from,
    opened,
    turns_in,
    up_to_last_answer,
)

Cells = dict[str, Any]  # role → cell

_GOOD = ("true", "1", "1.0", "+1", "yes", "good", "up", "thumbs up", "👍", "positive", "desirable", "like", "liked")
_BAD = ("false", "0", "0.0", "-1", "no", "bad", "down", "thumbs down", "👎", "negative", "undesirable", "dislike")


def pair(cells: Cells) -> tuple[list[Message], str, str]:
    """(prompt, chosen answer, rejected answer). A whole conversation in place of an answer brings its own prompt."""
    chosen_to, chosen = _answer(cells.get("chosen"), "chosen answer")
    rejected_to, rejected = _answer(cells.get("rejected"), "rejected answer")
    if chosen_to and rejected_to and chosen_to != rejected_to:
        raise Unlearnable("the two conversations differ before their last answers")
    if chosen == rejected:
        raise Unlearnable("both answers are the same")
    return _prompt(cells, chosen_to or rejected_to, chosen), chosen, rejected


def labelled_answer(cells: Cells) -> tuple[list[Message], str, bool]:
    """(prompt, answer, whether it is a good one)."""
    good = verdict(cells.get("label"))
    if good is None:
        raise Unlearnable(f"the label '{as_text(cells.get('label'))[:40]}' says neither good nor bad")
    brought, answer = _answer(cells.get("completion"), "answer")
    return _prompt(cells, brought, answer), answer, good


def labels(cells: Cells) -> tuple[str, dict[str, str]]:
    """(text, role → label); labels that a row lacks are left out."""
    text = as_text(cells.get("text"))
    if not text.strip():
        raise Unlearnable("the text is empty")
    found = {role: as_text(cell).strip() for role, cell in cells.items() if role != "text"}
    found = {role: label for role, label in found.items() if label}
    if not found:
        raise Unlearnable("there is no label")
    return text, found


def verdict(cell: Any) -> bool | None:
    """Whether a cell says good or bad; None: neither."""
    said = as_text(cell).strip().lower().replace("_", " ").replace("-up", " up").replace("-down", " down")
    return True if said in _GOOD else False if said in _BAD else None


def _conversation(cells: Cells) -> list[Message]:
    turns = turns_in(cells.get("messages", cells.get("conversations")))
    if turns is None:
        raise Unlearnable("there is no list of turns")
    return opened(in_order(up_to_last_answer(messages_from(turns))), cells.get("system"))


def _single(cells: Cells) -> list[Message]:
    prompt = _joined(cells, "instruction", "input", "prompt")
    answer = as_text(cells.get("output", cells.get("completion")))
    if not prompt:
        raise Unlearnable("the prompt is empty")
    if not answer.strip():
        raise Unlearnable("the answer is empty")
    return opened([_user(prompt), _assistant(answer)], cells.get("system"))


def _preferred(cells: Cells) -> list[Message]:
    prompt, chosen, _ = pair(cells)
    return [*prompt, _assistant(chosen)]


def _good(cells: Cells) -> list[Message]:
    prompt, answer, good = labelled_answer(cells)
    if not good:
        raise Unlearnable("the answer is a bad one: nothing to imitate")
    return [*prompt, _assistant(answer)]


def _text(cells: Cells) -> list[Message]:
    if not as_text(cells.get("text")).strip():
        raise Unlearnable("the text is empty")
    return []


READERS: dict[str, Callable[[Cells], list[Message]]] = {
    "preference": _preferred,
    "unpaired": _good,
    "messages": _conversation,
    "conversations": _conversation,
    "instruction": _single,
    "prompt_completion": _single,
    "text": _text,
}


def _answer(cell: Any, name: str) -> tuple[list[Message], str]:
    """(what it answers, where the cell says so; the answer): a text, a turn, or turns with or without the prompt's."""
    turns = turns_in(cell)
    messages = messages_from(turns) if turns else [_assistant(as_text(cell))]
    *before, last = up_to_last_answer(messages)
    if not last["content"].strip():
        raise Unlearnable(f"the {name} is empty")
    return before, last["content"]


def _prompt(cells: Cells, brought: list[Message], answer: str) -> list[Message]:
    """The messages before an answer: those it brought along, else the prompt's own."""
    turns = None if brought else turns_in(cells.get("prompt"))
    if turns:
        brought = messages_from(turns)
        if brought[-1]["role"] == "assistant":
            raise Unlearnable("the prompt ends with an answer")
    elif not brought:
        text = _joined(cells, "prompt", "input")
        if not text:
            raise Unlearnable("the prompt is empty")
        brought = [_user(text)]
    return opened(in_order([*brought, _assistant(answer)])[:-1], cells.get("system"))


def _joined(cells: Cells, *roles: str) -> str:
    parts = [as_text(cells.get(role)) for role in roles]
    return "\n\n".join(part for part in parts if part.strip())


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}
