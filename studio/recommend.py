"""What to make of a report on whether fine-tuning was worth it, by rules, in words.

Differences are of the same rows, row by row; one counts where its 90 % interval leaves 0 out.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from studio.evaluation.intervals import bootstrap
from studio.worth import Key, Line, Report

FEW = 30  # sealed rows, with which only large differences can be told from chance

Outcome = Literal["worth", "untried", "prompt", "harmed", "neither", "unchanged"]


@dataclass(frozen=True)
class Gain:
    """How much more the one gets than the other, and the interval of that."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        return self.low > 0

    @property
    def words(self) -> str:
        if not self.mean and not self.low and not self.high:
            return "the same on every row"
        return f"{self.mean:+.3g}, between {self.low:+.3g} and {self.high:+.3g} in 9 of 10 such samples"


@dataclass(frozen=True)
class Recommendation:
    """What to do, and what speaks for it."""

    outcome: Outcome
    text: str
    because: list[str]


def gain(report: Report, of: Key, over: Key) -> Gain | None:
    """None where one of them is missing."""
    now, was = report.side(of), report.side(over)
    if now is None or was is None:
        return None
    differences = [b - a for a, b in zip(was.scores, now.scores, strict=True)]
    return Gain(statistics.fmean(differences), *bootstrap(differences))


def recommend(report: Report) -> Recommendation:
    """The tuned model against the base model with the better of its prompts."""
    base, tuned = report.line("base"), report.line("tuned")
    if base.side is None or tuned.side is None:
        raise ValueError("both models must have been asked with the plain prompt")
    prompted = _better(report.line("base_prompt"), base)
    best = report.line("tuned_prompt") if _sure(report, "tuned_prompt", "tuned") else tuned
    over = gain(report, best.key, prompted.key)
    assert over
    outcome = _outcome(report, over, prompted, best)
    return Recommendation(
        outcome,
        _TEXTS[outcome],
        [
            _quality(over, prompted, best),
            *_prompts(report),
            *_cost(report, prompted, best),
            *_savings(report, prompted, best),
            *_caution(report),
        ],
    )


_TEXTS: dict[Outcome, str] = {
    "worth": "Fine-tuning was worth it: the tuned model is better than the base model with the best prompt that is "
    "known for it.",
    "untried": "Fine-tuning made the model better. Whether a prompt would have done as much is not known: search for "
    "one with the base model.",
    "prompt": "Keep the prompt: these rows do not show that the tuned model is better than the base model with it.",
    "harmed": "Fine-tuning made the model worse. Use the base model, and look at the run's curves before you train "
    "again.",
    "neither": "Neither a prompt nor fine-tuning made it better, as far as these rows tell. More or better data, or a "
    "larger model, are the next things to try.",
    "unchanged": "Fine-tuning did not make it better, as far as these rows tell. Search for a prompt with the base "
    "model; more or better data, or a larger model, are what else there is to try.",
}


def _outcome(report: Report, over: Gain, prompted: Line, best: Line) -> Outcome:
    if over.sure:
        return "worth" if report.side("base_prompt") else "untried"
    if over.high < 0:
        return "harmed" if _sure(report, "base", best.key) else "prompt"
    helped = _sure(report, "base_prompt", "base") or _sure(report, best.key, "base")
    if prompted.key == "base_prompt" and helped:
        return "prompt"
    return "neither" if report.side("base_prompt") else "unchanged"


def _better(one: Line, other: Line) -> Line:
    """By what they got; the other one where they got the same."""
    assert other.side
    return one if one.side and one.side.mean > other.side.mean else other


def _sure(report: Report, of: Key, over: Key) -> bool:
    found = gain(report, of, over)
    return found is not None and found.sure


# -- what speaks for it --------------------------------------------------------------------------------


def _quality(over: Gain, prompted: Line, best: Line) -> str:
    assert best.side
    assert prompted.side
    return (
        f"{_named(best)} gets {best.side.mean:.3g}, {_named(prompted, small=True)} {prompted.side.mean:.3g}: "
        f"{over.words}."
    )


def _named(line: Line, *, small: bool = False) -> str:
    """As it stands in a sentence."""
    which, prompt = line.title.split(", ")
    said = f"The {which.lower()} model with the {prompt}"
    return said[0].lower() + said[1:] if small else said


def _prompts(report: Report) -> list[str]:
    """What the searched prompts brought each model."""
    said = []
    pairs: tuple[tuple[Key, Key], ...] = ("base_prompt", "base"), ("tuned_prompt", "tuned")
    for of, over in pairs:
        if report.line(of).prompt == report.line(over).prompt:
            said.append(f"For the {over} model the search found nothing better than the plain prompt.")
        elif found := gain(report, of, over):
            does = "helps" if found.sure else "harms" if found.high < 0 else "neither surely helps nor harms"
            said.append(f"The optimised prompt {does} the {over} model: {found.words}.")
    return said


def _cost(report: Report, prompted: Line, best: Line) -> list[str]:
    said = f"The training took {lasting(report.training.seconds)}"
    if report.training.memory:
        said += f" and {report.training.memory:.1f} GB of memory"
    searches = [
        f"the search for {_named(each, small=True)} {lasting(each.seconds)}" for each in (prompted, best) if each.study
    ]
    return [f"{', '.join([said, *searches])}."] if report.training.seconds else []


def _savings(report: Report, prompted: Line, best: Line) -> list[str]:
    """In tokens and time a request, the tuned model against the prompted one."""
    now, was = best.side, prompted.side
    assert now
    assert was
    fewer, sooner = was.tokens - now.tokens, was.seconds - now.seconds
    if abs(fewer) < 1:
        said = f"A request takes as many tokens with either: {now.tokens:,.0f}"
    else:
        more = "fewer" if fewer > 0 else "more"
        said = f"A request to the tuned model takes {now.tokens:,.0f} tokens, {abs(fewer):,.0f} {more}"
    said += f", and {moment(now.seconds)} instead of {moment(was.seconds)}."
    if fewer > 0.05 * was.tokens and sooner > 0.05 * was.seconds and report.training.seconds:
        requests = report.training.seconds / sooner
        said += f" The time that training took is back after {_round(requests):,} requests."
    return [said]


def _caution(report: Report) -> list[str]:
    said = []
    if report.rows < FEW:
        said.append(f"{report.rows} rows are few: only large differences can be told from chance.")
    if cut := max(each.side.left_out for each in report.lines if each.side):
        said.append(f"Up to {cut:,} rows did not fit into what the model reads; they count as not answered.")
    if found := report.unfounded:
        facts = ", ".join(f"“{each}”" for each in found.facts[:3])
        said.append(
            f"Retrieval may be the better tool: {found.share:.0%} of the right answers hold facts that neither the "
            f"question nor other answers say, such as {facts}. A model must learn each of them by heart, states them "
            "wrongly with the same ease, and keeps them when they change; looked up, they can be quoted."
        )
    return said


def lasting(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def moment(seconds: float) -> str:
    """How long one waits for an answer."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _round(number: float) -> int:
    """To two digits: it is a guess."""
    return int(float(f"{number:.2g}")) or 1
