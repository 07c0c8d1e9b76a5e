"""The shapes training data comes in, and the parts a column can play in each."""

from __future__ import annotations

from dataclasses import dataclass

_INSTRUCTIONS = ("instruction", "instructions", "question", "query", "task", "problem")
_INPUTS = ("input", "inputs", "context", "passage")
_ANSWERS = ("output", "outputs", "response", "answer", "completion", "target", "reply", "solution")
_PROMPTS = ("prompt", "input", "inputs", "source", "user", "text", "article", "document", "dialogue")
_COMPLETIONS = (*_ANSWERS, "assistant", "label", "summary", "highlights", "translation")
_SYSTEMS = ("system", "system_prompt", "system_message")
_TURNS = ("messages", "conversation", "conversations", "chat", "dialog")
_ASKED = ("prompt", *_INSTRUCTIONS, *_TURNS)  # of an answer that somebody judged
_CHOSEN = ("chosen", "chosen_response", "response_chosen", "preferred", "winner")
_REJECTED = ("rejected", "rejected_response", "response_rejected", "dispreferred", "loser")
_VERDICTS = ("label", "kto_tag", "desirable", "feedback", "thumbs", "rating")
_TEXTS = ("text", "sentence", "review", "message", "content", "comment", "tweet", "utterance", "document", "article")
_KINDS = ("class", "category", "sentiment", "intent", "emotion", "topic", "urgency", "toxicity")


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


_SYSTEM = Role("system", "System prompt", False, _SYSTEMS)
_EXTRA = Role("input", "Input", False, _INPUTS)

# In the order they are tried: a shape that others contain stands before those.
FORMATS: dict[str, Format] = {
    "preference": Format(
        "Preference pairs",
        "A better and a worse answer to one prompt. Methods that learn from preferences use both; "
        "next-token training learns the chosen answer. The prompt may be left out where the answers are whole "
        "conversations.",
        (
            Role("prompt", "Prompt", False, _ASKED),
            _EXTRA,
            Role("chosen", "Chosen answer", True, _CHOSEN),
            Role("rejected", "Rejected answer", True, _REJECTED),
            _SYSTEM,
        ),
    ),
    "unpaired": Format(
        "Answers judged good or bad",
        "A prompt, an answer and whether it is a good one (true or false, 1 or 0, thumbs up or down). "
        "Next-token training learns the good answers and leaves the bad ones out.",
        (
            Role("prompt", "Prompt", False, _ASKED),
            _EXTRA,
            Role("completion", "Answer", True, (*_ANSWERS, *_TURNS)),
            Role("label", "Good or bad", True, _VERDICTS),
            _SYSTEM,
        ),
    ),
    "messages": Format(
        "Messages",
        'A column with a list of turns such as {"role": "user", "content": "..."}; every assistant turn is learnt.',
        (Role("messages", "Messages", True, _TURNS), _SYSTEM),
    ),
    "conversations": Format(
        "Conversations (ShareGPT)",
        'A column with a list of turns such as {"from": "human", "value": "..."}; every answer is learnt.',
        (
            Role("conversations", "Conversations", True, ("conversations", *_TURNS)),
            _SYSTEM,
        ),
    ),
    "instruction": Format(
        "Instruction (Alpaca)",
        "A question or task, possibly something it is about, and the answer to learn.",
        (
            Role("instruction", "Instruction", True, _INSTRUCTIONS),
            _EXTRA,
            Role("output", "Answer", True, _ANSWERS),
            _SYSTEM,
        ),
    ),
    "labelled": Format(
        "Text and labels",
        "A text and the class it belongs to; up to four columns of labels. Next-token training learns to write "
        "the label, or a line for each column of labels.",
        (
            Role("text", "Text", True, _TEXTS),
            Role("label", "Label", True, ("label_text", "label", "labels", "label_1", *_KINDS)),
            Role("label_2", "Second label", False, ("label_2", *_KINDS)),
            Role("label_3", "Third label", False, ("label_3", *_KINDS)),
            Role("label_4", "Fourth label", False, ("label_4", *_KINDS)),
        ),
    ),
    "prompt_completion": Format(
        "Prompt and completion",
        "A prompt and the answer to learn, one pair a row.",
        (
            Role("prompt", "Prompt", True, _PROMPTS),
            Role("completion", "Completion", True, _COMPLETIONS),
            _SYSTEM,
        ),
    ),
    "text": Format(
        "Plain text",
        "Text to go on from, without questions or answers; all of it is learnt.",
        (Role("text", "Text", True, ("text", "content", "document", "body", "passage", "paragraph")),),
    ),
}
