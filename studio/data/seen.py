"""What a model will see of rows: each token, whether it is learnt, and how long the rows are.

Rows go the way they go in training (`tokens.encode_rows`): the same rendering, the same labels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from studio.data.rendering import LossOn, chat_template_of, render
from studio.data.templates import Mapping, explain_row, to_messages, to_text
from studio.data.tokens import IGNORED, check_tokenizer, labels_of
from studio.errors import ModelError


@dataclass(frozen=True, slots=True)
class Piece:
    """One token. The texts of all pieces, joined, are what the tokenizer was given.

    A character spread over several tokens stands with the first of them, and the others have the
    text "". A special token that the tokenizer adds by itself shows its name.
    """

    text: str
    token_id: int
    state: Literal["trained", "masked", "cut"]  # the loss counts it; it is only read; beyond the cut-off
    special: bool


@dataclass(frozen=True)
class Seen:
    """One row as the model sees it. All counts are in tokens."""

    pieces: list[Piece]
    rendered: str  # the row in the chat template, before the cut-off
    tokens: int  # before the cut-off
    trained: int
    cut: int
    reason: str  # why nothing is learnt from it; "" where something is


def see(row: dict[str, Any], mapping: Mapping, tokenizer: Any, max_length: int, loss_on: LossOn = "answers") -> Seen:
    """The row's tokens as training gets them, and those beyond `max_length` too.

    Raises ModelError without a chat template or a fast tokenizer. The first token is read but never
    predicted, so its state is never 'trained'.
    """
    (row_tokens,) = laid_out([row], mapping, tokenizer, loss_on)
    states = row_tokens.states(max_length)
    pieces = _pieces(row_tokens, states, tokenizer)
    counts = Counter(states)
    text = row_tokens.text if mapping.format != "text" else "".join(piece.text for piece in pieces)
    return Seen(pieces, text, len(states), counts["trained"], counts["cut"], row_tokens.why_untrained(max_length))


def warnings(tokenizer: Any, mapping: Mapping, sample_rows: list[dict[str, Any]]) -> list[str]:
    """What is likely to spoil training on such rows with this tokenizer, a sentence each."""
    found = []
    if tokenizer.eos_token_id is None:
        found.append("The tokenizer has no end token, so the model could never stop writing.")
    if mapping.format != "text":
        try:
            chat_template_of(tokenizer)
        except ModelError as error:
            return [*found, str(error)]
    rows = laid_out(sample_rows, mapping, tokenizer)
    return [*found, *_unended(rows, tokenizer), *_typed(sample_rows, mapping, tokenizer)]


def _unended(rows: list[RowTokens], tokenizer: Any) -> list[str]:
    """A warning where answers end with anything but a mark. Plain text has no answers."""
    special = special_ids(tokenizer)
    ends = [ids[-1] for one in rows for span in one.spans if (ids := one.learnt_in(span))]
    words = [end for end in ends if end not in special]
    if not words:
        return []
    example = tokenizer.decode([Counter(words).most_common(1)[0][0]])
    return [
        f"The chat template ends {len(words):,} of {len(ends):,} answers without an end-of-turn token (most often with "
        f"{example!r}), so the model does not learn to stop there."
    ]


def _typed(rows: list[dict[str, Any]], mapping: Mapping, tokenizer: Any) -> list[str]:
    """A warning where the rows' own text holds what the tokenizer takes for a mark."""
    special = special_ids(tokenizer)
    texts = ["\n".join(_own_text(row, mapping)) for row in rows]
    ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    marks = [set(tokens) & special for tokens in ids]
    if not any(marks):
        return []
    names = ", ".join(sorted(repr(tokenizer.convert_ids_to_tokens(token)) for token in set().union(*marks)))
    holding = sum(map(bool, marks))
    return [
        f"The text of {holding:,} of {len(rows):,} rows holds {names}, which the model reads as a mark, not as text."
    ]


def _own_text(row: dict[str, Any], mapping: Mapping) -> list[str]:
    if mapping.format == "text":
        return [to_text(row, mapping)]
    return [message["content"] for message in to_messages(row, mapping) or []]


