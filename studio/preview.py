"""What rewards would teach a model, told from what they give its answers before any training. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.evaluation.intervals import wilson
from studio.evaluation.scores import best_of, best_of_kl, spearman, variance_shares
from studio.rewards import Answered, Reward, Scores

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

TOTAL = "Total"
WORDS = "Words"  # of an answer, as white space parts them
SHOWN = 4  # of the best answers, and of the worst
BINS = 20

SATURATED = 0.8  # share of answers that get the same, from which a reward tells too few of them apart
DOMINATED = 0.8  # share of the total's variance, from which the other rewards hardly count
BIASED = 0.5  # |ρ| with length; beyond it the length tells a quarter of the ranking
FEWEST = 8  # answers, below which a correlation says nothing
BEST = 0.9  # quantile of the model's answers that no senseless text should reach


@dataclass(frozen=True)
class Distribution:
    """How often a reward gave what, before its weight."""

    name: str
    weight: float | None  # None: the total
    mean: float
    deviation: float
    edges: list[float]  # one more than counts
    counts: list[int]


@dataclass(frozen=True)
class Concern:
    """A way in which training on these rewards may go wrong, with what shows it."""

    kind: str
    title: str
    evidence: str


@dataclass(frozen=True)
class Shown:
    """An answer and what it got."""

    prompt: str
    reference: str
    answer: str
    total: float
    parts: dict[str, float]  # title of the reward → what it gave, before its weight


@dataclass(frozen=True)
class Preferred:
    """How often a reward gives the chosen answer of a pair more than the rejected one; ties count half."""

    name: str
    share: float
    low: float  # of the 95 % interval
    high: float
    pairs: int


@dataclass(frozen=True)
class Tried:
    """A text that nobody wants, and the mean of what it got as the answer to several prompts."""

    name: str
    text: str
    total: float
    reaches: float  # share of the model's answers that get no more


@dataclass(frozen=True)
class Report:
    """All that a preview shows."""

    prompts: int
    answers: int  # a prompt
    concerns: list[Concern]
    distributions: list[Distribution]  # the total first
    best_of: list[float]  # expected best total of n answers, n = 1 … answers
    kl: list[float]  # nats at most, of that choice against the model as it is
    best_of_told: str
    names: list[str]  # of the rows and columns of `correlations`: total, rewards, words
    correlations: list[list[float | None]]  # Spearman's ρ; None where one of the two never changes
    correlations_told: str
    preferred: list[Preferred]  # empty where the data holds no pairs
    best: list[Shown]
    worst: list[Shown]
    tried: list[Tried]
    bar: float  # the total that a tenth of the answers reach


@dataclass(frozen=True)
class Scored:
    """Answers and what they got."""

    answers: Sequence[Answered]
    scores: Scores


# -- figures -----------------------------------------------------------------------------------------


def preferred(name: str, chosen: Sequence[float], rejected: Sequence[float]) -> Preferred:
    """How often the chosen one of a pair gets more."""
    pairs = list(zip(chosen, rejected, strict=True))
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    return Preferred(name, wins / len(pairs), *wilson(wins, len(pairs)), len(pairs))


def distribution(name: str, weight: float | None, values: Array, bounds: tuple[float | None, ...]) -> Distribution:
    """Counts within the reward's bounds, or within what it gave where it has none."""
    import numpy as np

    found = (float(values.min()), float(values.max()))
    low, high = (own if bound is None else bound for bound, own in zip(bounds, found, strict=True))
    counts, edges = np.histogram(values, bins=BINS, range=(low, high if high > low else low + 1))
    return Distribution(
        name, weight, float(values.mean()), float(values.std()), edges.tolist(), [int(each) for each in counts]
    )


# -- texts that nobody wants --------------------------------------------------------------------------


def senseless(rows: Sequence[Answered], chosen: Mapping[str, Reward]) -> dict[str, list[Answered]]:
    """What the text is → that text as the answer to each prompt of `rows`: what a reward should not like."""
    bait = " ".join(filter(None, (reward.bait() for reward in chosen.values())))
    texts = {
        "Nothing": "",
        "One word, 200 times": " ".join(["yes"] * 200),
        "Punctuation only": "!!! ??? ... " * 10,
        "I don't know": "I don't know.",
        **({"Only what is looked for": " ".join([bait] * 20)} if bait else {}),
    }
    found = {name: [replace(row, answer=text) for row in rows] for name, text in texts.items()}
    found["The prompt, three times"] = [replace(row, answer="\n".join([row.prompt] * 3)) for row in rows]
    others = [*rows[1:], *rows[:1]]
    if len(rows) > 1 and any(row.reference for row in rows):
        found["The right answer to another prompt"] = [
            replace(row, answer=other.reference)
            for row, other in zip(rows, others, strict=True)
            if other.reference != row.reference
        ]
    return {name: answers for name, answers in found.items() if answers}


