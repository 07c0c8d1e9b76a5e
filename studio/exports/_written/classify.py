"""Classification: one label of several, any number of them, or a number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from studio.data.labels import Cell, Head, count, read_cell, target, tokenise
from studio.data.templates import as_text
from studio.exports import Source
from studio.exports import _texts as texts
from studio.exports._values import about
from studio.exports._written import Line, Named
from studio.exports._written._headed import Headed
from studio.objectives.classify import Classify

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping as Columns

_ROWS = """\
`train.jsonl` and `eval.jsonl` hold each text with «what». Rows that lack a text or a label are left out, and so are
held-out ones with a label that no row to learn from has. Held-out ones are shuffled: only the first EVAL_ROWS are
scored, and each label should be among them."""

_READING = '''
def encode(row):
    """Token ids of a text, its end cut off where it is too long, and what is right, as the loss takes it."""
    ids = tokenizer(row["text"], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return ids or [tokenizer.pad_token_id or 0], «right»


def length(row):
    return len(row[0])


def read(name):
    return [encode(row) for row in lines_of(name)]
'''


_LABELS = "The labels; the head has an output for each."
_ABSENT = "And each label's weight where it is absent."
_MEAN = "Of the numbers that are learnt from."
_SCALE = "Their standard deviation."


@dataclass(frozen=True)
class _Kind:
    """How one kind of label is written down, read and learnt."""

    key: str  # of it, in a line of the files
    what: str  # it is, in words
    right: str  # a row's line → what the loss takes
    words: str  # on the loss
    loss: str
    outputs: str = "len(LABELS)"
    function: str = ""  # of torch.nn.functional
    weights: str = ""  # a line of the loss where labels have weights


_KINDS = {
    "classes": _Kind(
        key="label",
        what="its label",
        right='LABELS.index(row["label"])',
        words="""\
Cross-entropy: how surprised the model is by the right label, in nats. The head has an output for each label, and their
softmax is the labels' probabilities. The sum over an update is divided by its rows.""",
        function="cross_entropy",
        loss='''\
def summed_loss(rows, smoothing=0.0):
    """Cross-entropy of the right label, summed over rows, in nats."""
    ids, right = zip(*rows)
    right = torch.tensor(right, device=DEVICE)
«weights»    return cross_entropy(model(ids), right, «weight»reduction="sum", label_smoothing=smoothing)
''',
        weights="    weight = torch.tensor(WEIGHTS, device=DEVICE)\n",
    ),
    "labels": _Kind(
        key="labels",
        what="its labels, any number of them",
        right='[float(label in row["labels"]) for label in LABELS]',
        words="""\
Binary cross-entropy, in nats: how surprised the model is that a label is there, or that it is not; the mean over all
labels. The probability of each is the sigmoid of an output of its own. The sum over an update is divided by its
rows.""",
        function="binary_cross_entropy_with_logits",
        loss='''\
def summed_loss(rows, smoothing=0.0):
    """Binary cross-entropy of the labels, its mean over them summed over rows, in nats."""
    ids, there = zip(*rows)
    there = torch.tensor(there, device=DEVICE)
    right = there * (1 - smoothing) + smoothing / 2
«weights»    each = binary_cross_entropy_with_logits(model(ids), right, «weight»reduction="none")
    return each.mean(1).sum()
''',
        weights="    weight = torch.where(there > 0, *torch.tensor([WEIGHTS, ABSENT], device=DEVICE))\n",
    ),
    "number": _Kind(
        key="number",
        what="its number",
        right='(row["number"] - MEAN) / SCALE',
        words="""\
Half the squared error of the head's one output. Numbers are learnt less their mean and divided by their spread, so that
the head begins near them. The sum over an update is divided by its rows.""",
        outputs="1",
        loss='''\
def summed_loss(rows):
    """Half the squared error, summed over rows."""
    ids, right = zip(*rows)
    return 0.5 * (model(ids)[:, 0] - torch.tensor(right, device=DEVICE)).square().sum()
''',
    ),
}


class Program(Headed):
    """Texts with their labels as words, or with a number."""

    noisy: ClassVar[bool] = True

    def __init__(self, source: Source, train: Dataset, columns: Columns, config: Any, tokenizer: Any) -> None:
        super().__init__(source, train, columns, config, tokenizer)
        objective = self.objective
        (column,) = objective.label_columns(columns)
        self.head, _ = objective.head(column, count(row.get(column) for row in train.rows))
        self.kind = _KINDS[self.head.kind]
        self.functions = self.kind.function
        self.smooths = self.head.kind != "number"
        window = getattr(config, "max_position_embeddings", None) or objective.max_length
        self.cut_off = min(objective.max_length, window, tokenizer.model_max_length)

    @property
    def objective(self) -> Classify:
        assert isinstance(self.source.config.objective, Classify)
        return self.source.config.objective

    def words_on_rows(self) -> str:
        return texts.filled(_ROWS, what=self.kind.what)

    def words_on_loss(self) -> str:
        return self.kind.words

    def lines(self, dataset: Dataset) -> list[Line]:
        found = []
        for row in dataset.rows:
            text, cell = as_text(row.get(self.columns.columns["text"])), read_cell(row.get(self.head.name))
            right = target(self.head, cell, self.objective.label_separator) if text.strip() and cell != "" else None
            if right is not None:
                found.append({"text": text, self.kind.key: _said(self.head, cell, right)})
        return found

    def scored(self, dataset: Dataset) -> list[Line]:
        lines = self.lines(dataset)
        random.Random(0).shuffle(lines)  # noqa: S311 - as `LabelObjective.prepare` does
        return lines

    def counts(self, lines: list[Line]) -> tuple[int, int]:
        tokens = sum(len(ids) for ids, _ in tokenise([row["text"] for row in lines], self.tokenizer, self.cut_off))
        return tokens, tokens

    def settings(self) -> Named:
        named = super().settings()
        named["MAX_LENGTH"] = (named["MAX_LENGTH"][0], self.cut_off)
        if self.head.kind == "number":
            return {**named, "MEAN": (_MEAN, self.head.mean), "SCALE": (_SCALE, self.head.scale)}
        named["LABELS"] = (_LABELS, self.head.labels)
        if weights := self.head.balance:
            named["WEIGHTS"] = (about(Classify, "class_weights"), weights)
            if self.head.kind == "labels":
                named["ABSENT"] = (_ABSENT, [weight / (2 * weight - 1) for weight in weights])
        return named

    def reading(self) -> str:
        return texts.filled(_READING, right=self.kind.right)

    def loss(self) -> str:
        headed = self.headed(self.kind.outputs, "normal_(self.head.weight, std=0.02)")
        weights, weight = (self.kind.weights, "weight, ") if self.head.balance else ("", "")
        return headed + texts.filled(self.kind.loss, weights=weights, weight=weight)


def _said(head: Head, cell: Cell, right: list[float]) -> Any:
    """A target as a person would write it."""
    if head.kind == "number":
        return float(str(cell))
    if head.kind == "classes":
        return head.labels[int(right[0])]
    return [label for label, there in zip(head.labels, right, strict=True) if there]
