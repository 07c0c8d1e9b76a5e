"""Kahneman-Tversky optimisation: learn from answers that were each called good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from studio.data.labels import count_column
from studio.data.readers import verdict
from studio.errors import DatasetError
from studio.objectives import Progress
from studio.objectives._preferred import Referred
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.library import Opened
    from studio.data.templates import Mapping
    from studio.data.tokenised import Tokenised

_MOST_UNEVEN = 4 / 3  # of good answers times their weight to bad ones times theirs, either way: section 4.2


class Kto(Referred):
    """w (1 - σ(± β (log-ratio - z0))) of each answer, + for good ones; z0 is how far the model has moved altogether.

    Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7. z0 is the mean log-ratio of answers to other prompts, as many
    as are looked at together (`per_device_train_batch_size`): with fewer of them it is a rougher guess.
    """

    title: ClassVar[str] = "KTO (answers judged good or bad)"
    about: ClassVar[str] = "Learns from single answers with a thumbs up or down; pairs are taken for one of each."
    formats: ClassVar[tuple[str, ...]] = ("unpaired", "preference")

    beta: float = setting(
        0.1,
        "Beta",
        gt=0,
        le=10,
        search=(0.01, 1),
        help="How dear it is to move away from where the model started. Higher keeps it closer.",
        source="Ethayarajh et al. 2024, arXiv:2402.01306, section 4",
    )
    desirable_weight: float = setting(
        1.0,
        "Weight of good answers",
        gt=0,
        le=1000,
        help="Raise it where good answers are rarer: good ones times their weight should be about as many as bad ones "
        "times theirs.",
        source="Ethayarajh et al. 2024, arXiv:2402.01306, section 4.2",
    )
    undesirable_weight: float = setting(
        1.0,
        "Weight of bad answers",
        gt=0,
        le=1000,
        help="Raise it where bad answers are rarer.",
        source="Ethayarajh et al. 2024, arXiv:2402.01306, section 4.2",
    )

    def check(self, opened: Opened) -> None:
        if opened.mapping.format == "preference":
            return
        column = opened.mapping.columns["label"]
        said = {verdict(cell) for cell in count_column(opened.train.path, column)} - {None}
        if len(said) == 1:
            raise DatasetError(
                f"All answers are {'good' if True in said else 'bad'} ones by the column '{column}': there is nothing "
                "to tell apart.",
                remedy="Bring rows with both, or learn good answers by 'Next token'.",
            )

    def trainer(self) -> type[Any]:
        from studio.training.preferring import KtoTrainer

        return KtoTrainer

    def _kind(self) -> type[Any]:
        from studio.data.pairs import Judged

        return Judged

    def _encode(
        self, rows: list[dict[str, Any]], mapping: Mapping, tokenizer: Any, progress: Progress | None
    ) -> tuple[Tokenised[Any], int]:
        from studio.data.pairs import encode_judged

        return encode_judged(rows, mapping, tokenizer, self.max_length, progress)

    def _notes(self, learnt: Tokenised[Any]) -> list[str]:
        good = int(learnt.flat("good").sum())
        bad = len(learnt) - good
        share = (good * self.desirable_weight) / max(bad * self.undesirable_weight, 1e-9)
        if 1 / _MOST_UNEVEN <= share <= _MOST_UNEVEN or not (good and bad):
            return []
        rarer, weight = ("good", bad / good) if good < bad else ("bad", good / bad)
        return [
            f"{good:,} answers are good and {bad:,} bad, which their weights do not make up for. 'Weight of {rarer} "
            f"answers' at {weight:.2g} and the other at 1 would."
        ]
