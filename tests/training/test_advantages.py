"""Advantages, KL and clipped losses by hand, and as the last TRL release that had PPO (1.12) computed them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.training.advantages import (
    adapted_kl_coef,
    explained_variance,
    gae,
    kl_estimates,
    leave_one_out,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
    within_groups,
)

# Random inputs, and what that release's own lines made of them; the score stands at an answer's last token.
TRL = json.loads((Path(__file__).parent / "ppo_values.json").read_text(encoding="utf-8"))


def there(lengths: list[int], width: int) -> Tensor:
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).double()


MASK = there(TRL["inputs"]["lengths"], 6)


def given(name: str) -> Tensor:
    values = torch.tensor(TRL["inputs"][name], dtype=torch.float64)
    return values * MASK if values.ndim == 2 else values


def same(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64) * (MASK if found.ndim else 1.0))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_equal_inputs_give_what_trl_made_of_them(estimator: Any) -> None:
    inputs, expected = TRL["inputs"], TRL[estimator]
    kl = kl_estimates(given("logprobs"), given("reference"), estimator) * MASK
    rewards = token_rewards(given("scores"), kl, MASK, inputs["kl_coef"])
    advantages = gae(rewards, given("values"), MASK, inputs["gamma"], inputs["lam"])
    for found, name in ((kl, "kl"), (rewards, "rewards"), (advantages, "advantages")):
        same(found, expected[name])
    same(whiten(advantages, MASK), expected["whitened"])
    same(whiten(rewards, MASK, shift=False), expected["whitened_rewards"])


def test_equal_inputs_give_trls_losses() -> None:
    inputs = TRL["inputs"]
    advantages = torch.tensor(TRL["k3"]["whitened"], dtype=torch.float64)
    returns = torch.tensor(TRL["k3"]["advantages"], dtype=torch.float64) + given("values")
    each, clipped = policy_loss(given("new_logprobs"), given("logprobs"), advantages, MASK, inputs["cliprange"])
    same(masked_mean(each, MASK), TRL["policy_loss"])
    same(masked_mean(clipped, MASK), TRL["clip_fraction"])
    errors = value_loss(given("new_values"), given("values"), returns, MASK, inputs["cliprange_value"])
    same(masked_mean(errors, MASK), TRL["value_loss"])


def test_gae_by_hand() -> None:
    """Two answers, of three tokens and of one; gamma 1/2, lambda 1/2."""
    rewards = torch.tensor([[0.0, 0.0, 8.0], [1.0, 0.0, 0.0]])
    values = torch.tensor([[2.0, 4.0, 4.0], [3.0, 7.0, 7.0]])  # what stands behind an end is nothing
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    # deltas 0 + 2 - 2, 0 + 2 - 4, 8 - 4; A3 = 4, A2 = -2 + 4/4, A1 = 0 - 1/4
    assert gae(rewards, values, mask, 0.5, 0.5).tolist() == [[-0.25, -1.0, 4.0], [-2.0, 0.0, 0.0]]


def test_the_estimates_of_kl_by_hand() -> None:
    logprobs, reference = torch.tensor([-1.0, -1.0]), torch.tensor([-1.0, -1.0 + math.log(2)])
    assert kl_estimates(logprobs, reference, "k1").tolist() == pytest.approx([0.0, -math.log(2)])
    assert kl_estimates(logprobs, reference, "k3").tolist() == pytest.approx([0.0, 1 - math.log(2)])


def test_both_estimates_have_the_kl_as_their_mean() -> None:
    torch.manual_seed(0)
    policy, other = torch.randn(5).log_softmax(0), torch.randn(5).log_softmax(0)
    drawn = torch.multinomial(policy.exp(), 200_000, replacement=True)
    exact = float((policy.exp() * (policy - other)).sum())
    for estimator in ("k1", "k3"):
        assert float(kl_estimates(policy[drawn], other[drawn], estimator).mean()) == pytest.approx(exact, rel=0.02)


def test_groups_by_hand() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 5.0, 5.0, 5.0])
    assert within_groups(scores, 3, scale=False).tolist() == [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert within_groups(scores, 3, scale=True).tolist() == pytest.approx([-1.0, 0.0, 1.0, 0, 0, 0], abs=2e-4)
    assert leave_one_out(scores, 3).tolist() == [-1.5, 0.0, 1.5, 0.0, 0.0, 0.0]


def test_clipping_takes_the_gain_away_and_never_the_loss() -> None:
    mask = torch.ones(1, 4)
    before = torch.zeros(1, 4)
    after = torch.tensor([[math.log(1.5), math.log(1.5), math.log(0.5), math.log(0.5)]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    each, clipped = policy_loss(after, before, advantages, mask, 0.2)
    assert each[0].tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8])
    assert clipped[0].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_a_value_may_not_gain_by_moving_far() -> None:
    one = torch.ones(1, 1)
    # From 0 towards 1: at 0.9 the clipped value 0.2 counts.
    assert float(value_loss(0.9 * one, 0 * one, one, one, 0.2)) == pytest.approx(0.5 * 0.8**2)
    assert float(value_loss(-0.1 * one, 0 * one, one, one, 0.2)) == pytest.approx(0.5 * 1.1**2)


def test_the_coefficient_follows_its_target_by_bounded_steps() -> None:
    assert adapted_kl_coef(0.1, 12.0, 6.0, 8, 100) == pytest.approx(0.1 * (1 + 0.2 * 8 / 100))
    assert adapted_kl_coef(0.1, 5.4, 6.0, 10, 100) == pytest.approx(0.1 * (1 - 0.1 * 10 / 100))
    assert adapted_kl_coef(0.1, 0.0, 6.0, 100, 100) == pytest.approx(0.08)


def test_explained_variance_by_hand() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 3.0, 99.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert explained_variance(returns, returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.full((1, 4), 2.0), returns, mask) == pytest.approx(0.0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(1, 4), mask) == 0.0  # nothing to explain


def test_one_token_and_no_token_are_numbers() -> None:
    one, none = torch.ones(1, 1), torch.zeros(1, 1)
    assert whiten(5 * one, one).tolist() == [[0.0]]
    assert float(masked_mean(one, none)) == 0.0
    assert token_rewards(torch.ones(1), none, none, 0.1).tolist() == [[0.0]]