# -- the report ---------------------------------------------------------------------------------------


def report(
    chosen: Mapping[str, Reward],
    k: int,
    sampled: Scored,
    tried: Mapping[str, Scored],
    pairs: tuple[Scores, Scores] | None = None,
) -> Report:
    """What `chosen` give to `sampled`, k answers to each prompt in turn, to senseless texts, and to (chosen, rejected).

    A part's name is its reward's title.
    """
    import numpy as np

    total = np.array(sampled.scores.total)
    parts = {key: np.array(sampled.scores.parts[key]) for key in chosen}
    words = np.array([len(each.answer.split()) for each in sampled.answers], dtype=float)
    bar = float(np.quantile(total, BEST))
    measured = {TOTAL: total, **{chosen[key].title: part for key, part in parts.items()}, WORDS: words}
    correlations = [[spearman(a, b) for b in measured.values()] for a in measured.values()]
    rising = best_of(total.reshape(-1, k))
    bad = sorted((_tried(name, each, total) for name, each in tried.items()), key=lambda each: -each.total)
    won = _preferences(chosen, *pairs) if pairs else []
    concerns = [
        *_flat(chosen, parts, total),
        *_dominated(chosen, parts),
        *_biased(spearman(total, words), len(total)),
        *_hacked(bad, bar, varies=float(np.ptp(total)) > 1e-9),
        *_reversed(won),
    ]
    return Report(
        prompts=len(total) // k,
        answers=k,
        concerns=concerns,
        distributions=[
            distribution(TOTAL, None, total, (None, None)),
            *(
                distribution(each.title, each.weight, parts[key], (each.lowest, each.highest))
                for key, each in chosen.items()
            ),
        ],
        best_of=rising,
        kl=[best_of_kl(n) for n in range(1, k + 1)],
        best_of_told=_best_of_told(rising),
        names=list(measured),
        correlations=correlations,
        correlations_told=_correlations_told(list(measured), correlations),
        preferred=won,
        **_extremes(chosen, sampled),
        tried=bad,
        bar=bar,
    )


def _tried(name: str, scored: Scored, total: Array) -> Tried:
    got = sum(scored.scores.total) / len(scored.scores.total)
    return Tried(name, scored.answers[0].answer[:200], got, float((total <= got + 1e-12).mean()))


def _preferences(chosen: Mapping[str, Reward], good: Scores, bad: Scores) -> list[Preferred]:
    """Of the total and each part, weighted; a part that looks at the right answer, which is the chosen one, is none."""
    blind = {key: reward for key, reward in chosen.items() if not reward.compares}
    whole = [preferred(TOTAL, good.total, bad.total)] if len(blind) == len(chosen) else []

    def weighed(scores: Scores, key: str) -> list[float]:
        return [chosen[key].weight * score for score in scores.parts[key]]

    return whole + [preferred(chosen[key].title, weighed(good, key), weighed(bad, key)) for key in blind]


