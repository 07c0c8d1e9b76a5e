"""What came of an evaluation: a report that depends on nothing but what is on disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from studio.evaluate import Asked, Evaluation
from studio.evaluation.harness import Table, table
from studio.evaluation.intervals import wilson
from studio.evaluation.labels import Matrix, class_report, confusion, folded
from studio.evaluation.measures import OTHER, Measure, labels_of, likely, measures, of_several, passing
from studio.evaluation.paired import LEVEL, Change, change, holm, interval, whole
from studio.sandbox import WHY

if TYPE_CHECKING:
    from studio.evaluation.paired import Array

FEW = 30  # rows, with which only large differences can be told from chance
LABELS_SHOWN = 40  # the rarest of more are put together

Filter = Literal["all", "worse", "better", "changed"]
Verdict = Literal["better", "worse", "same", ""]  # 'same': no significant difference; '': nothing was compared


@dataclass(frozen=True)
class Value:
    """Of one candidate, by one measure."""

    value: float
    low: float  # of the interval that holds the true one 19 times of 20
    high: float


@dataclass(frozen=True)
class Measured:
    """One measure of all candidates that were asked every row; places are those of candidates."""

    measure: Measure
    rows: int  # that count: those of which the measure can say something for all of them
    values: dict[int, Value]
    changes: dict[int, Change]  # from the first, where the two can be compared

    def verdict(self, who: int) -> Verdict:
        """What the paired test says."""
        if who not in self.changes:
            return ""
        found = self.changes[who]
        if found.p >= 1 - LEVEL:
            return "same"
        return "better" if (found.gain > 0) == self.measure.higher else "worse"


@dataclass(frozen=True)
class LabelReport:
    """Of one candidate: rows of each right label by the label they were given, and how good each label is."""

    labels: list[str]
    matrix: Matrix
    per_label: list[dict[str, float]]


@dataclass(frozen=True)
class Part:
    """One data set."""

    asked: Asked
    measured: list[Measured]  # the one that is spoken of first
    silent: dict[int, int]  # rows to which a candidate wrote nothing
    unread: dict[int, int]  # rows that are too long for it to answer
    unlikely: dict[int, int]  # rows whose right answer is too long for it, or a label that its head does not know
    unfit: dict[int, int]  # of its answers, those without a number where the right ones are numbers
    labels: dict[int, LabelReport]
    ran: dict[int, dict[str, int]]  # programs by what came of them, of `studio.sandbox.WHY`


@dataclass(frozen=True)
class Report:
    """All of it."""

    evaluation: Evaluation
    titles: list[str]  # of the candidates
    parts: list[Part]
    tasks: list[Table]  # of lm-eval

    @property
    def words(self) -> list[tuple[str, Verdict]]:
        """As a person would say it: a sentence for each candidate beside the first, and each set; what it says."""
        return [line for part in self.parts for line in _words(self, part)]


def report(evaluation: Evaluation) -> Report:
    """Of what there is by now: candidates that were not asked every row are left out."""
    titles = [each.title for each in evaluation.contenders]
    unable = [each.title for each in evaluation.contenders if each.head]
    tasks = [table(name, evaluation.sizes.get(name), titles, told, unable) for name, told in evaluation.scored.items()]
    return Report(evaluation, titles, [_part(evaluation, each) for each in evaluation.sets], tasks)


def _part(evaluation: Evaluation, asked: Asked) -> Part:
    everybody = range(len(evaluation.contenders))
    answered = {who: rows for who in everybody if len(rows := asked.said.get(who, {})) == len(asked.rows)}
    read = {who: rows for who in everybody if len(rows := asked.likely.get(who, {})) == len(asked.rows)}
    said = {who: [rows[place] or "" for place in range(len(asked.rows))] for who, rows in answered.items()}
    whys = {who: rows for who in everybody if len(rows := asked.ran.get(who, {})) == len(asked.rows)}
    outcomes = {who: [rows[place][0] for place in range(len(asked.rows))] for who, rows in whys.items()}
    scored = outcomes if asked.kind == "code" else said
    found = [*_of_answers(asked, scored), *_of_several(evaluation, asked), *_of_likelihood(evaluation, asked, read)]
    shown = said if asked.kind == "labels" and asked.several is None else {}
    return Part(
        asked,
        found,
        {who: sum(each == "" for each in rows.values()) for who, rows in answered.items()},
        {who: sum(each is None for each in rows.values()) for who, rows in answered.items()},
        {who: sum(each is None for each in rows.values()) for who, rows in read.items()},
        {who: _unfit(asked, rows) for who, rows in said.items()},
        {who: _label_report(asked, rows) for who, rows in shown.items()},
        {who: dict(Counter(rows).most_common()) for who, rows in outcomes.items()},
    )


def _unfit(asked: Asked, said: Sequence[str]) -> int:
    found = measures(asked.kind, [each.right for each in asked.rows], asked.several)
    return sum(bool(text) and not all(each.fits(text) for each in found) for text in said)


def _of_answers(asked: Asked, said: dict[int, list[str]]) -> list[Measured]:
    """Over the rows on which all who gave any answer that a measure fits gave one."""
    if asked.kind == "text" or not said:
        return []
    right, found = [each.right for each in asked.rows], []
    for measure in measures(asked.kind, right, asked.several):
        assert measure.stats
        able = {who: rows for who, rows in said.items() if any(map(measure.fits, rows))}
        places = [at for at in range(len(right)) if all(measure.fits(rows[at]) for rows in (right, *able.values()))]
        if able and places:
            some = [right[place] for place in places]
            stats = {who: measure.stats(some, [rows[place] for place in places]) for who, rows in able.items()}
            found.append(_measured(measure, stats))
    return found


def _of_several(evaluation: Evaluation, asked: Asked) -> list[Measured]:
    """pass@k of the programs that were drawn."""
    tried = {who: rows for who, rows in sorted(asked.tried.items()) if len(rows) == len(asked.rows)}
    if not tried:
        return []
    whys = {who: [rows[place] for place in range(len(asked.rows))] for who, rows in tried.items()}
    return [
        _measured(measure, {who: passing(each, k) for who, each in whys.items()})
        for k, measure in of_several(evaluation.settings.samples).items()
    ]


def _of_likelihood(
    evaluation: Evaluation, asked: Asked, read: dict[int, dict[int, tuple[float, int] | None]]
) -> list[Measured]:
    """Over the rows that all of them can read."""
    import numpy as np

    places = [place for place in range(len(asked.rows)) if all(rows[place] for rows in read.values())]
    if not read or not places:
        return []
    sizes = [len(asked.rows[place].right.encode()) for place in places]
    stats = {
        who: np.array([[*(rows[place] or (0.0, 0)), size] for place, size in zip(places, sizes, strict=True)])
        for who, rows in read.items()
    }
    first = next(iter(stats.values()))
    alike = all(np.array_equal(each[:, 1], first[:, 1]) for each in stats.values())
    found = []
    for measure in likely(alike, has_bytes=not any(each.head for each in evaluation.contenders)):
        found.append(_measured(measure, stats, compared=alike or measure.key == "bits_per_byte"))
    return found


def _measured(measure: Measure, stats: dict[int, Array], *, compared: bool = True) -> Measured:
    values = {who: Value(whole(rows, measure.score), *_interval_of(measure, rows)) for who, rows in stats.items()}
    others = [who for who in stats if who and 0 in stats and compared]
    changes = [change(stats[0], stats[who], measure.score) for who in others]
    beside = holm([each.p for each in changes])
    told = {who: replace(each, p=p) for who, each, p in zip(others, changes, beside, strict=True)}
    return Measured(measure, len(next(iter(stats.values()))), values, told)


def _interval_of(measure: Measure, rows: Array) -> tuple[float, float]:
    """Of rights and wrongs Wilson's, which has a width where all are right; else the bootstrap's."""
    if measure.share and rows.shape[1] == 2 and set(rows[:, 0].tolist()) <= {0.0, 1.0}:
        return wilson(float(rows[:, 0].sum()), len(rows))
    return interval(rows, measure.score)


def _label_report(asked: Asked, said: Sequence[str]) -> LabelReport:
    """With a last column for answers that are no label; no row is right there."""
    labels = labels_of([each.right for each in asked.rows])
    place = {label: at for at, label in enumerate(labels)}
    right = [place[each.right.strip()] for each in asked.rows]
    given = [place.get(each.strip(), len(labels)) for each in said]
    matrix = confusion(right, given, len(labels) + 1)
    shown = [{"label": label, **each} for label, each in zip(labels, class_report(matrix), strict=False)]
    shown.sort(key=lambda each: -each["rows"])
    if len(labels) not in given:
        matrix, names = [row[:-1] for row in matrix[:-1]], labels
    else:
        names = [*labels, OTHER]
    return LabelReport(*folded(names, matrix, LABELS_SHOWN), shown[:LABELS_SHOWN])


# -- in words ----------------------------------------------------------------------------------------------


def _words(report: Report, part: Part) -> list[tuple[str, Verdict]]:
    if not part.measured:
        return []
    head, asked = part.measured[0], part.asked
    where = f"on the old data, {asked.title}" if asked.name == "old" else f"on {asked.title}"
    if 0 not in head.values:
        return []
    if len(report.titles) == 1:
        told = f"{head.measure.title} {_interval(head, 0)}, on {counted(part, head)}."
        return [(f"{report.titles[0]} {where}: {told}", "")]
    return [(_sentence(report, part, who, where), head.verdict(who)) for who in head.changes]


def counted(part: Part, measured: Measured) -> str:
    """How many rows a measure is of."""
    every = len(part.asked.rows)
    return f"{every:,} rows" if measured.rows == every else f"{measured.rows:,} of {every:,} rows"


def _sentence(report: Report, part: Part, who: int, where: str) -> str:
    head, old = part.measured[0], part.asked.name == "old"
    found, verdict = head.changes[who], head.verdict(who)
    shown = _percent if head.measure.share else _short
    numbers = (
        f"{head.measure.title} from {shown(head.values[0].value)} to {shown(head.values[who].value)}, a change of "
        f"{_signed(head, found.gain)}, between {_signed(head, found.low)} and {_signed(head, found.high)} in 19 of 20 "
        f"such samples of {counted(part, head)} (p = {found.p:.2g})"
    )
    caution = f" With {head.rows} rows only large differences can be told from chance." if head.rows < FEW else ""
    one, other = report.titles[who], report.titles[0]
    if verdict == "same":
        return f"No significant difference between {one} and {other} {where}: {numbers}.{caution}"
    forgot = " It has forgotten some of what it could do." if old and verdict == "worse" else ""
    return f"{one} is {verdict} than {other} {where}: {numbers}.{forgot}{caution}"


def _interval(head: Measured, who: int) -> str:
    shown = _percent if head.measure.share else _short
    value = head.values[who]
    return f"{shown(value.value)} (between {shown(value.low)} and {shown(value.high)} in 19 of 20 such samples)"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _signed(head: Measured, value: float) -> str:
    return f"{100 * value:+.1f} points" if head.measure.share else f"{value:+.3g}"


def plain(found: Report) -> dict[str, Any]:
    """As JSON holds it; the keys of values and changes are places among the candidates."""
    return {
        "title": found.evaluation.title,
        "candidates": found.titles,
        "done": found.evaluation.done,
        "total": found.evaluation.total,
        "words": found.words,
        "sets": [_plain_part(each) for each in found.parts],
        "tasks": [asdict(each) for each in found.tasks],
    }


def _plain_part(part: Part) -> dict[str, Any]:
    asked = part.asked
    told = {key: getattr(asked, key) for key in ("name", "title", "kind", "notes")}
    counts = {key: getattr(part, key) for key in ("silent", "unread", "unlikely", "unfit")}
    ran = {who: {WHY[why]: count for why, count in each.items()} for who, each in part.ran.items()}
    labels = {who: asdict(each) for who, each in part.labels.items()}
    return {
        **told,
        "rows": len(asked.rows),
        **counts,
        "ran": ran,
        "measures": [_plain_measured(each) for each in part.measured],
        "labels": labels,
    }


def _plain_measured(found: Measured) -> dict[str, Any]:
    kept = ("key", "title", "about", "higher", "share", "signature")
    return {
        **{key: getattr(found.measure, key) for key in kept},
        "rows": found.rows,
        "values": {who: asdict(each) for who, each in found.values.items()},
        "changes": {who: {**asdict(each), "verdict": found.verdict(who)} for who, each in found.changes.items()},
    }


# -- row by row --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A row with all answers; places are those of candidates."""

    place: int
    asked: str  # the last that was asked; empty where a text is read
    right: str
    said: dict[int, str | None]
    ran: dict[int, str]  # what came of the programs in these answers
    scores: dict[int, float]  # by the first measure that looks at single rows


