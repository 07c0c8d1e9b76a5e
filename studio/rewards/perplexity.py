"""Reward answers that the base model finds likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from studio.rewards import Answered, Reward, Scorer, Tools

if TYPE_CHECKING:
    from torch import Tensor


class Perplexity(Reward):
    """exp of the mean log-probability of the answer's tokens given the prompt: 1 / perplexity.

    Under the base model: the adapter is off while it is asked. Where a method has none to switch off, the model is
    asked as it is. An empty answer scores 0. Of answers longer than half of what the model reads, that much counts.
    """

    title: ClassVar[str] = "Likely text"
    about: ClassVar[str] = "How likely the base model finds the answer: fluent text scores higher, noise near 0."
    asks_model: ClassVar[bool] = True

    def scorer(self, tools: Tools) -> Scorer:
        from studio.models.generate import encode
        from studio.rewards._model import needed, told, window

        needed(tools, self.title)
        reads = window(tools)

        def score(answers: Sequence[Answered]) -> list[float]:
            written = [tools.tokenizer(each.answer, add_special_tokens=False)["input_ids"] for each in answers]
            written = [ids[: reads // 2] for ids in written]
            spoken = [place for place, ids in enumerate(written) if ids]
            rows = [
                [
                    *encode(tools.tokenizer, answers[place].asked())[-(reads - len(written[place])) :],
                    *written[place][:-1],
                ]
                for place in spoken
            ]

            def likely(row: int, log_probs: Tensor) -> float:
                answer = log_probs.new_tensor(written[spoken[row]]).long()
                return float(log_probs.gather(1, answer[:, None]).mean().exp())

            found = told(tools, rows, [len(written[place]) for place in spoken], likely)
            scores = dict(zip(spoken, found, strict=True))
            return [scores.get(place, 0.0) for place in range(len(answers))]

        return score
