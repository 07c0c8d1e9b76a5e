"""Rows → prompts that a model is to answer, each with what would have been right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from studio.data.rendering import chat_template_of
from studio.data.templates import Mapping, explain_row, to_messages
from studio.data.tokenised import Tokenised, tokenised
from studio.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Prompted:
    """One prompt as a model takes it, up to where its answer begins."""

    input_ids: list[int]
    prompt: str  # the last message, as its author wrote it
    reference: str  # the right answer
    before: str  # the messages before the last one, as JSON; '' for none


def encode_prompts(
    rows: Sequence[dict[str, Any]],
    mapping: Mapping,
    tokenizer: Any,
    longest: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tokenised[Prompted], dict[str, int]]:
    """The prompts of at most `longest` tokens, in order, and how many rows were 'long' or 'empty'.

    A prompt is never cut: its question stands at its end. Raises DatasetError where no row is left.
    """
    chat_template_of(tokenizer)
    kept: list[Prompted] = []
    counts, why = {"long": 0, "empty": 0}, ""
    for done, row in enumerate(rows, 1):
        messages = to_messages(row, mapping)
        ids = _ids(messages[:-1], tokenizer) if messages and len(messages) > 1 else None
        if ids is None or not messages:
            why = why or explain_row(row, mapping)
            counts["empty"] += 1
        elif len(ids) > longest:
            counts["long"] += 1
        else:
            before = json.dumps(messages[:-2], ensure_ascii=False) if messages[:-2] else ""
            kept.append(Prompted(ids, messages[-2]["content"], messages[-1]["content"], before))
        if progress and done % 256 == 0:
            progress(done, len(rows))
    if not kept and counts["long"]:
        raise DatasetError(
            f"Each of the {counts['long']:,} prompts is longer than {longest:,} tokens.",
            remedy="Raise 'Cut-off length', or lower 'Longest answer': both share that room.",
        )
    if not kept:
        raise DatasetError(
            f"None of the {len(rows):,} rows holds a prompt to answer{f': in the first, {why}' if why else ''}.",
            remedy="Choose which column plays which part under 'Columns' in the Dataset tab.",
        )
    return tokenised(Prompted, kept), counts


def _ids(messages: list[dict[str, str]], tokenizer: Any) -> list[int] | None:
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError:  # it refuses this conversation
        return None
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # the template wrote them already
