"""What was measured of a run's model, as its card tells it: by the run, by evaluations, by a report on its worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from studio import worth
from studio.binder import listed
from studio.errors import StudioError
from studio.evaluate import Evaluation
from studio.evaluated import Part, report
from studio.evaluation.intervals import wilson
from studio.evaluation.metrics import LABELS
from studio.exports import Source
from studio.exports._markdown import inline, table
from studio.recommend import recommend

_MOST_EVALUATIONS = 5  # the newest


def scores(source: Source) -> str:
    found = [*_of_run(source), *_of_worth(source), *_of_evaluations(source)]
    said = "\n".join(found) if found else "Nothing was measured.\n"
    return f"## Scores\n\n{said}"


def _of_run(source: Source) -> Iterator[str]:
    """What the run itself measured on rows that it held out."""
    state, rows = source.state, []
    before, after, data = state.first_eval or {}, state.last_eval or {}, state.data
    scored = min(data.validation_rows, source.config.training.eval_rows) if data else 0
    for name, title in _LOSSES.items():
        if name in after:
            rows.append([title, _number(before.get(name)), _number(after[name]), f"{scored:,}"])
    if answers := state.answers:
        for name, value in answers.tuned.items():
            title = inline(LABELS.get(name, name).partition(":")[0])
            shown = [_share(each, answers.rows) for each in (answers.base.get(name), value)]
            rows.append([title, *shown, f"{answers.rows:,}"])
    for head in state.labels.heads if state.labels else []:
        name = f"{inline(head['name'])}: " if len(state.labels.heads) > 1 else ""  # pyright: ignore[reportOptionalMemberAccess]
        for metric, value in head["metrics"].items():
            share = metric == "accuracy"
            was = head["baseline"].get(metric)
            shown = [_share(each, head["rows"]) if share else _number(each) for each in (was, value)]
            rows.append([f"{name}{inline(metric)}", *shown, f"{head['rows']:,}"])
    if rows:
        yield "On rows of the same data that it never trained on:\n"
        yield table(["Measure", _before(source), "Tuned", "Rows"], rows)
        yield (
            "What stands in brackets holds the true value in 19 of 20 such samples (Wilson's interval, which is wider "
            "than needed for scores between right and wrong); the others have none.\n"
        )
    if found := state.preferences:
        yield (
            f"It prefers the better answer in {found.accuracy:.1%} of {found.rows:,} held-out pairs ({found.low:.1%} "
            f"to {found.high:.1%} in 19 of 20 such samples); guessing would in half of them.\n"
        )


_LOSSES = {
    "eval_loss": "Loss (nats)",
    "eval_perplexity": "Perplexity",
    "eval_old_loss": "Loss on old data (nats)",
    "eval_reward": "Reward",
    "eval_reward_accuracy": "Right preferences",
}


def _before(source: Source) -> str:
    return "Always the same answer" if source.state.labels else "Base"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _share(value: float | None, rows: int) -> str:
    if value is None:
        return "–"
    low, high = wilson(value * rows, rows)
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def _of_worth(source: Source) -> Iterator[str]:
    """The report on whether training was worth it, where somebody asked for one."""
    found = worth.known(source.workspace, source.state.id)
    if found is None:
        return
    lines = [
        [
            inline(line.title),
            f"{line.side.mean:.3g} ({line.side.interval[0]:.3g} to {line.side.interval[1]:.3g})",
            f"{line.side.seconds:.2g} s",
        ]
        for line in found.lines
        if line.side
    ]
    yield f"Base and tuned model with a plain and with a searched prompt, on {found.rows:,} rows no search had seen:\n"
    yield table(["Model and prompt", "Score (in 9 of 10 such samples)", "An answer takes"], lines)
    with suppress(ValueError):
        yield f"{inline(recommend(found).text)}\n"


def _of_evaluations(source: Source) -> Iterator[str]:
    for evaluation in islice(evaluations(source), _MOST_EVALUATIONS):
        found = report(evaluation)
        parts = [part for part in found.parts if part.measured]
        for part in parts:
            yield f"### {inline(evaluation.title)}: {inline(part.asked.title)}\n"
            yield table(["Measure", *map(inline, found.titles), "Rows"], _measures(part, len(found.titles)))
        yield "".join(f"- {inline(text)}\n" for text, _ in found.words)
        if parts:
            yield "What stands in brackets holds the true value in 19 of 20 such samples.\n"


def evaluations(source: Source) -> Iterator[Evaluation]:
    """Those that asked this run's model, newest first."""
    for binder in listed(source.workspace.evaluations):
        with suppress(StudioError, KeyError, TypeError, ValueError):
            evaluation = Evaluation(binder)
            if any(each.run == source.state.id and each.tuned for each in evaluation.settings.candidates):
                yield evaluation


def _measures(part: Part, candidates: int) -> Iterator[list[str]]:
    for each in part.measured:
        shown = "{:.1%}" if each.measure.share else "{:.4g}"

        def told(who: int, each: Any = each, shown: str = shown) -> str:
            if who not in each.values:
                return "–"
            value = each.values[who]
            return f"{shown.format(value.value)} ({shown.format(value.low)} to {shown.format(value.high)})"

        yield [inline(each.measure.title), *(told(who) for who in range(candidates)), f"{each.rows:,}"]
