"""The shapes training data comes in, and the parts a column can play in each."""

from __future__ import annotations

from dataclasses import dataclass

_INSTRUCTIONS = ("instruction", "instructions", "question", "query", "task", "problem")
_INPUTS = ("input", "inputs", "context", "passage")
_ANSWERS = ("output", "outputs", "response", "answer", "completion", "target", "reply", "solution")
_PROMPTS = ("prompt", "input", "inputs", "source", "user", "text", "article", "document", "dialogue")
_COMPLETIONS = (*_ANSWERS, "assistant", "label", "summary", "highlights", "translation")
_SYSTEMS = ("system", "system_prompt", "system_message")


@dataclass(frozen=True)
class Role:
    """One part a column can play. `aliases` are the column names taken for it, best first."""

    name: str
    label: str
    required: bool
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Format:
    """One shape of training data."""

    label: str
    help: str
    roles: tuple[Role, ...]


FORMATS: dict[str, Format] = {
    "messages": Format(
        "Messages",
        'A column with a list of turns such as {"role": "user", "content": "..."}; every assistant turn is learnt.',
        (Role("messages", "Messages", True, ("messages", "conversation", "conversations", "chat", "dialog")),),
    ),
    "conversations": Format(
        "Conversations (ShareGPT)",
        'A column with a list of turns such as {"from": "human", "value": "..."}; every answer is learnt.',
        (
            Role(
                "conversations", "Conversations", True, ("conversations", "conversation", "messages", "chat", "dialog")
            ),
        ),
    ),
    "instruction": Format(
        "Instruction (Alpaca)",
        "A question or task, possibly something it is about, and the answer to learn.",
        (
            Role("instruction", "Instruction", True, _INSTRUCTIONS),
            Role("input", "Input", False, _INPUTS),
            Role("output", "Answer", True, _ANSWERS),
            Role("system", "System prompt", False, _SYSTEMS),
        ),
    ),
    "prompt_completion": Format(
        "Prompt and completion",
        "A prompt and the answer to learn, one pair a row.",
        (
            Role("prompt", "Prompt", True, _PROMPTS),
            Role("completion", "Completion", True, _COMPLETIONS),
            Role("system", "System prompt", False, _SYSTEMS),
        ),
    ),
    "text": Format(
        "Plain text",
        "Text to go on from, without questions or answers; all of it is learnt.",
        (Role("text", "Text", True, ("text", "content", "document", "body", "passage", "paragraph")),),
    ),
}
