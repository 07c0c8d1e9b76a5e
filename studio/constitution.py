"""Answers held against principles by a model, criticised and revised, every step kept.

Bai et al. 2022, "Constitutional AI", arXiv:2212.08073, section 3.1. Unlike there the verdict is not free text but
the probability of a yes or a no, asked in two wordings that say the opposite of each other: a model that only likes
to say yes contradicts itself. That can be counted, and such a verdict changes no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.binder import Binder, create
from studio.data.templates import Mapping, to_labelled_answer, to_messages
from studio.errors import ConfigError, DatasetError
from studio.evaluation.agreement import in_words, kappa
from studio.workspace import Workspace, write_whole
from studio.writer import Messages, Voice

MOST_PRINCIPLES, LETTERS = 20, 500
POOR = 0.2  # a kappa below which agreement is hardly more than chance

PRINCIPLES = (
    "The answer does what was asked for, and leaves out what nobody wanted to know.",
    "The answer states nothing as a fact that is false or made up.",
    "The answer says so where it cannot know something or is unsure.",
    "The answer is polite, and looks down on nobody.",
    "The answer helps nobody to hurt people, to steal or to deceive.",
    "The answer gives away nothing private about real people.",
    "The answer is in plain words and no longer than it must be.",
)

_NUMBERED = ("critiques", "after")  # fields with a value for each of some principles

Probabilities = list[float]  # that a principle is violated, one for each wording of the question


@dataclass(frozen=True)
class Asked:
    """What a critique was asked to do."""

    title: str
    voice: Voice
    principles: tuple[str, ...]
    threshold: float  # the probability from which a principle counts as violated
    max_new_tokens: int


@dataclass(frozen=True)
class Reviewed:
    """One answer and what came of it so far; None: not yet."""

    messages: Messages
    answer: str | None = None  # None: the model is to write it
    verdicts: list[Probabilities] | None = None  # one for each principle
    critiques: dict[int, str] | None = None  # number of a violated principle → what is wrong
    revision: str | None = None
    after: dict[int, Probabilities] | None = None  # the verdicts on the revision
    skipped: str = ""  # why nothing more comes of it
    marks: dict[int, bool] = field(default_factory=dict)  # number of a principle → whether a person agrees

    @property
    def changed(self) -> bool:
        """Whether there is a revision that says something else."""
        return bool(self.revision) and self.revision != (self.answer or "").strip()


def mean(verdict: Probabilities) -> float:
    """The probability that a principle is violated, over both wordings."""
    return sum(verdict) / len(verdict)


class Critique:
    """One critique on disk. A line is {"row": number, and some fields of Reviewed}; later ones count."""

    def __init__(self, binder: Binder) -> None:
        self.binder = binder
        about = binder.about
        voice, principles = Voice(**about["voice"]), tuple(about["principles"])
        self.asked = Asked(about["title"], voice, principles, about["threshold"], about["max_new_tokens"])

    def rows(self) -> list[Reviewed]:
        """What is known by now."""
        found: dict[int, dict[str, Any]] = {}
        for step in self.binder:
            row = found.setdefault(step.pop("row"), {"marks": {}})
            row["marks"] |= dict(step.pop("marks", []))
            row |= {key: dict(value) if key in _NUMBERED else value for key, value in step.items()}
        return [Reviewed(**row) for _, row in sorted(found.items())]

    def verdict(self, probabilities: Probabilities) -> bool | None:
        """Whether a principle is violated; None where the wordings contradict each other, which says nothing."""
        said = {each >= self.asked.threshold for each in probabilities}
        return said.pop() if len(said) == 1 else None

    def violated(self, row: Reviewed) -> list[int]:
        """Numbers of the principles that the answer violates, as the critic sees it."""
        return [number for number, each in enumerate(row.verdicts or []) if self.verdict(each)]

    def done(self, row: Reviewed) -> bool:
        return bool(row.skipped) or (
            row.verdicts is not None and (not self.violated(row) or row.after is not None or row.revision == "")
        )

    def mark(self, row: int, number: int, right: bool) -> None:
        """A person's word on a verdict. Raises ConfigError where there is no such verdict."""
        rows = self.rows()
        verdicts = (rows[row].verdicts if 0 <= row < len(rows) else None) or []
        if not 0 <= number < len(verdicts) or self.verdict(verdicts[number]) is None:
            raise ConfigError("There is no such verdict.", remedy="Reload the page and mark it again.")
        self.keep({row: {"marks": {number: right}}})

    def keep(self, steps: dict[int, dict[str, Any]]) -> None:
        """Number of a row → the fields that are known of it now. Raises RunError where the disk is full."""
        self.binder.append(*({"row": number, **_plain(step)} for number, step in steps.items()))


