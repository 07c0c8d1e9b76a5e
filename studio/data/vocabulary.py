"""Terms of a domain that the tokenizer breaks into pieces: which would save most as tokens of their own."""

from __future__ import annotations

import copy
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.templates import Mapping, to_messages, to_text

# A word with the space in front of it: in running text the space is part of the token.
_WORD = re.compile(r" [^\W\d_]\w*(?:-\w+)*")
_LONGEST = 40  # letters of a term
_BATCH = 256  # texts tokenised at once
_BEFORE, _BEHIND = "x", " x"  # what a term is tokenised between

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Term:
    """A word with the space in front of it."""

    term: str
    count: int  # in the training texts
    pieces: int  # tokens that it takes now


@dataclass(frozen=True)
class Proposal:
    """Terms, those that save most first, and the tokens of all texts without and with them."""

    terms: list[Term]
    tokens_before: int
    tokens_after: int


def texts_of(rows: Iterable[dict[str, Any]], mapping: Mapping) -> list[str]:
    """What rows say, chat template left out."""
    if mapping.format == "text":
        return [to_text(row, mapping) for row in rows]
    return [message["content"] for row in rows for message in to_messages(row, mapping) or []]


def propose(
    texts: Sequence[str], tokenizer: Any, most: int, min_count: int, progress: Progress | None = None
) -> Proposal:
    """At most `most` words that occur `min_count` times or more, by count x (pieces - 1): the tokens each saves.

    Words only that stand behind a space, which becomes part of the token, so that running text needs no token for
    the space alone. Left out is what more often begins a longer word, and what would not be read back as written.
    `progress(done, total)` counts texts, each three times.
    """
    tell = _Telling(progress, 3 * len(texts))
    words: Counter[str] = Counter()
    for text in texts:
        words.update(_WORD.findall(text))
        tell(1)
    ordered = sorted(words)
    frequent = [word for word in ordered if words[word] >= min_count and len(word) <= _LONGEST]
    found = [
        Term(word, words[word], len(pieces))
        for word, pieces in zip(frequent, pieces_of(tokenizer, frequent), strict=True)
        if len(pieces) > 1 and _stands_alone(word, words, ordered)
    ]
    found.sort(key=lambda each: (-each.count * (each.pieces - 1), each.term))
    trial = copy.deepcopy(tokenizer)
    add_terms(trial, [each.term for each in found[:most]])
    kept = [each for each in found[:most] if _reads_back(each.term, tokenizer, trial)]
    before = _tokens(texts, tokenizer, tell)
    return Proposal(kept, before, _tokens(texts, trial, tell) if kept else before)


def _stands_alone(word: str, words: Counter[str], ordered: list[str]) -> bool:
    """Whether it is a word more often than the beginning of longer ones, which the token would split."""
    longer, at = 0, bisect_left(ordered, word) + 1
    while at < len(ordered) and ordered[at].startswith(word):
        longer += words[ordered[at]]
        at += 1
    return longer <= words[word]


def _reads_back(term: str, tokenizer: Any, trial: Any) -> bool:
    text = f"{_BEFORE}{term}{_BEHIND}"
    return trial.decode(_ids(trial, [text])[0]) == tokenizer.decode(_ids(tokenizer, [text])[0])


def pieces_of(tokenizer: Any, terms: Sequence[str]) -> list[list[int]]:
    """The tokens that each term takes behind a word."""
    start = len(_ids(tokenizer, [_BEFORE])[0])
    return [ids[start:] for ids in _ids(tokenizer, [f"{_BEFORE}{term}" for term in terms])]


def add_terms(tokenizer: Any, terms: Sequence[str]) -> list[int]:
    """Makes each term one token of `tokenizer`; returns their ids."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(term, normalized=False) for term in terms])
    return tokenizer.convert_tokens_to_ids(list(terms))


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def _tokens(texts: Sequence[str], tokenizer: Any, tell: _Telling) -> int:
    total = 0
    for at in range(0, len(texts), _BATCH):
        batch = texts[at : at + _BATCH]
        total += sum(map(len, _ids(tokenizer, batch)))
        tell(len(batch))
    return total


class _Telling:
    """Progress over several passes."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, more: int) -> None:
        self.done += more
        if self.progress:
            self.progress(self.done, self.total)
