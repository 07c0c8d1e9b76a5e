"""The next word's probabilities are the model's own, alone and in a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.errors import ModelError
from studio.models.choosing import choose_batch, first_tokens
from studio.models.tiny import tiny_model, tiny_tokenizer

ASKED = [[{"role": "user", "content": "hi " * length}] for length in (3, 9, 1)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def test_probabilities_are_those_of_the_next_token_among_the_words(tokenizer: Any) -> None:
    model = tiny_model()
    found = choose_batch(model, tokenizer, ASKED, ("Yes", "No"), batch_size=2)
    for messages, shares in zip(ASKED, found, strict=True):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            logits = model(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])).logits[0, -1]
        every = logits.softmax(-1)
        yes, no = (sum(every[tokenizer.convert_tokens_to_ids(letter)] for letter in word) for word in ("Yy", "Nn"))
        assert shares == pytest.approx([float(yes / (yes + no)), float(no / (yes + no))], abs=1e-5)


def test_a_stop_leaves_the_rest_out(tokenizer: Any) -> None:
    assert choose_batch(tiny_model(), tokenizer, ASKED, ("Yes", "No"), stop=lambda: True) == []


def test_words_that_begin_alike_cannot_be_told_apart(tokenizer: Any) -> None:
    assert len(first_tokens(tokenizer, ("Yes", "No"))[0]) == 2  # Y and y
    with pytest.raises(ModelError, match="'Yes' and 'yellow'"):
        first_tokens(tokenizer, ("Yes", "yellow"))
