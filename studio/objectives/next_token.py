"""Supervised fine-tuning: predict the next token of the answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.data.formats import FORMATS
from studio.errors import DatasetError
from studio.events import AnswersScored
from studio.objectives import Ending, Objective, Prepared, Progress
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping

EXAMPLES_KEPT = 8  # answers shown with the result


class NextToken(Objective):
    """Cross-entropy of each answer token given all before it; the prompt itself is not learnt.

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5 (supervised fine-tuning).
    """

    title: ClassVar[str] = "Next token"
    about: ClassVar[str] = "Learns to write the answers of your examples; the prompts themselves are not learnt."
    formats: ClassVar[tuple[str, ...]] = tuple(FORMATS)
    keeps_old: ClassVar[bool] = True

    max_length: int = setting(
        512,
        "Cut-off length",
        ge=8,
        le=1_000_000,
        unit="tokens",
        help="Longer rows are cut here; the run says how many were. Memory grows with it.",
    )
    chat_template: Literal["auto", "chatml", "plain"] = setting(
        "auto",
        "Chat template",
        advanced=True,
        help="How turns are written for the model. 'auto' takes the model's own; 'chatml' and 'plain' serve "
        "base models that have none.",
    )

    def prepare(
        self, train: Dataset, validation: Dataset | None, mapping: Mapping, tokenizer: Any, progress: Progress
    ) -> Prepared:
        from studio.data.tokens import encode_rows, use_template

        if mapping.format != "text":
            use_template(tokenizer, self.chat_template)
        learnt, report = encode_rows(train.rows, mapping, tokenizer, self.max_length, progress)
        held_out = []
        if validation is not None and validation.rows:
            with contextlib.suppress(DatasetError):  # nothing to score on is no reason not to train
                held_out, _ = encode_rows(validation.rows, mapping, tokenizer, self.max_length, None)
        return Prepared(learnt, held_out, report)

    def trainer(self) -> type[Any]:
        from studio.training.supervised import SupervisedTrainer

        return SupervisedTrainer

    def compare(self, model: Any, ending: Ending) -> AnswersScored | None:
        """Both models' greedy answers to held-out prompts, scored against the right ones."""
        from studio.evaluation.answers import compare

        if not ending.conversations:
            return None
        result = compare(
            model,
            ending.tokenizer,
            ending.conversations,
            max_new_tokens=ending.training.max_new_tokens,
            stop=ending.stop,
            progress=ending.progress,
        )
        return AnswersScored(
            rows=len(result.examples),
            base=result.base,
            tuned=result.tuned,
            examples=result.examples[:EXAMPLES_KEPT],
            left_out=result.left_out,
        )
