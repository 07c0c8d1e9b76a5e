"""Base and tuned model answer held-out prompts; what is too long for them is left out and counted."""

from __future__ import annotations

from typing import Any

import pytest

from studio.errors import ModelError
from studio.evaluation.answers import compare
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model, tiny_tokenizer

QUIET: dict[str, Any] = {"stop": lambda: False, "progress": lambda done, total: None, "max_new_tokens": 4}


def row(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_row_longer_than_the_model_reads_is_left_out_and_counted() -> None:
    model, tokenizer = Lora(r=4).attach(tiny_model()), tiny_tokenizer()
    found = compare(model, tokenizer, [row("a"), row("x" * 2100), row("b")], **QUIET)
    assert [each["prompt"] for each in found.examples] == ["a", "b"]
    assert found.left_out == 1
    with pytest.raises(ModelError, match="Every held-out conversation is longer"):
        compare(model, tokenizer, [row("x" * 2100)], **QUIET)
