"""What every method keeps, whoever wrote it: a new file in studio/methods is tested by being there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.methods import Method, methods
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.generate import answer_batch

TINY = Located(None, "Tiny", "tiny")
BATCH = torch.tensor([[1, 87, 85, 71, 84, 201, 74, 75, 2, 201], [1, 67, 85, 85, 75, 201, 70, 71, 2, 201]])

# peft asks transformers under a name that transformers has just renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def base_for(method: Method) -> Any:
    return load(TINY, placement("float32"), method.quantization()).model


def attached(name: str) -> Any:
    method = methods()[name]()
    base = base_for(method)
    torch.manual_seed(0)
    return method.attach(base)


def trainable(model: Any) -> dict[str, torch.Tensor]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def train(model: Any, steps: int = 5) -> list[float]:
    optimizer = torch.optim.AdamW(trainable(model).values(), lr=5e-3)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(input_ids=BATCH, labels=BATCH).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=BATCH).logits


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()
    model(input_ids=BATCH, labels=BATCH).loss.backward()
    return {name: each.grad.clone() for name, each in trainable(model).items() if each.grad is not None}


@pytest.mark.parametrize("name", sorted(methods()))
def test_only_what_it_unfreezes_moves_and_all_of_that(name: str) -> None:
    model = attached(name)
    before = {key: each.detach().clone() for key, each in model.named_parameters()}
    unfrozen = set(trainable(model))
    train(model)
    moved = {key for key, each in model.named_parameters() if not torch.equal(each, before[key])}
    assert unfrozen
    assert moved == unfrozen


@pytest.mark.parametrize("name", sorted(methods()))
def test_step_zero_is_the_base_model(name: str) -> None:
    method = methods()[name]()
    expected = logits(base_for(method))
    torch.testing.assert_close(logits(method.attach(base_for(method)).eval()), expected)


@pytest.mark.parametrize("name", sorted(methods()))
def test_the_loss_falls(name: str) -> None:
    losses = train(attached(name), 10)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_saved_adapter_gives_the_same_logits_on_a_fresh_base(name: str, tmp_path: Path) -> None:
    model = attached(name)
    train(model)
    size = save(model, tmp_path / "adapter")
    assert size == sum(file.stat().st_size for file in (tmp_path / "adapter").iterdir())
    again = attach_saved(base_for(methods()[name]()), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)
    assert not trainable(again)


@pytest.mark.parametrize("name", sorted(methods()))
def test_without_its_adapter_the_tuned_model_is_the_base(name: str) -> None:
    model = attached(name)
    expected = logits(base_for(methods()[name]()))
    train(model)
    assert not torch.allclose(logits(model), expected)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), expected)


@pytest.mark.parametrize("name", sorted(methods()))
def test_answering_in_between_leaves_gradients_as_they_were(name: str) -> None:
    """bitsandbytes packs 4-bit weights at the first eval-mode forward; every later backward is then wrong."""
    model = attached(name)
    tokenizer = load(TINY, placement("float32")).tokenizer
    train(model, 2)
    before = gradients(model)
    answer_batch(model, tokenizer, [[{"role": "user", "content": "hi"}]], max_new_tokens=3, adapter=False)
    model.eval()
    logits(model)
    after = gradients(model)
    assert before.keys() == after.keys() == trainable(model).keys()
    for key, gradient in before.items():
        torch.testing.assert_close(after[key], gradient)


@pytest.mark.parametrize("name", sorted(methods()))
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    model = attached(name)
    expected = gradients(model)
    model.activation_checkpointing_enable()
    found = gradients(model)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient)


@pytest.mark.parametrize("name", sorted(methods()))
def test_notes_are_sentences_on_every_device(name: str) -> None:
    for device in ("cpu", "mps", "cuda"):
        assert all(note.endswith(".") for note in methods()[name]().notes(device))
