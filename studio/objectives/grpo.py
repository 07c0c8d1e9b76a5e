"""Group relative policy optimisation: an answer is worth what it is above the others to the same prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from studio.objectives._rewarded import Credit, Grouped
from studio.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from studio.training.rollouts import Rollout


class Grpo(Grouped):
    """The clipped policy loss over scores within groups, and kl_coef times the k3 estimate of the KL.

    Shao et al. 2024, arXiv:2402.03300, eq. 3.
    """

    title: ClassVar[str] = "GRPO: rewards within groups"
    about: ClassVar[str] = "Answers each prompt several times and learns from those that scored above the group's mean."

    scale_rewards: bool = setting(
        True,
        "Scale within groups",
        advanced=True,
        help="Divides by the group's standard deviation: groups of nearly equal scores count as much as others.",
        source="Liu et al. 2025, arXiv:2503.20783, section 3.1, on what it does",
    )

    def kl_in_loss(self) -> bool:
        return True

    def credit(self, rollout: Rollout, kl: Tensor, kl_coef: float) -> Credit:
        from studio.training.advantages import within_groups

        scores = within_groups(rollout.scores, self.num_generations, scale=self.scale_rewards)
        return Credit(scores[:, None] * rollout.mask)
