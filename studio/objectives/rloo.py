"""REINFORCE, leave one out: an answer is worth what it is above the mean of the others to the same prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from studio.objectives._rewarded import Credit, Grouped

if TYPE_CHECKING:
    from torch import Tensor

    from studio.training.rollouts import Rollout


class Rloo(Grouped):
    """The clipped policy loss over scores less KL, each answer's against the mean of its group's others.

    Ahmadian et al. 2024, arXiv:2402.14740, eq. 8.
    """

    title: ClassVar[str] = "RLOO: rewards against the others"
    about: ClassVar[str] = "As GRPO, in its simplest form: no scale, and the drift from the start costs reward."

    def estimator(self) -> Literal["k1"]:
        return "k1"

    def credit(self, rollout: Rollout, kl: Tensor, kl_coef: float) -> Credit:
        from studio.training.advantages import leave_one_out

        scores = rollout.scores - kl_coef * (kl * rollout.mask).sum(dim=1)
        return Credit(leave_one_out(scores, self.num_generations)[:, None] * rollout.mask)
