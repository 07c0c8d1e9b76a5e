"""Reward models: a number for an answer, higher for the one that people prefer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.exports._written import Line, Named, _pairs
from studio.exports._written._headed import Headed

if TYPE_CHECKING:
    from studio.data.dataset import Dataset

_WORDS = """\
The difference of two rewards says how probable it is that the chosen answer is the better one: σ(chosen - rejected)
(Bradley and Terry 1952). The loss is how surprised the model is that it is, in nats. Beside it a penalty holds the two
rewards around 0, which pairs alone leave open. The sum over an update is divided by its pairs."""

_SUMMED_LOSS = '''\
def summed_loss(rows):
    """-log σ(reward of the chosen answer - reward of the rejected one), and the penalty, summed over pairs."""
    chosen, rejected = (model([row[which][0] for row in rows])[:, 0] for which in BOTH)
    each = -logsigmoid(chosen - rejected) + CENTRING * (chosen + rejected).square()
    return each.sum()
'''


class Program(Headed):
    """Pairs, of which each answer goes through the model alone."""

    functions: str = "logsigmoid"

    @property
    def max_length(self) -> int:
        return self.source.config.objective.max_length

    def words_on_rows(self) -> str:
        return _pairs.WORDS

    def words_on_loss(self) -> str:
        return _WORDS

    def lines(self, dataset: Dataset) -> list[Line]:
        return _pairs.lines(dataset, self.columns, self.tokenizer, self.max_length)

    def counts(self, lines: list[Line]) -> tuple[int, int]:
        return _pairs.counts(lines, self.tokenizer, self.max_length)

    def settings(self) -> Named:
        return {**super().settings(), **self.named(CENTRING="center_rewards_coefficient")}

    def reading(self) -> str:
        return _pairs.READING

    def loss(self) -> str:
        return self.headed("1", "zeros_(self.head.weight)") + _SUMMED_LOSS
