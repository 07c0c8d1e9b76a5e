"""Our loss is transformers' loss, computed in fewer places."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.data.tokens import Encoded
from studio.models.tiny import tiny_model
from studio.training.batching import Collator
from studio.training.losses import answer_loss, mean_answer_loss


def row(length: int, learnt_from: int, seed: int) -> dict[str, list[int]]:
    ids = torch.randint(0, 200, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    encoded = Encoded(ids, [-100] * learnt_from + ids[learnt_from:], False)
    return {"input_ids": encoded.input_ids, "labels": encoded.labels}


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return Collator(pad_token_id=0)([row(9, 5, 1), row(14, 3, 2), row(6, 2, 3)])


def plain_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the library computes from full logits: the mean over labelled tokens."""
    return model(**batch).loss


def test_loss_and_gradients_equal_the_plain_path(batch: dict[str, torch.Tensor]) -> None:
    ours, theirs = tiny_model(), tiny_model()
    loss, labelled = answer_loss(ours, batch)
    assert labelled == 4 + 11 + 4
    (loss / labelled).backward()
    reference = plain_loss(theirs, batch)
    reference.backward()
    torch.testing.assert_close(loss / labelled, reference)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_prompts_and_padding_never_meet_the_vocabulary(batch: dict[str, torch.Tensor]) -> None:
    model = tiny_model()
    seen = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    answer_loss(model, batch)
    assert seen == [12]  # of 14 columns, those from 1 on have a label to predict and the last has none


def test_a_model_without_logits_to_keep_gives_the_same(
    batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    expected, _ = answer_loss(model, batch)
    monkeypatch.setattr("studio.training.losses._keeps_logits", lambda _: False)
    torch.testing.assert_close(answer_loss(model, batch)[0], expected)


def test_a_batch_without_labels_is_no_loss_and_no_nan() -> None:
    model = tiny_model()
    loss, labelled = answer_loss(model, Collator(0)([row(5, 5, 1)]))
    loss.backward()
    assert (float(loss.detach()), labelled) == (0.0, 0)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_the_mean_is_over_tokens_not_batches() -> None:
    model = tiny_model()
    collate = Collator(0)
    rows = [row(9, 5, 1), row(14, 3, 2), row(6, 2, 3)]
    together = mean_answer_loss(model, [collate(rows)])
    apart = mean_answer_loss(model, [collate([each]) for each in rows])
    assert together == pytest.approx(apart, rel=1e-4)
