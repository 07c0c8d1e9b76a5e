"""Conversations → the text a chat template makes of them, and where in it the answers stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from studio.errors import ModelError

_END_OF_TURN = "<|im_end|>"
# Ends of a turn that some models' configs forget; each counts only where it is one token.
ENDS = (_END_OF_TURN, "<|eot_id|>", "<end_of_turn>", "<|endoftext|>")
_STAND_IN = "\ue000answer\ue000"  # private-use characters: no text and no template holds them

# "chatml" is OpenAI's format, used by Qwen and SmolLM; "plain" is Alpaca's, for models that know no turns;
# "none" joins prompt and completion as they are.
CHAT_TEMPLATES: dict[str, str] = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}{{ '<|im_end|>' }}{{ '\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "plain": (
        "{% for message in messages %}"
        "{% if message['role'] == 'user' %}{{ '### Instruction:\n' }}"
        "{% elif message['role'] == 'assistant' %}{{ '### Response:\n' }}{% endif %}"
        "{{ message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
    "none": (
        "{% for message in messages %}"
        "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% endfor %}"
    ),
}

LossOn = Literal["answers", "last_answer", "everything"]  # which part of a conversation is learnt


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, and (start, end) in characters of each part to learn."""

    text: str
    spans: list[tuple[int, int]]


def chat_template_of(tokenizer: Any) -> Any:
    """The tokenizer's chat template. Raises ModelError for base models, which have none."""
    if not tokenizer.chat_template:
        raise ModelError(
            "This model has no chat template, so it is unknown how it marks questions and answers.",
            remedy="Choose an instruct model, or set 'Chat template' to 'chatml' under the advanced settings.",
        )
    return tokenizer.chat_template


def use_template(tokenizer: Any, choice: Literal["auto", "chatml", "plain", "none"]) -> Any:
    """The tokenizer, with the chosen template set; 'auto' keeps its own. Raises ModelError without one.

    Where `<|im_end|>` is no token of the vocabulary, ChatML's turns end with the model's own end
    token: generation stops at that, and would never see seven tokens that only spell a mark.
    """
    if choice != "auto":
        template = CHAT_TEMPLATES[choice]
        if _END_OF_TURN not in tokenizer.get_vocab():
            template = template.replace(f"{{{{ '{_END_OF_TURN}' }}}}", "{{ eos_token }}")
        tokenizer.chat_template = template
    chat_template_of(tokenizer)
    return tokenizer


def render(messages: list[dict[str, str]], tokenizer: Any, loss_on: LossOn = "answers") -> Rendered:
    """The whole conversation and the spans to learn: by default the assistant's turns, their end marks included.

    A turn begins where the template would let the model begin, and ends where the rendering of the
    conversation up to it ends. Templates that write old turns otherwise than the last (without its
    thoughts, for one) break this; there a stand-in shows where the answer goes.
    """
    text = _template(messages, tokenizer)
    if loss_on == "everything":
        return Rendered(text, [(0, len(text))])
    spans = [
        span
        for index, message in enumerate(messages)
        if message["role"] == "assistant"
        and (span := _by_prefix(text, messages, index, tokenizer) or _by_stand_in(text, messages, index, tokenizer))
    ]
    return Rendered(text, spans[-1:] if loss_on == "last_answer" else spans)


def _template(messages: list[dict[str, str]], tokenizer: Any, **options: Any) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def _by_prefix(text: str, messages: list[dict[str, str]], index: int, tokenizer: Any) -> tuple[int, int] | None:
    """The span of message `index`, where what stands before and up to it are beginnings of `text`."""
    if index == 0:
        return None  # templates cannot render a conversation without a message
    head = _template(messages[:index], tokenizer, add_generation_prompt=True)
    up_to = text if index == len(messages) - 1 else _template(messages[: index + 1], tokenizer)
    if not (text.startswith(up_to) and up_to.startswith(head)):
        return None
    return len(head), len(head) + len(up_to[len(head) :].rstrip())


def _by_stand_in(text: str, messages: list[dict[str, str]], index: int, tokenizer: Any) -> tuple[int, int] | None:
    """The span of message `index`, where all around it stays the same for other content.

    Includes a special token that directly follows: there is no other sign of what ends the turn.
    """
    changed = [*messages[:index], {**messages[index], "content": _STAND_IN}, *messages[index + 1 :]]
    head, found, tail = _template(changed, tokenizer).partition(_STAND_IN)
    start, end = len(head), len(text) - len(tail)
    if not (found and start < end and text.startswith(head) and text.endswith(tail)):
        return None
    behind = tail.lstrip()
    mark = next((token for token in tokenizer.all_special_tokens if behind.startswith(token)), None)
    return start, end + len(tail) - len(behind) + len(mark) if mark else end
