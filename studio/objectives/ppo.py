"""Proximal policy optimisation: learn from rewards, with a critic that says what was to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from studio.errors import ConfigError
from studio.objectives._rewarded import Credit, Rewarded
from studio.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from studio.data.library import Opened
    from studio.training.rollouts import Rollout


class Ppo(Rewarded):
    """The clipped policy loss over generalised advantages, and vf_coef times the critic's clipped loss.

    Schulman et al. 2017, arXiv:1707.06347; for language models Ouyang et al. 2022, arXiv:2203.02155, section 3.5. One
    backbone is in memory: the policy is its adapter, the reference the same with the adapter switched off, the critic
    a layer on its hidden states, with low-rank updates of its own where `value_r` is above 0.
    """

    title: ClassVar[str] = "PPO: learn from rewards"
    about: ClassVar[str] = (
        "Answers your prompts, is scored by rewards, and learns to score higher; a critic steadies it."
    )
    critic: ClassVar[bool] = True

    kl_estimator: Literal["k1", "k3"] = setting(
        "k1",
        "KL estimate",
        advanced=True,
        help="Of each token: 'k1' is the plain difference of log-probabilities, 'k3' is never negative and varies "
        "less.",
        source="Schulman 2020, Approximating KL Divergence",
    )
    kl_target: float | None = setting(
        None,
        "KL target",
        gt=0,
        le=10_000,
        unit="nats an answer",
        help="The coefficient rises or falls so that answers come to lie this far from where the model started. "
        "Empty: it stays as it is.",
        source="Ziegler et al. 2019, arXiv:1909.08593, section 2.2",
    )
    kl_horizon: int = setting(
        1000,
        "KL horizon",
        ge=1,
        le=10_000_000,
        advanced=True,
        unit="answers",
        help="How slowly the coefficient follows its target.",
        source="Ziegler et al. 2019, arXiv:1909.08593, section 2.2",
    )
    gamma: float = setting(
        1.0,
        "Discount",
        gt=0,
        le=1,
        advanced=True,
        help="What a reward one token later is worth.",
        source="Schulman et al. 2015, arXiv:1506.02438, section 2",
    )
    lam: float = setting(
        0.95,
        "GAE lambda",
        ge=0,
        le=1,
        advanced=True,
        help="1 looks at what an answer got in the end, 0 at what the critic expects after the next token.",
        source="Schulman et al. 2015, arXiv:1506.02438, eq. 16",
    )
    vf_coef: float = setting(
        0.1,
        "Weight of the critic",
        ge=0,
        le=100,
        advanced=True,
        help="Its loss in the sum.",
        source="Schulman et al. 2017, arXiv:1707.06347, eq. 9",
    )
    cliprange_value: float = setting(
        0.2,
        "Clip range of values",
        gt=0,
        le=1000,
        advanced=True,
        help="How far a value may move in one update.",
        source="Engstrom et al. 2020, arXiv:2005.12729, section 3",
    )
    value_learning_rate: float = setting(
        1e-3,
        "Learning rate of the critic",
        gt=0,
        le=1,
        advanced=True,
        help="It starts from nothing, whatever the method: it learns at a rate of its own.",
    )
    value_r: int = setting(
        0,
        "Rank of the critic's adapter",
        ge=0,
        le=256,
        advanced=True,
        help="0: the critic is a layer on what the model makes of a text anyway. Above, it learns low-rank updates of "
        "its own beside every linear layer: it can foresee more, at the price of a second pass.",
        source="Santacroce et al. 2023, arXiv:2309.00754",
    )
    whiten_rewards: bool = setting(
        False,
        "Whiten rewards",
        advanced=True,
        help="Brings the rewards of a batch's tokens to variance 1.",
        source="Huang et al. 2024, arXiv:2403.17031",
    )

    def check(self, opened: Opened) -> None:
        super().check(opened)
        if self.kl_target is not None and not self.kl_coef:
            raise ConfigError(
                "A KL target is set, but the KL coefficient is 0 and would stay so: it is multiplied.",
                remedy="Give 'KL coefficient' a value to begin with, such as 0.05, or leave 'KL target' empty.",
            )

    def estimator(self) -> Literal["k1", "k3"]:
        return self.kl_estimator

    def value_rank(self) -> int:
        return self.value_r

    def credit(self, rollout: Rollout, kl: Tensor, kl_coef: float) -> Credit:
        from studio.training.advantages import gae, token_rewards, whiten

        rewards = token_rewards(rollout.scores, kl, rollout.mask, kl_coef)
        if self.whiten_rewards:
            rewards = whiten(rewards, rollout.mask, shift=False)
        advantages = gae(rewards, rollout.values, rollout.mask, self.gamma, self.lam)
        return Credit(whiten(advantages, rollout.mask), advantages + rollout.values)

    def next_kl_coef(self, kl_coef: float, kl: float, answers: int) -> float:
        from studio.training.advantages import adapted_kl_coef

        if self.kl_target is None:
            return kl_coef
        return adapted_kl_coef(kl_coef, kl, self.kl_target, answers, self.kl_horizon)
