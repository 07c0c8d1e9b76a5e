"""Direct preference optimisation, with any of its losses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from studio.exports import Source, _written
from studio.exports import _texts as texts
from studio.exports._values import about
from studio.exports._written import Line, Named, _pairs
from studio.objectives.dpo import Dpo

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping as Columns

_WORDS = """\
An answer is held against the reference, which is the model before it learnt: a log-ratio says how much likelier the
answer has become, in nats. The loss is small where the chosen answer of a pair has gained more than the rejected one.
Its sum over an update is divided by the pairs. What the reference says is noted down once, before anything learns, of
all rows that will come up.

The loss of a pair, with β for BETA, ε for WRONG and m for the margin between its log-ratios:

"""

_LOGPROBS = '''\
def logprobs(rows, which):
    """Log-probability of an answer of each row: the sum over its tokens, in nats."""
    ids, labels = zip(*(row[which] for row in rows))
    shown, labels = mask(ids), padded(labels, -100)
    with «computed»:
        logits = model(input_ids=padded(ids), attention_mask=shown).logits
«front»    each = cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    )
    return -each.view(len(rows), -1).sum(1)


@torch.no_grad()
def refer(rows):
    """Note down what the model says of the answers of rows now, before it learns."""
    rows = [row for row in rows if "reference" not in row]
    for at in range(0, len(rows), BATCH_SIZE):
        some = rows[at : at + BATCH_SIZE]
        for row, *said in zip(some, *(logprobs(some, which).tolist() for which in BOTH)):
            row["reference"] = said


'''
_SUMMED_LOSS = '''\
def summed_loss(rows):
    """The loss summed over pairs."""
    chosen, rejected = (logprobs(rows, which) for which in BOTH)
    reference = torch.tensor([row["reference"] for row in rows], device=DEVICE)
«tokens»    won, lost = chosen - reference[:, 0], rejected - reference[:, 1]  # log-ratios
    margin = won - lost
«each»    return each.sum()
'''
_BEGIN = """\
refer(sorted(eval_rows, key=length))
for _, rows in zip(range(LAST_STEP), updates()):  # all that will come up
    refer(rows)
score(0)
model = attach(model)
for layer in model.modules():  # nothing is dropped out: chance would blur what is held against the reference
    if isinstance(layer, torch.nn.Dropout):
        layer.p = 0.0
"""
_TOKENS = """\
    tokens = torch.tensor([[sum(label != -100 for label in row[which][1][1:]) for which in BOTH] for row in rows])
    tokens = tokens.to(DEVICE)  # of each answer
"""
_IMITATION = "    each = each - RPO_ALPHA * chosen / tokens[:, 0]  # and cross-entropy of the chosen answers\n"

_PLAIN = "    each = -logsigmoid(BETA * margin)\n"
_SMOOTHED = "    each = -(1 - WRONG) * logsigmoid(BETA * margin) - WRONG * logsigmoid(-BETA * margin)\n"
_SORTED = """\
    # All margins of a batch as a distribution: the smallest against the smallest, and so on.
    margin = (chosen - rejected).sort().values - (reference[:, 0] - reference[:, 1]).sort().values
"""
LOSSES = {
    "sigmoid": _PLAIN,
    "ipo": """\
    margin = won / tokens[:, 0] - lost / tokens[:, 1]
    each = (margin - 1 / (2 * BETA)).square()
""",
    "hinge": "    each = torch.relu(1 - BETA * margin)\n",
    "robust": """\
    each = (WRONG * logsigmoid(-BETA * margin) - (1 - WRONG) * logsigmoid(BETA * margin)) / (1 - 2 * WRONG)
""",
    "exo_pair": """\
    right = (BETA * margin).sigmoid() * (logsigmoid(BETA * margin) - math.log(1 - WRONG))
    each = right + (-BETA * margin).sigmoid() * (logsigmoid(-BETA * margin) - math.log(WRONG))
""",
    "nca_pair": """\
    each = -logsigmoid(BETA * won) - 0.5 * logsigmoid(-BETA * won) - 0.5 * logsigmoid(-BETA * lost)
""",
    "sppo_hard": "    each = (won - 0.5 / BETA).square() + (lost + 0.5 / BETA).square()\n",
    "aot": _SORTED + _PLAIN,
    "apo_zero": "    each = 1 - (BETA * won).sigmoid() + (BETA * lost).sigmoid()\n",
    "apo_down": "    each = (BETA * won).sigmoid() + 1 - (BETA * margin).sigmoid()\n",
    "discopop": """\
    share = (BETA * margin / 0.05).sigmoid()
    each = -(1 - share) * logsigmoid(BETA * margin) + share * (-BETA * margin).exp()
""",
    "sft": "    each = -chosen / tokens[:, 0]\n",
}  # loss → lines that find it for each pair, from what `_SUMMED_LOSS` has by then
_LEAST = {"exo_pair": 1e-3}  # shares of wrong pairs: that loss is infinite without any


class Program(_written.Program):
    """Pairs, of which each answer is held against what the model said of it before it learnt."""

    begin: ClassVar[str] = _BEGIN

    def __init__(self, source: Source, train: Dataset, columns: Columns, config: Any, tokenizer: Any) -> None:
        super().__init__(source, train, columns, config, tokenizer)
        self.functions = "cross_entropy" + (", logsigmoid" if "logsigmoid" in self.each() else "")

    @property
    def objective(self) -> Dpo:
        assert isinstance(self.source.config.objective, Dpo)
        return self.source.config.objective

    def words_on_rows(self) -> str:
        return _pairs.WORDS

    def words_on_loss(self) -> str:
        from studio.training.preferences import LOSSES as FORMULAS

        return _WORDS + inspect.cleandoc(FORMULAS[self.objective.loss_type].__doc__ or "")

    def lines(self, dataset: Dataset) -> list[Line]:
        return _pairs.lines(dataset, self.columns, self.tokenizer, self.objective.max_length)

    def counts(self, lines: list[Line]) -> tuple[int, int]:
        return _pairs.counts(lines, self.tokenizer, self.objective.max_length)

    def settings(self) -> Named:
        each, named = self.each(), {**super().settings(), **self.named("beta")}
        if "WRONG" in each:
            said = about(Dpo, "label_smoothing")
            named["WRONG"] = (said, max(self.objective.label_smoothing, _LEAST.get(self.objective.loss_type, 0.0)))
        return named | (self.named("rpo_alpha") if "RPO_ALPHA" in each else {})

    def reading(self) -> str:
        return _pairs.READING

    def loss(self) -> str:
        each = self.each()
        tokens = _TOKENS if "tokens" in each else ""
        return _LOGPROBS + texts.filled(_SUMMED_LOSS, tokens=tokens, each=each)

    def each(self) -> str:
        """The lines that find the loss of each pair."""
        objective = self.objective
        each = LOSSES[objective.loss_type] + (_IMITATION if objective.rpo_alpha else "")
        return each.replace(_PLAIN, _SMOOTHED) if objective.label_smoothing else each
