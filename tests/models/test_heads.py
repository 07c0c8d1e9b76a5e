"""Heads on real bodies: a tiny BERT, which reads both ways, and the tiny Llama, which reads forward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from studio.adapter import attach_saved, save
from studio.data.labels import Head
from studio.errors import ModelError
from studio.methods import methods
from studio.methods.lora import Lora
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.heads import Headed, pad, predict
from studio.models.tiny import tiny_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning"),
]

HEADS = [
    Head("topic", "classes", ("price", "quality", "service")),
    Head("tags", "labels", ("cheap", "fast")),
    Head("stars", "number", mean=3.0, scale=1.5),
]
ROWS = [[87, 85, 71, 84], [67, 85], [201, 74, 75, 200, 210, 76]]


def tiny_bert() -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=259,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def tiny_llama() -> Any:
    return load(Located(None, "Tiny", "tiny"), placement("float32"), writes=False).model


BODIES = {"bert": tiny_bert, "llama": tiny_llama}


def headed(body: str) -> Headed:
    torch.manual_seed(1)
    return Headed(Lora(r=4).attach(BODIES[body]()), HEADS).eval()


@torch.no_grad()
def outputs(model: Any, rows: list[list[int]]) -> list[torch.Tensor]:
    return model(**pad(rows, 0))


@pytest.mark.parametrize("body", BODIES)
def test_a_text_gets_the_same_outputs_alone_and_padded_in_a_batch(body: str) -> None:
    model = headed(body)
    together = outputs(model, ROWS)
    assert [each.shape for each in together] == [(3, 3), (3, 2), (3, 1)]
    for i, row in enumerate(ROWS):
        for alone, batched in zip(outputs(model, [row]), together, strict=True):
            torch.testing.assert_close(alone[0], batched[i], rtol=1e-4, atol=1e-5)


def test_a_causal_model_is_read_at_its_last_token_and_an_encoder_as_a_mean() -> None:
    for body in BODIES:
        model = headed(body)
        hidden = model.backbone(input_ids=torch.tensor([ROWS[0]])).last_hidden_state[0]
        pooled = hidden[-1] if body == "llama" else hidden.mean(dim=0)
        torch.testing.assert_close(outputs(model, [ROWS[0]])[0][0], model.heads[0](pooled))


READERS = [name for name, method in methods().items() if not method.writes_only and method().quantization() is None]


@pytest.mark.parametrize("name", READERS)
def test_every_method_learns_on_an_encoder_and_comes_back(name: str, tmp_path: Path) -> None:
    method = methods()[name]()
    torch.manual_seed(0)
    model = Headed(method.attach(tiny_bert(), 2), HEADS)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)
    before = outputs(model, ROWS)
    for step in (1, 2):
        sum(each.square().sum() for each in model(**pad(ROWS, 0))).backward()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
        method.after_step(model, step)
        optimizer.zero_grad()
    model.eval()
    assert not torch.allclose(outputs(model, ROWS)[0], before[0])
    save(model, tmp_path / "adapter")
    again = attach_saved(tiny_bert(), tmp_path / "adapter")
    for now, then in zip(outputs(again, ROWS), outputs(model, ROWS), strict=True):
        torch.testing.assert_close(now, then, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("body", BODIES)
def test_what_was_saved_answers_the_same_on_a_fresh_body(body: str, tmp_path: Path) -> None:
    model = headed(body)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    sum(each.square().sum() for each in model(**pad(ROWS, 0))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()
    size = save(model, tmp_path / "adapter")
    files = {path.name: path.stat().st_size for path in (tmp_path / "adapter").iterdir()}
    assert files.keys() == {"adapter_config.json", "adapter_model.safetensors", "heads.json", "heads.safetensors"}
    assert size == sum(files.values())
    again = attach_saved(BODIES[body](), tmp_path / "adapter")
    assert again.specs == tuple(HEADS)
    for now, before in zip(outputs(again, ROWS), outputs(model, ROWS), strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=0)
    assert not any(each.requires_grad for each in again.parameters())
    with again.disable_adapter():  # the heads over the body as it was
        assert not torch.allclose(outputs(again, ROWS)[0], outputs(model, ROWS)[0])


@pytest.mark.parametrize("body", BODIES)
def test_heads_and_adapter_learn_and_the_body_does_not(body: str) -> None:
    model = headed(body)
    learning = {name for name, each in model.named_parameters() if each.requires_grad}
    sum(each.square().sum() for each in model(**pad(ROWS, 0))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    with_gradient = {name for name, each in model.named_parameters() if each.grad is not None}
    assert with_gradient == learning
    assert {name for name in learning if name.startswith("heads.")} == {
        f"heads.{i}.{part}" for i in range(3) for part in ("weight", "bias")
    }
    assert all("lora_" in name for name in learning if name.startswith("backbone."))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = headed("bert").train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.activation_checkpointing_enable()
        sum(each.square().sum() for each in model(**pad(ROWS, 0))).backward()  # pyright: ignore[reportAttributeAccessIssue]
        gradients.append({name: each.grad for name, each in model.named_parameters() if each.grad is not None})
    torch.testing.assert_close(gradients[1], gradients[0])


def test_a_text_is_told_its_labels_with_probabilities_and_its_numbers_in_their_unit() -> None:
    model = headed("llama")
    torch.nn.init.zeros_(model.heads[2].weight)  # pyright: ignore[reportArgumentType]
    torch.nn.init.constant_(model.heads[2].bias, 2.0)  # pyright: ignore[reportArgumentType]
    texts = ["A long lamp.", "", "Cheap"]
    said = predict(model, tiny_tokenizer(), texts, 64, batch_size=2)
    assert len(said) == 3
    for each in said:
        topic, tags = each["topic"], each["tags"]
        assert isinstance(topic, list)
        assert isinstance(tags, list)
        assert sum(share for _, share in topic) == pytest.approx(1)
        assert [share for _, share in topic] == sorted((share for _, share in topic), reverse=True)
        assert {label for label, _ in tags} == {"cheap", "fast"}
        assert each["stars"] == pytest.approx(2.0 * 1.5 + 3.0)
    alone, batched = predict(model, tiny_tokenizer(), ["Cheap"], 64)[0]["topic"], said[2]["topic"]
    assert dict(alone) == pytest.approx(dict(batched))  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_damaged_heads_and_those_of_another_body_are_sentences(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save(headed("llama"), folder)
    about = json.loads((folder / "heads.json").read_text())
    about["heads"][0]["labels"].append("one too many")
    (folder / "heads.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="heads beside the adapter"):
        attach_saved(tiny_llama(), folder)
    (folder / "heads.json").write_text("{")
    with pytest.raises(ModelError, match="heads beside the adapter"):
        attach_saved(tiny_llama(), folder)