def special_ids(tokenizer: Any) -> set[int]:
    """Tokens that are marks rather than text."""
    marked = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return marked | set(tokenizer.all_special_ids)


@dataclass
class RowTokens:
    """One row's tokens before the cut-off; all lists but `spans` have one entry a token."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)  # in characters of `text`
    labels: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # of `text`: what is learnt
    unreadable: str = ""  # why there are no tokens

    def learnt_in(self, span: tuple[int, int]) -> list[int]:
        """The learnt tokens that have a character of the span."""
        labels = labels_of(self.ids, self.offsets, [span])
        return [label for label in labels if label != IGNORED]

    def states(self, max_length: int) -> list[Literal["trained", "masked", "cut"]]:
        return [
            "cut" if place >= max_length else "masked" if place == 0 or label == IGNORED else "trained"
            for place, label in enumerate(self.labels)
        ]

    def why_untrained(self, max_length: int) -> str:
        """'' where a token within the cut-off is learnt."""
        if self.unreadable or any(label != IGNORED for label in self.labels[1:max_length]):
            return self.unreadable
        if any(label != IGNORED for label in self.labels[1:]):
            return f"The answer begins beyond the cut-off of {max_length:,} tokens."
        return "The chat template leaves no token of an answer to learn."


def laid_out(
    rows: list[dict[str, Any]], mapping: Mapping, tokenizer: Any, loss_on: LossOn = "answers"
) -> list[RowTokens]:
    """Each row's tokens, before the cut-off. Raises ModelError."""
    chat = mapping.format != "text"
    if chat:
        check_tokenizer(tokenizer)
    found = [_rendered(row, mapping, tokenizer, loss_on) if chat else _text(row, mapping) for row in rows]
    readable = [one for one in found if not one.unreadable]
    if readable:
        batch = tokenizer(
            [one.text for one in readable],
            add_special_tokens=not chat,  # a chat template has written them already
            return_offsets_mapping=True,
            verbose=False,
        )
        for one, ids, offsets in zip(readable, batch["input_ids"], batch["offset_mapping"], strict=True):
            one.ids, one.offsets = list(ids), list(offsets)
            one.labels = labels_of(ids, offsets, one.spans) if chat else _end(one, tokenizer)
    return found


def _rendered(row: dict[str, Any], mapping: Mapping, tokenizer: Any, loss_on: LossOn) -> RowTokens:
    from jinja2 import TemplateError

    messages = to_messages(row, mapping)
    if messages is None:
        why = explain_row(row, mapping).rstrip(".")
        return RowTokens(unreadable=f"{why[:1].upper()}{why[1:]}.")
    try:
        rendered = render(messages, tokenizer, loss_on)
    except TemplateError as error:
        return RowTokens(unreadable=f"The model's chat template refuses it: {str(error)[:200].rstrip('.')}.")
    return RowTokens(rendered.text, spans=rendered.spans)


def _text(row: dict[str, Any], mapping: Mapping) -> RowTokens:
    text = to_text(row, mapping)
    return RowTokens(text) if text.strip() else RowTokens(unreadable="It holds no text.")


def _end(one: RowTokens, tokenizer: Any) -> list[int]:
    """Plain text is learnt whole, the end token too, as `tokens.encode_text` has it."""
    if tokenizer.eos_token_id is not None and one.ids[-1:] != [tokenizer.eos_token_id]:
        one.ids.append(tokenizer.eos_token_id)
        one.offsets.append((len(one.text), len(one.text)))
    return list(one.ids)


def _pieces(one: RowTokens, states: list[Any], tokenizer: Any) -> list[Piece]:
    special, pieces, shown = special_ids(tokenizer), [], 0
    for place, (token, (_, end)) in enumerate(zip(one.ids, one.offsets, strict=True)):
        # What the tokenizer dropped between two tokens is shown with the second, at the end with the last.
        end = len(one.text) if place == len(one.ids) - 1 else end
        text = one.text[shown:end]
        if not text and token in special:
            text = tokenizer.convert_ids_to_tokens(token)
        pieces.append(Piece(text, token, states[place], token in special))
        shown = max(shown, end)
    return pieces
