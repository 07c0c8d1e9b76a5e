"""What each token of an answer was worth, as functions of tensors: rewards, KL, advantages and clipped losses.

Tensors have shape (answers, tokens) unless said otherwise, answers beginning at the left; `mask` is 1.0 where an
answer has a token, and results are 0 where it has none.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Estimator = Literal["k1", "k3"]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over tokens that are there; 0 where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor, *, shift: bool = True) -> Tensor:
    """To variance 1, and with `shift` to mean 0, over tokens that are there.

    The variance is the unbiased one; a single token stays as it is but for its mean.
    """
    mean, count = masked_mean(values, mask), mask.sum()
    variance = ((values - mean).square() * mask).sum() / (count - 1).clamp(min=1)
    white = (values - mean) * torch.rsqrt(variance + 1e-8) if count > 1 else values - mean
    return (white if shift else white + mean) * mask


def kl_estimates(logprobs: Tensor, reference: Tensor, estimator: Estimator) -> Tensor:
    """An estimate a token, in nats, of KL(policy || reference) from tokens that the policy drew.

    k1 = -log r and k3 = (r - 1) - log r with r = p_reference / p_policy; both are unbiased, k3 is never negative and
    varies less (Schulman 2020, Approximating KL Divergence, joschu.net/blog/kl-approx.html).
    """
    log_ratio = reference - logprobs
    return -log_ratio if estimator == "k1" else log_ratio.exp() - 1 - log_ratio


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """-kl_coef * kl at each token, and an answer's score, of shape (answers,), at its last one.

    Ouyang et al. 2022, arXiv:2203.02155, eq. 2, told token by token as in Ziegler et al. 2019, arXiv:1909.08593.
    """
    rewards = -kl_coef * kl * mask
    last = mask.sum(dim=1).long() - 1
    rows = (last >= 0).nonzero().squeeze(1)
    rewards[rows, last[rows]] += scores[rows]
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates; an answer ends at its last token, behind which nothing is worth anything.

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lam A_{t+1}: Schulman et al. 2015,
    arXiv:1506.02438, eq. 11 and 16. `values` are in units of reward.
    """
    values = values * mask
    advantages = torch.zeros_like(values)
    later, value_later = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    for at in reversed(range(values.shape[1])):
        delta = rewards[:, at] + gamma * value_later - values[:, at]
        later = (delta + gamma * lam * later) * mask[:, at]
        advantages[:, at] = later
        value_later = values[:, at]
    return advantages


def within_groups(scores: Tensor, group: int, *, scale: bool) -> Tensor:
    """Each score less the mean of its group, and with `scale` over the group's standard deviation.

    `scores` of shape (answers,) hold the `group` answers to a prompt side by side. Shao et al. 2024,
    arXiv:2402.03300, section 4.1.2 (GRPO); without the scale Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO).
    """
    grouped = scores.view(-1, group)
    centred = grouped - grouped.mean(dim=1, keepdim=True)
    if scale:
        centred = centred / (grouped.std(dim=1, keepdim=True) + 1e-4)
    return centred.view(-1)


def leave_one_out(scores: Tensor, group: int) -> Tensor:
    """Each score less the mean of the others in its group: Ahmadian et al. 2024, arXiv:2402.14740, eq. 8 (RLOO)."""
    grouped = scores.view(-1, group)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).view(-1)


def policy_loss(
    logprobs: Tensor, before: Tensor, advantages: Tensor, mask: Tensor, cliprange: float
) -> tuple[Tensor, Tensor]:
    """The clipped loss of each token, and 1.0 where clipping changed it.

    max(-A ratio, -A clip(ratio, 1 - cliprange, 1 + cliprange)), ratio = exp(logprobs - before): Schulman et al. 2017,
    arXiv:1707.06347, eq. 7. `before` are the log-probs with which the answers were drawn.
    """
    ratio = (logprobs - before).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.maximum(plain, clipped) * mask, (clipped > plain).float() * mask


def value_loss(values: Tensor, before: Tensor, returns: Tensor, mask: Tensor, cliprange_value: float) -> Tensor:
    """Half the squared error of each token's value, the greater of it and that of the value kept near `before`.

    The value function's counterpart of `policy_loss`, as in OpenAI's baselines (Huang et al. 2022, The 37
    Implementation Details of Proximal Policy Optimization, detail 9).
    """
    near = before + (values - before).clamp(-cliprange_value, cliprange_value)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square()) * mask


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over tokens that are there: 1 is perfect, 0 as good as their mean."""
    there = mask.bool()
    spread = returns[there].var(correction=0) if there.any() else returns.new_zeros(())
    if not float(spread) > 0:
        return 0.0
    return float(1 - (returns - values)[there].var(correction=0) / spread)


def adapted_kl_coef(kl_coef: float, kl: float, target: float, answers: int, horizon: int) -> float:
    """The next coefficient, so that the KL of an answer, in nats, comes near `target`.

    kl_coef * (1 + clip(kl / target - 1, -0.2, 0.2) * answers / horizon): Ziegler et al. 2019, arXiv:1909.08593,
    section 2.2.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * answers / horizon)
