"""Losses over judged answers, as functions of their log-probabilities or scores.

Tensors have shape (pairs,) or (answers,). A log-probability is summed over an answer's tokens, in nats; a log-ratio is
the policy's less the reference's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

_TAU = 0.05  # the temperature of DiscoPOP's mixture, as its authors have it
_LEAST_SMOOTHING = 1e-3  # EXO's loss is infinite without any


@dataclass(frozen=True)
class Pairs:
    """What policy and reference say of the answers of some pairs."""

    chosen: Tensor  # log-probability by the policy
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor  # how many were summed
    rejected_tokens: Tensor

    @property
    def won(self) -> Tensor:
        """Log-ratio of the chosen answers."""
        return self.chosen - self.reference_chosen

    @property
    def lost(self) -> Tensor:
        """Log-ratio of the rejected answers."""
        return self.rejected - self.reference_rejected

    @property
    def margin(self) -> Tensor:
        return self.won - self.lost


Loss = Callable[[Pairs, float, float], Tensor]  # (pairs, beta, smoothing) → a loss for each pair


def sigmoid(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """-(1 - ε) log σ(β m) - ε log σ(-β m), m the margin.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7; with ε, Mitchell 2023, A note on DPO with noisy preferences.
    """
    return _smoothed(beta * pairs.margin, smoothing)


def hinge(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """max(0, 1 - β m). Zhao et al. 2023, arXiv:2305.10425, over log-ratios as in arXiv:2309.06657."""
    return torch.relu(1 - beta * pairs.margin)


def ipo(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """(m - 1 / (2 β))², m the margin of log-ratios a token.

    Azar et al. 2023, arXiv:2310.12036, eq. 17; a token, so that long answers weigh no more than short ones.
    """
    margin = pairs.won / pairs.chosen_tokens - pairs.lost / pairs.rejected_tokens
    return (margin - 1 / (2 * beta)).square()


def robust(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """(-(1 - ε) log σ(β m) + ε log σ(-β m)) / (1 - 2 ε): unbiased where a share ε of the pairs is the wrong way round.

    Chowdhury et al. 2024, arXiv:2403.00409.
    """
    wrong = smoothing * logsigmoid(-beta * pairs.margin)
    return (wrong - (1 - smoothing) * logsigmoid(beta * pairs.margin)) / (1 - 2 * smoothing)


def exo_pair(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """KL of (σ(β m), σ(-β m)) from (1 - ε, ε). Ji et al. 2024, arXiv:2402.00856, eq. 16."""
    epsilon = torch.tensor(max(smoothing, _LEAST_SMOOTHING), device=pairs.chosen.device)
    return sum(  # pyright: ignore[reportReturnType]
        logits.sigmoid() * (logsigmoid(logits) - share.log())
        for logits, share in ((beta * pairs.margin, 1 - epsilon), (-beta * pairs.margin, epsilon))
    )


def nca_pair(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """-log σ(β w) - (log σ(-β w) + log σ(-β l)) / 2, w and l the log-ratios.

    Chen et al. 2024, arXiv:2402.05369: the chosen answer's likelihood is held up, too.
    """
    won, lost = beta * pairs.won, beta * pairs.lost
    return -logsigmoid(won) - 0.5 * logsigmoid(-won) - 0.5 * logsigmoid(-lost)


def sppo_hard(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """(w - 1 / (2 β))² + (l + 1 / (2 β))²; the chosen answer is taken to win always.

    Wu et al. 2024, arXiv:2405.00675, eq. 4.7.
    """
    return (pairs.won - 0.5 / beta).square() + (pairs.lost + 0.5 / beta).square()


def aot(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """-(1 - ε) log σ(β d) - ε log σ(-β d), d between the sorted margins of policy and reference in the batch.

    Melnyk et al. 2024, arXiv:2406.05882: all of a batch's margins are to be larger, as a distribution. The
    i-th number is that of the i-th smallest margin, not of the i-th pair.
    """
    policy = (pairs.chosen - pairs.rejected).sort().values
    reference = (pairs.reference_chosen - pairs.reference_rejected).sort().values
    return _smoothed(beta * (policy - reference), smoothing)


def apo_zero(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """1 - σ(β w) + σ(β l): chosen answers become likelier, rejected ones less.

    D'Oosterlinck et al. 2024, arXiv:2408.06266, eq. 7.
    """
    return 1 - (beta * pairs.won).sigmoid() + (beta * pairs.lost).sigmoid()


def apo_down(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """σ(β w) + 1 - σ(β m): both become less likely, rejected ones more so.

    D'Oosterlinck et al. 2024, arXiv:2408.06266, eq. 8.
    """
    return (beta * pairs.won).sigmoid() + 1 - (beta * pairs.margin).sigmoid()


def discopop(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """-(1 - s) log σ(β m) + s exp(-β m), s = σ(β m / τ). Lu et al. 2024, arXiv:2406.08414, eq. 5."""
    logits = beta * pairs.margin
    share = (logits / _TAU).sigmoid()
    return -(1 - share) * logsigmoid(logits) + share * (-logits).exp()


def sft(pairs: Pairs, beta: float = 0.0, smoothing: float = 0.0) -> Tensor:
    """-log p(chosen) / tokens: cross-entropy of the chosen answers alone. Pang et al. 2024, arXiv:2404.19733."""
    return -pairs.chosen / pairs.chosen_tokens


LOSSES: dict[str, Loss] = {
    "sigmoid": sigmoid,
    "ipo": ipo,
    "hinge": hinge,
    "robust": robust,
    "exo_pair": exo_pair,
    "nca_pair": nca_pair,
    "sppo_hard": sppo_hard,
    "aot": aot,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "discopop": discopop,
    "sft": sft,
}


def _smoothed(logits: Tensor, smoothing: float) -> Tensor:
    return -(1 - smoothing) * logsigmoid(logits) - smoothing * logsigmoid(-logits)


def kto(ratios: Tensor, good: Tensor, start: Tensor, beta: float, weights: tuple[float, float]) -> Tensor:
    """w (1 - σ(± β (r - z0))) for each answer of log-ratio r, + for good ones; of shape (answers,).

    Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7. `weights` are w of good and of bad answers, `start` is z0 as in
    `reference_point`.
    """
    sign = torch.where(good, 1.0, -1.0)
    return torch.where(good, *weights) * (1 - (sign * beta * (ratios - start)).sigmoid())


def reference_point(ratios: Tensor) -> Tensor:
    """z0, how far the policy is from the reference: the mean log-ratio of answers to other prompts, 0 at least.

    Ethayarajh et al. 2024, arXiv:2402.01306. No gradient goes through it.
    """
    return ratios.detach().mean().clamp(min=0)


def bradley_terry(chosen: Tensor, rejected: Tensor, centring: float = 0.0) -> Tensor:
    """-log σ(c - r) + centring (c + r)², c and r the rewards of each pair's answers.

    Ouyang et al. 2022, arXiv:2203.02155, eq. 1; what holds rewards near 0: Eisenstein et al. 2023, arXiv:2312.09244,
    eq. 2.
    """
    return -logsigmoid(chosen - rejected) + centring * (chosen + rejected).square()