@dataclass(frozen=True)
class Lines:
    """Some of the rows that a filter leaves."""

    total: int
    measure: str  # title of what `scores` are
    lines: list[Line]


def lines(evaluation: Evaluation, part: int, which: Filter, who: int, at: int, count: int) -> Lines:
    """Rows in their order; or those on which `who` did worse or better than the first, the largest changes first."""
    if not evaluation.sets:  # only tasks of lm-eval were asked
        return Lines(0, "", [])
    asked = evaluation.sets[part]
    title, scores, sign = _row_scores(asked)
    gains = {
        place: sign * (scores[who][place] - scores[0][place])
        for place in range(len(asked.rows))
        if who in scores and 0 in scores and place in scores[who] and place in scores[0]
    }
    if which == "all":
        places = list(range(len(asked.rows)))
    elif which == "changed":
        said = [asked.said.get(each, {}) for each in (0, who)]
        places = [place for place in range(len(asked.rows)) if said[0].get(place) != said[1].get(place)]
    else:
        wanted = {place: gain if which == "better" else -gain for place, gain in gains.items()}
        places = sorted((place for place in wanted if wanted[place] > 0), key=lambda place: -wanted[place])
    shown = [
        Line(
            place,
            asked.rows[place].asked[-1]["content"] if asked.rows[place].asked else "",
            asked.rows[place].right,
            {each: rows[place] for each, rows in asked.said.items() if place in rows},
            {each: _told(*rows[place]) for each, rows in asked.ran.items() if place in rows},
            {each: rows[place] for each, rows in scores.items() if place in rows},
        )
        for place in places[at : at + count]
    ]
    return Lines(len(places), title, shown)


