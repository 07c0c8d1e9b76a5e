"""What objectives share that learn from pairs of answers to a prompt: their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.errors import DatasetError
from studio.exports import _texts as texts
from studio.exports._written import Line

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping as Columns

_BOTH = ("chosen", "rejected")

WORDS = """\
`train.jsonl` and `eval.jsonl` hold pairs of answers, each behind its prompt as the model saw it: `text` is what its
chat template made of both (`tokenizer.apply_chat_template(messages, tokenize=False)`), `learnt` the stretch of it, in
characters, that is the answer with the mark at its end. Pairs whose prompt alone fills the cut-off are left out."""

READING = (
    texts.ENCODE.replace("«cut»", "[:MAX_LENGTH]")
    + '''

def ended(ids, labels):
    """Without what the template writes behind the end of the answer: nobody judges that."""
    end = 1 + max(at for at, label in enumerate(labels) if label != -100)
    return ids[:end], labels[:end]


BOTH = ("chosen", "rejected")  # answers of a row


def read(name):
    return [{which: ended(*encode(row[which])) for which in BOTH} for row in lines_of(name)]


def length(row):
    return sum(len(row[which][0]) for which in BOTH)
'''
)


def lines(dataset: Dataset, columns: Columns, tokenizer: Any, max_length: int) -> list[Line]:
    """The pairs that the run learnt from, as the chat template shows them."""
    from studio.data.pairs import encode_pairs
    from studio.data.rendering import render
    from studio.data.templates import to_pair

    found: list[Line] = []
    for row in dataset.rows:
        try:
            encode_pairs([row], columns, tokenizer, max_length)
        except DatasetError:  # the run left it out
            continue
        pair = to_pair(row, columns)
        assert pair
        prompt, *answers = pair
        shown = [
            render([*prompt, {"role": "assistant", "content": each}], tokenizer, "last_answer") for each in answers
        ]
        found.append({
            which: {"text": each.text, "learnt": [list(span) for span in each.spans]}
            for which, each in zip(_BOTH, shown, strict=True)
        })  # fmt: skip
    return found


def counts(lines: list[Line], tokenizer: Any, max_length: int) -> tuple[int, int]:
    """How many tokens these are up to the answers' ends, and how many of them are the answers'."""
    from studio.data.rendering import Rendered
    from studio.data.tokens import IGNORED, encode_rendered

    answers = [row[which] for row in lines for which in _BOTH]
    shown = [Rendered(each["text"], [(begin, end) for begin, end in each["learnt"]]) for each in answers]
    labels = [each.labels for each in encode_rendered(shown, tokenizer, max_length) if each]
    ends = [1 + max(at for at, label in enumerate(each) if label != IGNORED) for each in labels]
    return sum(ends), sum(label != IGNORED for each in labels for label in each[1:])