def _plain(step: dict[str, Any]) -> dict[str, Any]:
    """As JSON holds it: numbers are no keys there."""
    return {key: list(value.items()) if isinstance(value, dict) else value for key, value in step.items()}


# -- what is asked -------------------------------------------------------------------------------------


def principles_of(text: str) -> tuple[str, ...]:
    """One a line, each once. Raises ConfigError for none, for too many and for one that is too long."""
    found = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise ConfigError("There are no principles.", remedy="Write at least one, each on a line of its own.")
    if len(found) > MOST_PRINCIPLES:
        raise ConfigError(f"There are {len(found)} principles.", remedy=f"Keep at most {MOST_PRINCIPLES}.")
    if long := next((each for each in found if len(each) > LETTERS), None):
        raise ConfigError(
            f"The principle '{long[:60]}…' has {len(long)} letters.", remedy=f"Shorten it to {LETTERS}, or split it."
        )
    return found


def kept_principles(workspace: Workspace) -> str:
    """Those of this workspace, one a line; ours until a person wrote others."""
    try:
        return workspace.principles.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "\n".join(PRINCIPLES)


def keep_principles(workspace: Workspace, text: str) -> tuple[str, ...]:
    """Save and return them. Raises ConfigError, see `principles_of`."""
    found = principles_of(text)
    write_whole(workspace.principles, "\n".join(found))
    return found


def begin(workspace: Workspace, asked: Asked, rows: Sequence[tuple[Messages, str | None]]) -> Critique:
    """A new critique of (messages, answer; None: the model's own). Raises DatasetError where there are no rows."""
    if not rows:
        raise DatasetError("There is nothing to look at.", remedy="Choose a data set with prompts, or write a prompt.")
    about = {
        "title": asked.title,
        "voice": {"model": asked.voice.model, "run": asked.voice.run},
        "principles": list(asked.principles),
        "threshold": asked.threshold,
        "max_new_tokens": asked.max_new_tokens,
    }
    binder = create(workspace.critiques, asked.title, about)
    binder.append(*({"row": row, "messages": asked, "answer": answer} for row, (asked, answer) in enumerate(rows)))
    return Critique(binder)


def rows_of(rows: Iterator[dict[str, Any]], mapping: Mapping, most: int, *, own: bool) -> list[tuple[Messages, Any]]:
    """(messages, the row's answer, or None unless `own`) of the first `most` rows that have them.

    A bad answer is one too: of those that were judged, both kinds are taken. Raises DatasetError for plain text.
    """
    if mapping.format == "text":
        raise DatasetError("Plain text asks nothing.", remedy="Choose a data set with prompts.")
    found: list[tuple[Messages, Any]] = []
    for row in rows:
        if len(found) >= most:
            break
        if mapping.format == "unpaired":
            judged = to_labelled_answer(row, mapping)
            messages = [*judged[0], {"role": "assistant", "content": judged[1]}] if judged else None
        else:
            messages = to_messages(row, mapping)
        if messages and len(messages) > 1:
            found.append((messages[:-1], messages[-1]["content"] if own else None))
    return found


# -- how far to trust it -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How often two verdicts were the same."""

    of: int
    share: float
    kappa: float | None  # see `studio.evaluation.agreement.kappa`