def every_line(evaluation: Evaluation) -> list[list[dict[str, Any]]]:
    """All rows of each set with all answers, as JSON holds them."""
    sets = enumerate(evaluation.sets)
    return [[asdict(each) for each in lines(evaluation, at, "all", 0, 0, len(part.rows)).lines] for at, part in sets]


def _told(why: str, detail: str) -> str:
    return f"{WHY[why]} ({detail})" if detail else WHY[why]


def _row_scores(asked: Asked) -> tuple[str, dict[int, dict[int, float]], int]:
    """Title of the measure, candidate → row → its score, and 1 where more of it is better, else -1."""
    whys = {who: {place: why for place, (why, _) in rows.items()} for who, rows in asked.ran.items()}
    scored = whys if asked.kind == "code" else asked.said
    if any(scored.values()):
        assert asked.kind != "text"
        right = [each.right for each in asked.rows]
        measure = next(each for each in measures(asked.kind, right, asked.several) if each.by_row)
        assert measure.stats
        found = {}
        for who, rows in scored.items():
            places = sorted(at for at in rows if measure.fits(right[at]) and measure.fits(rows[at] or ""))
            stats = measure.stats([right[place] for place in places], [rows[place] or "" for place in places])
            found[who] = dict(zip(places, measure.score(stats).tolist(), strict=True))
        return measure.title, found, 1 if measure.higher else -1
    sizes = [math.log(2) * len(each.right.encode()) for each in asked.rows]
    found = {
        who: {place: each[0] / sizes[place] for place, each in rows.items() if each}
        for who, rows in asked.likely.items()
    }
    return "Bits per byte", found, -1
