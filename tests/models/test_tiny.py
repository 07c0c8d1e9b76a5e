"""The tiny model and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer

from studio.models.tiny import tiny_model, tiny_tokenizer


def test_one_seed_makes_one_model_and_another_seed_another() -> None:
    first, same, other = (tiny_model(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    tiny_model()
    assert torch.equal(torch.get_rng_state(), before)


def test_embeddings_are_tied_and_match_the_vocabulary() -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == 259


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    for text in ("héllo 🙂\n\ttab  two", "日本語", "\x00\x7f", "a<|im_start|>b"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_padding_is_not_the_end_of_a_turn() -> None:
    tokenizer = tiny_tokenizer()
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_it_speaks_chatml_without_a_system_prompt_of_its_own() -> None:
    messages = [{"role": "user", "content": "hi"}]
    text = tiny_tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_the_tokenizer_survives_the_disk(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == tokenizer.chat_template
    assert again("hé")["input_ids"] == tokenizer("hé")["input_ids"]
    assert again.pad_token_id == tokenizer.pad_token_id
