"""Every method learns the same whichever way rows go through the model, and nearly the same in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from studio.methods import methods
from studio.methods.qlora import Qlora
from studio.models.base import load, placement
from studio.models.tiny import tiny_model
from studio.training.batching import collate
from studio.training.losses import answer_loss
from studio.training.route import Padded, Route, SideBySide, choose
from tests.methods.test_method_contract import ALL, PLAIN, READING, TINY, attached, pytestmark, reader, trainable

__all__ = ["pytestmark"]  # what warns there warns here

_RANDOM = torch.Generator().manual_seed(0)
ROWS = [torch.randint(3, 259, (length,), generator=_RANDOM).tolist() for length in (9, 1, 17, 5)]
BATCH = collate([{"input_ids": row, "labels": row} for row in ROWS])
PROMPTS = ("prefix", "prompt", "ptuning")


def moved(model: Any) -> Any:
    """As after some updates, so that no gradient is zero because a factor still is."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainable(model).values():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return model


def learnt(route: Route) -> tuple[float, dict[str, Tensor]]:
    """The loss and its gradients; of a model that only reads, the loss is the mean square of its states."""
    model: Any = route.model  # pyright: ignore[reportAttributeAccessIssue]
    model.zero_grad()
    with route.running():
        if model.get_base_model().get_output_embeddings() is None:
            loss = route.states(BATCH).float().square().mean()
        else:
            total, labelled = answer_loss(route, BATCH)
            loss = total / labelled
        loss.backward()
    return loss.item(), {name: each.grad.clone() for name, each in trainable(model).items() if each.grad is not None}


def cosine(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    one, other = (torch.cat([each[name].flatten() for name in expected]) for each in (found, expected))
    return torch.nn.functional.cosine_similarity(one, other, dim=0).item()


def assert_same(name: str, base: Any) -> None:
    model = moved(attached(name, base)).eval()
    if name in PROMPTS:
        assert choose(model).reason
        return
    loss, found = learnt(choose(model))
    assert isinstance(choose(model), SideBySide)
    other_loss, expected = learnt(Padded(model, None))
    assert loss == pytest.approx(other_loss, rel=1e-5)
    assert found.keys() == expected.keys() == trainable(model).keys()
    for key, gradient in expected.items():
        assert (found[key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, key


@pytest.mark.parametrize("name", ALL)
def test_side_by_side_it_learns_what_it_learns_padded(name: str) -> None:
    assert_same(name, None)


@pytest.mark.parametrize("name", READING)
def test_on_a_model_that_only_reads_too(name: str) -> None:
    assert_same(name, reader())


@pytest.mark.parametrize("base", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", PLAIN)
def test_products_in_bfloat16_lead_where_exact_ones_do(name: str, base: torch.dtype) -> None:
    if base == torch.bfloat16 and methods()[name].dtype == "float32":
        pytest.skip("it loads the base in float32")
    exact = moved(attached(name, tiny_model().to(base).float())).eval()
    coarse = moved(attached(name, tiny_model().to(base))).eval()
    coarse.load_state_dict(exact.state_dict())
    loss, expected = learnt(choose(exact))
    found_loss, found = learnt(choose(coarse, torch.bfloat16))
    assert {each.dtype for each in found.values()} == {torch.float32}
    assert found_loss == pytest.approx(loss, rel=0.01)
    assert cosine(found, expected) > 0.99


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_eight_bits_that_are_rounded_by_the_whole_batch_are_no_leak(dtype: Any) -> None:
    method = Qlora(bits="8")
    base = load(TINY, placement(dtype), method.quantization()).model
    assert isinstance(choose(method.attach(base, 1), torch.bfloat16 if dtype == "bfloat16" else None), SideBySide)
