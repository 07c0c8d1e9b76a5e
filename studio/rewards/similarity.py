"""Reward answers that say what the right answer says."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.rewards import Reward, Scorer, Tools
from studio.settings import setting


class Similarity(Reward):
    """F1 = 2PR / (P + R) of the words that the answer shares with the right one.

    'words' counts shared words, order aside (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1); 'order' the
    longest sequence of words that stands in both in the same order (ROUGE-L, Lin 2004, section 3).
    """

    title: ClassVar[str] = "Similarity"
    about: ClassVar[str] = "How many words the answer shares with the right answer of the row."
    compares: ClassVar[bool] = True

    measure: Literal["words", "order"] = setting(
        "words",
        "What counts",
        help="'words': words shared, order aside, as token F1 counts them; 'order': those in the same order, "
        "as ROUGE-L does.",
        source="Rajpurkar et al. 2016, arXiv:1606.05250; Lin 2004, ROUGE",
    )

    def scorer(self, tools: Tools) -> Scorer:
        from studio.evaluation.metrics import rouge_l, token_f1

        measure = token_f1 if self.measure == "words" else rouge_l
        return lambda answers: [measure([each.reference], [each.answer]) for each in answers]
