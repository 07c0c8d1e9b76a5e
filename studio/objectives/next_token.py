"""Predict the next token: of the answers, or of everything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.catalog import key_of
from studio.data.formats import FORMATS
from studio.data.kept import NOWHERE, Kept
from studio.data.rendering import LossOn
from studio.errors import DatasetError
from studio.events import AnswersScored
from studio.objectives import Ending, Objective, Prepared, Progress
from studio.settings import setting

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping
    from studio.data.tokenised import Tokenised
    from studio.data.tokens import Encoded, Report

UNCUT = 2**31 - 1  # tokens; a cut-off that no row reaches
EXAMPLES_KEPT = 8  # answers shown with the result


class NextToken(Objective):
    """Cross-entropy of each learnt token given all before it; of conversations, that is the answers' alone.

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5 (supervised fine-tuning); on everything: continued
    pre-training, Gururangan et al. 2020, arXiv:2004.10964. Plain text is always learnt whole.
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
    loss_on: LossOn = setting(
        "answers",
        "Learnt part",
        advanced=True,
        help="Of conversations: 'answers' learns what the assistant says, 'last_answer' only the last of it, "
        "'everything' the prompts too. Plain text is always learnt whole.",
        source="Shi et al. 2024, arXiv:2405.14394 (loss over prompts)",
    )
    packing: bool = setting(
        True,
        "Pack texts",
        advanced=True,
        help="Plain texts, and conversations that are learnt whole, are joined end to end and divided into blocks of "
        "the cut-off length: batches of equal size, and nothing is cut off. Each text sees only itself; where the run "
        "notes that rows are padded, those of a block before it too. Off: a row each.",
        source="Brown et al. 2020, arXiv:2005.14165, appendix B",
    )
    chat_template: Literal["auto", "chatml", "plain", "none"] = setting(
        "auto",
        "Chat template",
        advanced=True,
        help="How turns are written for the model. 'auto' takes the model's own; 'chatml' and 'plain' serve "
        "base models that have none; 'none' joins prompt and completion as they are.",
        source="Hugging Face, Transformers documentation: Chat templates",
    )

    def packs(self, mapping: Mapping) -> bool:
        return self.packing and (mapping.format == "text" or self.loss_on == "everything")

    def cut_off(self, mapping: Mapping) -> int:
        """Tokens behind which a row is cut off; rows that are packed never are."""
        return UNCUT if self.packs(mapping) else self.max_length

    def prepare(
        self,
        train: Dataset,
        validation: Dataset | None,
        mapping: Mapping,
        tokenizer: Any,
        progress: Progress,
        kept: Kept = NOWHERE,
    ) -> Prepared:
        from studio.data.tokens import use_template

        if mapping.format != "text":
            use_template(tokenizer, self.chat_template)
        learnt, report = self._encode(train, mapping, tokenizer, progress, kept)
        held_out = []
        if validation is not None and validation.rows:
            with contextlib.suppress(DatasetError):  # nothing to score on is no reason not to train
                held_out, _ = self._encode(validation, mapping, tokenizer, None, kept)
        notes = [f"{len(train.rows):,} rows were packed into {len(learnt):,} blocks."] if self.packs(mapping) else []
        return Prepared(learnt, held_out, report, notes=notes)

    def _encode(
        self, dataset: Dataset, mapping: Mapping, tokenizer: Any, progress: Progress | None, kept: Kept
    ) -> tuple[Tokenised[Encoded], Report]:
        """Rows, or blocks of packed ones, and the report on them. Raises DatasetError."""
        from studio.data.tokens import Encoded, encode_rows, pack, report_on

        def make() -> tuple[Tokenised[Encoded], dict[str, int]]:
            cut_off = self.cut_off(mapping)
            rows, report = encode_rows(dataset.rows, mapping, tokenizer, cut_off, progress, self.loss_on)
            return pack(rows, self.max_length) if self.packs(mapping) else rows, {"skipped": report.skipped}

        settings = {"objective": key_of(self), **self.model_dump(mode="json"), "mapping": mapping.plain()}
        rows, counts = kept.rows(Encoded, dataset, tokenizer, settings, make)
        return rows, report_on(rows, counts["skipped"])

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
