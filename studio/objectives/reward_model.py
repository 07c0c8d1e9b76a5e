"""A reward model: a number for an answer, higher for what people prefer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from studio.objectives import Ending, Prepared
from studio.objectives._preferred import Preferred
from studio.settings import setting

if TYPE_CHECKING:
    from studio.events import PreferencesScored


class RewardModel(Preferred):
    """-log σ(reward of the chosen answer - reward of the rejected one), the reward a linear head on the last token.

    Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1.
    """

    title: ClassVar[str] = "Reward model (preference pairs)"
    about: ClassVar[str] = (
        "Learns to score answers as people would. It writes no text; other runs learn from its scores."
    )
    writes: ClassVar[bool] = False
    talks: ClassVar[bool] = False

    center_rewards_coefficient: float = setting(
        0.01,
        "Centring",
        ge=0,
        le=10,
        help="Holds the two rewards of a pair around 0, which pairs alone leave open. 0: nothing does.",
        source="Eisenstein et al. 2023, arXiv:2312.09244, eq. 2",
    )
    head_learning_rate: float = setting(
        1e-3,
        "Learning rate of the head",
        gt=0,
        le=1,
        advanced=True,
        help="The layer that gives the reward starts at zero, whatever the method: it learns at a rate of its own.",
        source="Howard & Ruder 2018, arXiv:1801.06146, section 3.2",
    )

    def assemble(self, model: Any, prepared: Prepared) -> Any:
        from torch.nn import init

        from studio.data.labels import Head
        from studio.models.heads import Headed

        headed = Headed(model, [Head("reward", "number")])
        init.zeros_(headed.heads[0].weight)  # pyright: ignore[reportArgumentType]  # margins of chance would be unlearnt first
        return headed

    def trainer(self) -> type[Any]:
        from studio.training.preferring import RewardTrainer

        return RewardTrainer

    def compare(self, model: Any, ending: Ending) -> PreferencesScored | None:
        from studio.evaluation.preferences import score_pairs

        return score_pairs(model, ending) if ending.prepared.validation else None
