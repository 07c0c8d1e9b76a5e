"""Examples first, then small changes of the words around them."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from typing import ClassVar

from studio.errors import ConfigError
from studio.prompt import PLACEHOLDER, Prompt
from studio.prompts import Bench
from studio.prompts._examples import Arm, drawn, race
from studio.prompts.halving import Halving
from studio.settings import setting
from studio.tidy import suggestions

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_SENTENCES_TRIED = 12  # to leave out, at most, each time
_SAID = {
    "step by step": "Think step by step before you answer.",
    "briefly": "Answer as briefly as you can.",
    "carefully": "Read carefully and leave nothing out.",
}


class Operators(Halving):
    """Hill climbing: all changes of the best prompt race, and the winner is changed anew, until none does better.

    After GrIPS (Prasad et al. 2023, arXiv:2203.07281), whose changes are of phrases; here each is a sentence left out,
    one added, all asked twice (Leviathan et al. 2025, arXiv:2512.14982), or what the quick tidying suggests.
    """

    title: ClassVar[str] = "Examples, then wording"
    about: ClassVar[str] = "Tries sets of examples first, then changes the instruction by fixed rules while that helps."

    sets: int = setting(
        16,
        "Sets",
        ge=0,
        le=10_000,
        help="Of examples, tried first. 0: the examples stay as they are, if there are any.",
        source="Opsahl-Ong et al. 2024, arXiv:2406.11695",
    )

    def search(self, bench: Bench) -> None:
        best = bench.start
        if self.sets:
            best = race(bench, list(drawn(bench, self.shots, self.sets)), self.few)
        while changes := [arm for arm in _changed(best, bench) if _sound(arm[0])]:
            winner = race(bench, changes, self.few)
            if statistics.fmean(bench.score(winner)) <= statistics.fmean(bench.score(best)):
                return
            best = winner


def _changed(prompt: Prompt, bench: Bench) -> Iterator[Arm]:
    """The prompts that are one change away; of a long one not each sentence is tried."""
    for each in suggestions(prompt, bench.pool):
        if each.key != "columns":  # one may be known only with the answer: a person must say that it is asked
            yield each.prompt, each.title.lower()
    for words, sentence in _SAID.items():
        if sentence not in prompt.system:
            yield _with(prompt, system=f"{prompt.system} {sentence}".strip()), f"asked to answer {words}"
    named = PLACEHOLDER.findall(prompt.template)
    if len(named) == len(set(named)):
        yield _with(prompt, template=f"{prompt.template}\n\n{prompt.template}"), "asked twice"
    if prompt.system:
        moved = _with(prompt, system="", template=f"{prompt.system}\n\n{prompt.template}")
        yield moved, "the system text moved into the instruction"
    sentences = [each for each in _SENTENCES.split(f"{prompt.system}\n{prompt.template}") if _plain(each)]
    for sentence in bench.dice.sample(sentences, min(len(sentences), _SENTENCES_TRIED)):
        left = {part: getattr(prompt, part).replace(sentence, "", 1).strip() for part in ("system", "template")}
        yield _with(prompt, **left), f"without “{sentence[:40]}”"


def _plain(sentence: str) -> bool:
    return "{" not in sentence and re.search(r"\w", sentence) is not None


def _sound(prompt: Prompt) -> bool:
    """Not longer than a prompt may be."""
    try:
        Prompt.parse(prompt.model_dump())
    except ConfigError:
        return False
    return True


def _with(prompt: Prompt, **parts: str) -> Prompt:
    return prompt.model_copy(update=parts)
