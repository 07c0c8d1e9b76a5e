"""The next token: cross-entropy of what is learnt, row by row or packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from studio.exports import _texts as texts
from studio.exports import _written
from studio.exports._written import Line
from studio.objectives.next_token import NextToken

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.rendering import Rendered

_ROWS = """\
`train.jsonl` and `eval.jsonl` hold the rows as the model saw them: `text` is what its chat template made of a
conversation (`tokenizer.apply_chat_template(messages, tokenize=False)`), `learnt` the stretches of it, in characters,
that count in the loss: the answers with the marks at their end. Plain text is learnt whole."""
_PACKED = """

Texts are packed: all tokens end to end, cut into blocks of equal length, so that nothing is cut away and no batch is
half empty."""
_LOSS = """\
Cross-entropy: how surprised the model is by each token that it is to learn, in nats. The prediction for a token stands
at the one before it. The sum over a whole update is divided by its number of learnt tokens, so that each counts alike,
whatever the length of its row."""

_ENCODE_TEXT = '''
def encode(row):
    """Token ids of a text and their labels, which are the same: all of it is learnt, the end of the text, too."""
    ids = tokenizer(row["text"])["input_ids"]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return ids«cut», ids«cut»
'''

_PACK = '''

def pack(rows):
    """Blocks of MAX_LENGTH tokens; each is a list of the texts, or parts of texts, that lie in it."""
    blocks, room = [[]], MAX_LENGTH
    for ids, labels in rows:
        while ids:
            if not room:
                blocks.append([])
                room = MAX_LENGTH
            blocks[-1].append((ids[:room], labels[:room]))
            taken = min(room, len(ids))
            ids, labels, room = ids[taken:], labels[taken:], room - taken
    return [block for block in blocks if learnt(block)]


def learnt(block):
    """How many tokens count in the loss. The first of a text, or of its part, is never predicted."""
    return sum(label != -100 for _, labels in block for label in labels[1:])


def length(block):
    return sum(len(ids) for ids, _ in block)
'''

_ROW = '''

def learnt(row):
    """How many tokens count in the loss. The first is never predicted."""
    return sum(label != -100 for label in row[1][1:])


def length(row):
    return len(row[0])
'''

# Where texts cannot be kept apart within a block.
_PACK_WHOLE = (
    '''

def pack(rows):
    """Blocks of MAX_LENGTH tokens, all texts end to end; the first token of each is not predicted from another."""
    ids = [token for row, _ in rows for token in row]
    labels = [label for _, row in rows for label in [-100, *row[1:]]]
    blocks = [(ids[at : at + MAX_LENGTH], labels[at : at + MAX_LENGTH]) for at in range(0, len(ids), MAX_LENGTH)]
    return [block for block in blocks if learnt(block)]
'''
    + _ROW
)

_READ = """

def read(name):
    return «pack»[encode(row) for row in lines_of(name)]«packed»
"""

_SUMMED_LOSS = '''\
def summed_loss(rows, smoothing=0.0):
    """Cross-entropy over all learnt tokens of some rows, in nats."""
«apart»    ids, labels = zip(*rows)
    shown, labels = mask(ids), padded(labels, -100)
    with «computed»«noisy»:
        logits = model(input_ids=padded(ids), attention_mask=shown).logits
«front»    return cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        labels[:, 1:].flatten(),
        ignore_index=-100,
        reduction="sum",
        label_smoothing=smoothing,
    )
'''
_APART = "    rows = [row for block in rows for row in block]  # texts of a block see nothing of one another\n"


class Program(_written.Program):
    """Rows as text with the stretches that are learnt; plain text is learnt whole."""

    items: ClassVar[str] = "sum(map(learnt, rows))"
    functions: str = "cross_entropy"
    smooths: bool = True
    noisy: ClassVar[bool] = True

    @property
    def objective(self) -> NextToken:
        assert isinstance(self.source.config.objective, NextToken)
        return self.source.config.objective

    @property
    def packs(self) -> bool:
        return self.objective.packs(self.columns)

    def words_on_rows(self) -> str:
        return _ROWS + (_PACKED if self.packs else "")

    def words_on_loss(self) -> str:
        return _LOSS

    def lines(self, dataset: Dataset) -> list[Line]:
        from jinja2 import TemplateError

        from studio.data.rendering import render
        from studio.data.templates import to_messages, to_text
        from studio.data.tokens import encode_rendered, encode_text

        cut_off, found = self.objective.cut_off(self.columns), []
        for row in dataset.rows:
            if self.columns.format == "text":
                text = to_text(row, self.columns)
                found += [{"text": text}] if encode_text(text, self.tokenizer, cut_off) else []
            elif messages := to_messages(row, self.columns):
                try:
                    shown: Rendered = render(messages, self.tokenizer, self.objective.loss_on)
                except TemplateError:
                    continue
                if encode_rendered([shown], self.tokenizer, cut_off)[0]:
                    found.append({"text": shown.text, "learnt": [list(span) for span in shown.spans]})
        return found

    def counts(self, lines: list[Line]) -> tuple[int, int]:
        from studio.data.rendering import Rendered
        from studio.data.tokens import encode_rendered, encode_text, pack, report_on

        cut_off = self.objective.cut_off(self.columns)
        if self.columns.format == "text":
            rows = [encode_text(row["text"], self.tokenizer, cut_off) for row in lines]
        else:
            shown = [Rendered(row["text"], [(begin, end) for begin, end in row["learnt"]]) for row in lines]
            rows = encode_rendered(shown, self.tokenizer, cut_off)
        kept = [row for row in rows if row]
        report = report_on(pack(kept, self.objective.max_length) if self.packs else kept, 0)
        return report.tokens, report.trained_tokens

    def reading(self) -> str:
        encode = _ENCODE_TEXT if self.columns.format == "text" else texts.ENCODE
        pack = _ROW if not self.packs else _PACK_WHOLE if self.padded else _PACK
        return texts.filled(
            encode + pack + _READ,
            cut="" if self.packs else "[:MAX_LENGTH]",
            pack="pack(" if self.packs else "",
            packed=")" if self.packs else "",
        )

    def loss(self) -> str:
        apart = self.packs and not self.padded
        return texts.filled(_SUMMED_LOSS, apart=_APART if apart else "")
