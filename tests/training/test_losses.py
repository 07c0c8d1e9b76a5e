"""Our loss is transformers' loss, computed in fewer places."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.models.tiny import tiny_model
from studio.training import losses
from studio.training.batching import Batch, collate, padded
from studio.training.losses import answer_loss, mean_answer_loss, summed_cross_entropy
from studio.training.route import Padded, Route, SideBySide


def row(length: int, learnt_from: int, seed: int) -> dict[str, list[int]]:
    ids = torch.randint(0, 200, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return {"input_ids": ids, "labels": [-100] * learnt_from + ids[learnt_from:]}


ROWS = [row(9, 5, 1), row(14, 0, 2), row(6, 2, 3)]  # the second is learnt whole, but for its first token


@pytest.fixture
def batch() -> Batch:
    return collate(ROWS)


def plain_loss(model: Any, batch: Batch) -> torch.Tensor:
    """What the library computes from full logits: the mean over labelled tokens."""
    lengths = batch["lengths"].tolist()
    ids, mask = padded(batch["input_ids"], lengths, 0)
    labels, _ = padded(batch["labels"], lengths, -100)
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


@pytest.mark.parametrize("kind", [SideBySide, Padded])
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_loss_and_gradients_equal_the_plain_path(
    kind: type[SideBySide | Padded], at_once: int, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", (at_once * 259,) * 2)
    ours, theirs = tiny_model(), tiny_model()
    loss, labelled = answer_loss(kind(ours, None), batch)
    assert labelled == 4 + 13 + 4
    (loss / labelled).backward()
    reference = plain_loss(theirs, batch)
    reference.backward()
    torch.testing.assert_close(loss / labelled, reference)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_prompts_and_padding_never_meet_the_vocabulary(batch: Batch) -> None:
    model = tiny_model()
    seen = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    answer_loss(SideBySide(model, None), batch)
    assert max(seen) == 21  # the labelled tokens, of 29


def test_a_model_without_logits_to_keep_gives_the_same(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    route = Padded(tiny_model(), None)
    expected, _ = answer_loss(route, batch)
    whole = route.inner.forward

    def forward(input_ids: Any, attention_mask: Any, use_cache: bool) -> Any:
        return whole(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(route.inner, "forward", forward)
    torch.testing.assert_close(answer_loss(route, batch)[0], expected)


@pytest.mark.parametrize("kind", [SideBySide, Padded])
@pytest.mark.parametrize("lonely", [row(5, 5, 1), row(1, 0, 1)])
def test_a_batch_without_labels_is_no_loss_and_no_nan(kind: type[SideBySide | Padded], lonely: Any) -> None:
    model = tiny_model()
    loss, labelled = answer_loss(kind(model, None), collate([lonely]))
    loss.backward()
    assert (float(loss.detach()), labelled) == (0.0, 0)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_the_mean_is_over_tokens_not_batches() -> None:
    route: Route = SideBySide(tiny_model(), None)
    together = mean_answer_loss(route, [collate(ROWS)])
    apart = mean_answer_loss(route, [collate([each]) for each in ROWS])
    assert together == pytest.approx(apart, rel=1e-4)


def test_cross_entropy_by_hand() -> None:
    """Two equal logits of two: log 2 nats; slope softmax - one-hot, through a head that doubles."""
    states = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = summed_cross_entropy(states, torch.tensor([0, 1]), lambda each: 2 * each, [], 1)
    (3 * loss).backward()
    assert float(loss.detach()) == pytest.approx(2 * 0.6931472)
    assert states.grad is not None
    assert states.grad.tolist() == [[-3.0, 3.0], [3.0, -3.0]]


@pytest.mark.parametrize("at_once", [2, 5])
def test_smoothed_targets_are_torchs_own(at_once: int) -> None:
    torch.manual_seed(0)
    targets = torch.tensor([3, 0, 7, 7, 1])
    mine, theirs = (torch.randn(5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True) for _ in "ab")
    loss = summed_cross_entropy(mine, targets, lambda each: 1.5 * each, [], at_once, 0.2)
    plain = torch.nn.functional.cross_entropy(1.5 * theirs, targets, reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(loss, plain)
    loss.backward()
    plain.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_scoring_keeps_no_gradients(batch: Batch) -> None:
    model = tiny_model()
    with torch.inference_mode():
        loss, _ = answer_loss(SideBySide(model, None), batch)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, answer_loss(SideBySide(model, None), batch)[0].detach())