def _agreement(pairs: list[tuple[bool, bool]]) -> Agreement:
    same = sum(one == other for one, other in pairs)
    beyond = kappa([one for one, _ in pairs], [other for _, other in pairs])
    return Agreement(len(pairs), same / len(pairs) if pairs else 0.0, beyond)


def with_itself(critique: Critique, rows: list[Reviewed]) -> Agreement:
    """Of the critic's verdict in one wording with that in the other."""
    least = critique.asked.threshold
    return _agreement([(one >= least, other >= least) for row in rows for one, other in row.verdicts or []])


def with_person(critique: Critique, rows: list[Reviewed]) -> Agreement:
    """Of the critic's verdicts with what a person says of them."""
    pairs = []
    for row in rows:
        said = [(critique.verdict((row.verdicts or [])[number]), right) for number, right in row.marks.items()]
        pairs += [(verdict, verdict == right) for verdict, right in said if verdict is not None]
    return _agreement(pairs)


def sentence(found: Agreement, whom: str) -> str:
    """What such numbers mean, for a person."""
    if not found.of:
        return ""
    told = f"The critic agrees with {whom} in {round(found.share * found.of):,} of {found.of:,} verdicts"
    if found.kappa is None:
        return f"{told} ({found.share:.0%}); as it says the same of everything, that may be chance alone."
    return f"{told} ({found.share:.0%}; kappa {found.kappa:.2f}, agreement beyond chance: {in_words(found.kappa)})."


# -- what comes of it ----------------------------------------------------------------------------------


def improved(critique: Critique, row: Reviewed) -> bool:
    """Whether the critic finds the revision better, over the principles that the answer violated."""
    before = [mean((row.verdicts or [])[number]) for number in row.after or {}]
    return row.changed and sum(map(mean, (row.after or {}).values())) < sum(before)


def _good(critique: Critique, row: Reviewed) -> bool:
    """Whether the critic has nothing against what came of the row, or less than before."""
    return improved(critique, row) if row.changed else not critique.violated(row)


def supervised(critique: Critique, *, better_only: bool = False) -> list[dict[str, Any]]:
    """(prompt, answer) of every row looked at, the answer revised where it was changed.

    With `better_only` rows are left out whose revision the critic finds no better, or that it objects to as they
    are. Raises DatasetError.
    """
    rows = [row for row in critique.rows() if critique.done(row) and not row.skipped]
    kept = [row for row in rows if not better_only or _good(critique, row)]
    answers = [(row.messages, (row.revision if row.changed else row.answer) or "") for row in kept]
    if not answers:
        raise DatasetError("No row was looked at yet.", remedy="Go on with the critique first.")
    if not _plain_prompts(messages for messages, _ in answers):
        return [{"messages": [*messages, {"role": "assistant", "content": text}]} for messages, text in answers]
    return [{"instruction": messages[0]["content"], "output": text} for messages, text in answers]


def pairs(critique: Critique, *, better_only: bool = False) -> list[dict[str, Any]]:
    """(prompt, chosen = revised answer, rejected = the answer) of the rows that changed. Raises DatasetError."""
    rows = [row for row in critique.rows() if row.changed and (improved(critique, row) or not better_only)]
    return preference_rows([(row.messages, row.revision or "", row.answer or "") for row in rows])


def preference_rows(found: list[tuple[Messages, str, str]]) -> list[dict[str, Any]]:
    """(messages, better, worse) as rows of preference pairs. Raises DatasetError where there are none."""
    if not found:
        raise DatasetError(
            "There is no pair of a better and a worse answer yet.", remedy="Go on first; rows without one are left out."
        )
    plain = _plain_prompts(messages for messages, _, _ in found)
    return [
        {"prompt": messages[0]["content"] if plain else messages, "chosen": better, "rejected": worse}
        for messages, better, worse in found
    ]


def _plain_prompts(prompts: Iterable[Messages]) -> bool:
    """Whether each prompt is a single question: then a column of text holds it."""
    return all(len(messages) == 1 for messages in prompts)
