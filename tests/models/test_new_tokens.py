"""New tokens in a model: where their rows begin, that ties hold, and that adapters bring them along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.data.vocabulary import pieces_of
from studio.errors import ModelError
from studio.methods.lora import Lora
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.models.vocabulary import FILE, extend, remembered, restore

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
TERMS = [" hydrant", " naïve"]
TEXT = "a naïve hydrant is a hydrant"


def fresh() -> Any:
    return load(Located(None, "Tiny", "tiny"), placement("float32"))


def untied() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**tiny_model().config.to_dict() | {"tie_word_embeddings": False})
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    return model(input_ids=torch.tensor([tokenizer(TEXT)["input_ids"]])).logits


def trained(model: Any, tokenizer: Any, steps: int = 5) -> Any:
    torch.manual_seed(0)
    model = Lora(r=4).attach(model)
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("make", [tiny_model, untied])
def test_rows_begin_as_the_mean_of_their_pieces(make: Any) -> None:
    model, tokenizer = make(), tiny_tokenizer()
    pieces = pieces_of(tokenizer, TERMS)
    ids = extend(model, tokenizer, TERMS)
    assert model.new_token_ids == ids == [259, 260]
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        for token, parts in zip(ids, pieces, strict=True):
            torch.testing.assert_close(layer.weight[token], layer.weight[parts].mean(dim=0))


def test_what_was_known_stays_and_ties_hold() -> None:
    one = fresh()
    ids = torch.tensor([one.tokenizer("a text of old tokens")["input_ids"]])
    with torch.no_grad():
        before = one.model(input_ids=ids).logits
        extend(one.model, one.tokenizer, TERMS)
        torch.testing.assert_close(one.model(input_ids=ids).logits[..., :259], before)
    assert one.model.get_input_embeddings().weight is one.model.get_output_embeddings().weight


def test_rows_to_spare_are_used_before_a_model_grows() -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.resize_token_embeddings(300, mean_resizing=False)
    extend(model, tokenizer, TERMS)
    assert model.get_input_embeddings().num_embeddings == 300


@pytest.mark.parametrize("tied", [True, False])
def test_just_the_new_rows_learn_and_all_comes_back(tmp_path: Path, tied: bool) -> None:
    one, base, state = fresh(), None, {}
    if not tied:
        base = untied()
        state = {name: weight.clone() for name, weight in base.state_dict().items()}
        one = type(one)(base, one.tokenizer, one.placement, one.located, 0)
    extend(one.model, one.tokenizer, TERMS)
    old = one.model.get_input_embeddings().weight[:259].clone()
    new = one.model.get_input_embeddings().weight[259:].clone()
    model = trained(one.model, one.tokenizer)
    size = save(model, tmp_path / "adapter", remembered(TERMS))
    assert size < 200_000

    again = fresh()
    if base is not None:
        base = untied()
        base.load_state_dict(state)
        again = type(again)(base, again.tokenizer, again.placement, again.located, 0)
    restore(again.model, again.tokenizer, tmp_path / "adapter")
    assert again.tokenizer(TEXT)["input_ids"] == one.tokenizer(TEXT)["input_ids"]
    loaded = attach_saved(again.model, tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded, again.tokenizer), logits(model, one.tokenizer))

    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged, again.tokenizer), logits(model, one.tokenizer), rtol=1e-4, atol=1e-4)
    table = merged.get_input_embeddings().weight
    assert (table is merged.get_output_embeddings().weight) == tied
    torch.testing.assert_close(table[:259], old)
    assert not torch.allclose(table[259:], new)


def test_a_new_token_can_be_written() -> None:
    from studio.models.generate import answer_batch

    one = fresh()
    extend(one.model, one.tokenizer, TERMS)
    chat = [{"role": "user", "content": "b"}]
    prompt = one.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    torch.manual_seed(0)
    model = Lora(r=16, lora_alpha=64).attach(one.model)
    ids = torch.tensor([one.tokenizer(f"{prompt}a hydrant<|im_end|>")["input_ids"]])
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert answer_batch(model.eval(), one.tokenizer, [chat], max_new_tokens=5, adapter=True) == ["a hydrant"]


def test_a_folder_without_new_tokens_changes_nothing(tmp_path: Path) -> None:
    one = fresh()
    restore(one.model, one.tokenizer, tmp_path)
    assert len(one.tokenizer) == one.model.get_input_embeddings().num_embeddings == 259
    assert remembered([]) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"terms": []}', '{"terms": [1]}', '{"terms": "ab"}', "\ud800"])
def test_a_damaged_memory_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ModelError, match="damaged"):
        restore(None, None, tmp_path)
