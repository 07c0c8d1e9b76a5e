"""What the objectives that learn from judged answers share: rows → answers behind their prompts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.data.kept import NOWHERE, Kept
from studio.errors import DatasetError
from studio.objectives import Ending, Objective, Prepared, Progress
from studio.objectives.next_token import NextToken
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping
    from studio.data.tokenised import Tokenised
    from studio.events import AnswersScored
    from studio.methods import Method

_CAREFUL = 0.1  # times the rate of next-token training, which would soon take rejected answers apart word by word


@dataclass(frozen=True)
class PreparedAnswers(Prepared):
    """Judged answers, and how they are learnt from."""

    how: Preferred = field(kw_only=True)


class Preferred(Objective):
    """Base of what learns from pairs of answers; `_kind` and `_encode` say otherwise for other rows."""

    formats: ClassVar[tuple[str, ...]] = ("preference",)

    max_length: int = setting(
        512,
        "Cut-off length",
        ge=8,
        le=1_000_000,
        unit="tokens",
        help="Room for a prompt and one answer. Longer answers are cut here; rows whose prompt alone is longer are "
        "left out, and the run says how many.",
    )
    chat_template: Literal["auto", "chatml", "plain", "none"] = setting(
        "auto",
        "Chat template",
        advanced=True,
        help="How turns are written for the model. 'auto' takes the model's own; 'chatml' and 'plain' serve "
        "models that have none; 'none' joins prompt and answer as they are.",
        source="Hugging Face, Transformers documentation: Chat templates",
    )

    def row_length(self) -> int:
        return 2 * self.max_length

    def prepare(
        self,
        train: Dataset,
        validation: Dataset | None,
        mapping: Mapping,
        tokenizer: Any,
        progress: Progress,
        kept: Kept = NOWHERE,
    ) -> PreparedAnswers:
        from studio.data.rendering import use_template
        from studio.data.tokens import report_on

        use_template(tokenizer, self.chat_template)
        learnt, skipped = self._rows(train, mapping, tokenizer, progress, kept)
        held_out: Any = []
        if validation is not None and validation.rows:
            with contextlib.suppress(DatasetError):  # nothing to score on is no reason not to train
                held_out, _ = self._rows(validation, mapping, tokenizer, None, kept)
        return PreparedAnswers(learnt, held_out, report_on(learnt, skipped), notes=self._notes(learnt), how=self)

    def _rows(
        self, dataset: Dataset, mapping: Mapping, tokenizer: Any, progress: Progress | None, kept: Kept
    ) -> tuple[Tokenised[Any], int]:
        """The rows that can be learnt from, and how many cannot. Raises DatasetError where none can."""

        def make() -> tuple[Tokenised[Any], dict[str, int]]:
            rows, skipped = self._encode(dataset.rows, mapping, tokenizer, progress)
            return rows, {"skipped": skipped}

        settings = {"answers": self.max_length, "mapping": mapping.plain()}
        rows, counts = kept.rows(self._kind(), dataset, tokenizer, settings, make)
        return rows, counts["skipped"]

    def _kind(self) -> type[Any]:
        from studio.data.tokens import Encoded

        return Encoded

    def _encode(
        self, rows: list[dict[str, Any]], mapping: Mapping, tokenizer: Any, progress: Progress | None
    ) -> tuple[Tokenised[Any], int]:
        from studio.data.pairs import encode_pairs

        return encode_pairs(rows, mapping, tokenizer, self.max_length, progress)

    def _notes(self, learnt: Tokenised[Any]) -> list[str]:
        """What the person should know about the rows."""
        return []


class Referred(Preferred):
    """Base of what compares the model with the reference: the same model without its adapter."""

    def learning_rate(self, method: Method) -> float:
        return _CAREFUL * method.learning_rate

    def compare(self, model: Any, ending: Ending) -> AnswersScored | None:
        return NextToken().compare(model, ending)
