"""Reward answers that a classifier trained here finds to be of one kind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from studio.errors import ConfigError, RunError
from studio.rewards import Answered, Reward, Scorer, Tools
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace


class Sentiment(Reward):
    """The probability that a classifier gives one of its labels for the answer, read without its prompt.

    Ziegler et al. 2019, arXiv:1909.08593, section 3.1.1. An answer without words scores 0.
    """

    title: ClassVar[str] = "Sentiment"
    about: ClassVar[str] = "How sure a classifier of yours is that the answer is of one kind, such as positive."
    runs_of: ClassVar[tuple[str, ...]] = ("classify", "multitask")

    run: str = setting(
        "",
        "Classifier",
        max_length=100,
        help="A run that learnt labels and was trained to its end.",
        source="Ziegler et al. 2019, arXiv:1909.08593",
    )
    label: str = setting("", "Label", max_length=500, help="Which of its labels is wanted.")

    def check(self, workspace: Workspace) -> None:
        known = self._labels(workspace)
        if self.label not in known:
            raise ConfigError(
                f"The classifier of the reward 'Sentiment' has no label '{self.label}'.",
                remedy=f"Set 'Label' to one of: {', '.join(known[:20])}.",
            )

    def scorer(self, tools: Tools) -> Scorer:
        self.check(tools.workspace)
        from studio.models.heads import predict
        from studio.trained import load_trained

        classifier = load_trained(tools.workspace.run(self.run), tools.workspace)
        max_length = classifier.config.objective.max_length

        def score(answers: Sequence[Answered]) -> list[float]:
            texts = [each.answer for each in answers]
            found = predict(classifier.model, classifier.tokenizer, texts, max_length)
            return [
                dict(pair for head in heads.values() if isinstance(head, list) for pair in head)[self.label]
                if text.strip()
                else 0.0
                for text, heads in zip(texts, found, strict=True)
            ]

        return score

    def _labels(self, workspace: Workspace) -> list[str]:
        """Of all heads of the run. Raises ConfigError where it is none that labels texts."""
        with contextlib.suppress(RunError, OSError, ValueError, KeyError):
            heads = (workspace.run(self.run).adapter / "heads.json").read_text(encoding="utf-8")
            if labels := [label for head in json.loads(heads)["heads"] for label in head["labels"]]:
                return labels
        raise ConfigError(
            f"The reward 'Sentiment' needs a classifier, and '{self.run}' is no run here that learnt labels.",
            remedy="Set 'Classifier' to the id of a run with the objective 'Classification' that is done.",
        )
