"""Direct preference optimisation and its family: the better of two answers becomes likelier, the worse one less."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from studio.objectives._preferred import Referred
from studio.settings import setting


class Dpo(Referred):
    """-log σ(β (log-ratio of the chosen answer - log-ratio of the rejected one)), or another loss of these.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. A log-ratio is log p(answer) by the model less that by the
    reference, which is the same model without its adapter.
    """

    title: ClassVar[str] = "DPO (preference pairs)"
    about: ClassVar[str] = "Learns from a better and a worse answer to each prompt, without a reward model."

    beta: float = setting(
        0.1,
        "Beta",
        gt=0,
        le=10,
        search=(0.01, 1),
        help="How dear it is to move away from where the model started. Higher keeps it closer; of IPO the margin "
        "wanted is 1 / (2 beta).",
        source="Rafailov et al. 2023, arXiv:2305.18290, eq. 3",
    )
    loss_type: Literal[
        "sigmoid", "ipo", "hinge", "robust", "exo_pair", "nca_pair", "sppo_hard", "aot", "apo_zero", "apo_down",
        "discopop", "sft",
    ] = setting(
        "sigmoid",
        "Loss",
        help="'sigmoid' is DPO itself; 'ipo' overfits less on few pairs; 'robust' expects some pairs the wrong way "
        "round; 'nca_pair' and 'apo_zero' hold the chosen answers' likelihood up; 'apo_down' is for chosen answers "
        "worse than the model's own; 'sft' only imitates the chosen ones. docs/settings.md names the papers.",
        source="ipo arXiv:2310.12036; hinge 2305.10425; robust 2403.00409; exo_pair 2402.00856; nca_pair 2402.05369; "
        "sppo_hard 2405.00675; aot 2406.05882; apo 2408.06266; discopop 2406.08414",
    )  # fmt: skip
    label_smoothing: float = setting(
        0.0,
        "Share of wrong pairs",
        ge=0,
        lt=0.5,
        advanced=True,
        help="How many pairs may be the wrong way round. Counts for 'sigmoid', 'robust', 'exo_pair' and 'aot'.",
        source="Mitchell 2023, A note on DPO with noisy preferences; Chowdhury et al. 2024, arXiv:2403.00409",
    )
    rpo_alpha: float = setting(
        0.0,
        "Imitation beside it",
        ge=0,
        le=100,
        advanced=True,
        help="So many times the cross-entropy of the chosen answers is added: it keeps them from becoming less likely "
        "together with the rejected ones. 1 is usual; 0 adds nothing.",
        source="Pang et al. 2024, arXiv:2404.19733",
    )

    def trainer(self) -> type[Any]:
        from studio.training.preferring import DpoTrainer

        return DpoTrainer