def _extremes(chosen: Mapping[str, Reward], sampled: Scored) -> dict[str, list[Shown]]:
    """The best answers, best first, and the worst, worst first; none is both."""
    order = sorted(range(len(sampled.answers)), key=lambda at: -sampled.scores.total[at])

    def shown(at: int) -> Shown:
        each = sampled.answers[at]
        parts = {chosen[key].title: given[at] for key, given in sampled.scores.parts.items()}
        return Shown(each.prompt, each.reference, each.answer, sampled.scores.total[at], parts)

    some = min(SHOWN, len(order) // 2)
    return {"best": [shown(at) for at in order[: some or 1]], "worst": [shown(at) for at in order[::-1][:some]]}


# -- what gives reason to worry ------------------------------------------------------------------------


def _flat(chosen: Mapping[str, Reward], parts: Mapping[str, Array], total: Array) -> list[Concern]:
    """Rewards that never change, or give nearly every answer the same."""
    import numpy as np

    found = []
    for key, values in parts.items():
        title = chosen[key].title
        kinds, counts = np.unique(np.round(values, 9), return_counts=True)
        usual, share = float(kinds[counts.argmax()]), float(counts.max()) / len(values)
        if len(kinds) == 1:
            told = f"'{title}' gives each of the {len(values):,} answers {_said(usual)}, so nothing is learnt from it."
            found.append(Concern("constant", f"'{title}' never changes", told))
        elif share >= SATURATED:
            best = kinds[-1] if chosen[key].weight > 0 else kinds[0]
            why = "little is left to gain" if usual == best else "the model rarely hears what is wanted"
            told = f"'{title}' gives {share:.0%} of the answers the same, {_said(usual)}: {why}."
            found.append(Concern("saturated", f"'{title}' is mostly {_said(usual)}", told))
    if np.ptp(total) < 1e-9 and not any(each.kind == "constant" for each in found):
        found.append(Concern("constant", "The total never changes", "The rewards cancel one another on every answer."))
    return found


def _dominated(chosen: Mapping[str, Reward], parts: Mapping[str, Array]) -> list[Concern]:
    """One of several that change; those that never do are named already."""
    counted = {key: part * chosen[key].weight for key, part in parts.items()}
    counted = {key: part for key, part in counted.items() if part.std() > 1e-9}
    if len(counted) < 2:
        return []
    return [
        Concern(
            "dominated",
            f"'{chosen[key].title}' outweighs the others",
            f"{min(share, 1):.0%} of what the total varies by comes from it. Lower its weight, or raise theirs.",
        )
        for key, share in variance_shares(counted).items()
        if share > DOMINATED
    ]


def _biased(rho: float | None, answers: int) -> list[Concern]:
    if rho is None or abs(rho) <= BIASED or answers < FEWEST:
        return []
    way, more = ("long", "more") if rho > 0 else ("short", "less")
    told = (
        f"The total goes with the number of words (Spearman's ρ = {rho:.2f} over {answers:,} answers): "
        f"a model may learn to write {more} rather than better."
    )
    return [Concern("length", f"It likes {way} answers", told)]


def _hacked(tried: Sequence[Tried], bar: float, *, varies: bool) -> list[Concern]:
    over = [each for each in tried if each.total > bar + 1e-12 or (varies and each.total >= bar - 1e-12)]
    if not over:
        return []
    named = "; ".join(f"{each.name} ({_said(each.total)})" for each in over)
    told = f"These texts get no less than the model's best tenth of answers ({_said(bar)} and more): {named}."
    return [Concern("hackable", "It can be had without a good answer", told)]


def _reversed(won: Sequence[Preferred]) -> list[Concern]:
    return [
        Concern(
            "reversed",
            f"'{each.name}' likes the rejected answers" if each.name != TOTAL else "It likes the rejected answers",
            f"In {each.share:.0%} of {each.pairs:,} pairs the chosen one gets more "
            f"(95 % interval {each.low:.0%} to {each.high:.0%}).",
        )
        for each in won
        if each.high < 0.5
    ]


def _best_of_told(rising: Sequence[float]) -> str:
    k = len(rising)
    if k < 2:
        return "With two or more answers a prompt this shows what choosing among them would bring."
    return (
        f"The best of {k} answers gets {_said(rising[-1])}, one answer {_said(rising[0])}. To write like that, a model "
        f"moves by {best_of_kl(k):.2f} nats of KL at most. Where the curve is flat, so is what training can gain."
    )


def _correlations_told(names: Sequence[str], table: Sequence[Sequence[float | None]]) -> str:
    """The reward that goes most with length, and the two that most say the same."""
    known = [(abs(rho), names[at]) for at, rho in enumerate(table[-1]) if 0 < at < len(names) - 1 and rho is not None]
    told = ""
    if known:
        rho, name = max(known)
        told = f"Of the rewards '{name}' goes most with the number of words (|ρ| = {rho:.2f})."
    alike = [
        (rho, names[a], names[b])
        for a in range(1, len(names) - 1)
        for b in range(a + 1, len(names) - 1)
        if (rho := table[a][b]) is not None and rho > DOMINATED
    ]
    if alike:
        rho, one, other = max(alike)
        told += f" '{one}' and '{other}' rank answers nearly alike (ρ = {rho:.2f}): one of them may be enough."
    return told.strip() or "Too little changes here to tell what goes with what."


def _said(number: float | None) -> str:
    return f"{number:.3g}"
