"""Models held against one another without a browser."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from studio.child import Progress
from studio.cli_prompts import Say, Told
from studio.config import read_settings
from studio.evaluate import EvaluationSettings, begin, look_up, of_run, unfinished
from studio.evaluated import Measured, Part, Report, counted, every_line, plain, report
from studio.evaluation.harness import Table
from studio.evaluator import Evaluator
from studio.recommend import lasting
from studio.sandbox import WHY
from studio.workspace import Workspace

_WORDS = {"better": "better", "worse": "worse", "same": "no significant difference", "": ""}


def evaluate(
    what: str, workspace: Workspace, say: Say, told: Told, *, resume: bool = False, as_json: bool = False
) -> None:
    """Evaluate as a YAML file says, or a run against what it began with. Ctrl-C leaves; all answers are kept.

    `resume` goes on with the newest unfinished evaluation of the same settings, where there is one. Raises StudioError.
    """
    path = Path(what)
    named = path.suffix in (".yaml", ".yml")
    settings = EvaluationSettings.parse(read_settings(path)) if named else of_run(workspace, path.name)
    evaluation = (unfinished(workspace, settings) if resume else None) or begin(workspace, settings)
    with closing(Evaluator(workspace)) as evaluator, told() as tell:
        began, before = time.monotonic(), evaluation.done
        for part in evaluator.run(evaluation.binder.name):
            tell(_doing(part, before, time.monotonic() - began))
    evaluation = look_up(workspace, evaluation.binder.name)
    found = report(evaluation)
    if as_json:
        say(json.dumps({**plain(found), "rows": every_line(evaluation), "folder": str(evaluation.binder.folder)}))
        return
    for line in [*_lines(found), str(evaluation.binder.folder)]:
        say(line)


def _doing(part: Progress, before: int, seconds: float) -> str:
    if not part.total:
        return part.doing
    pace = (part.done - before) / seconds
    left = f", {lasting((part.total - part.done) / pace)} left" if pace > 0 else ""
    return f"{part.doing}: {part.done:,.0f} of {part.total:,.0f}{left}"


def _lines(found: Report) -> Iterable[str]:
    """What it means, and a table for each set."""
    yield from (text for text, _ in found.words)
    for part in found.parts:
        yield ""
        yield f"{part.asked.title}: {len(part.asked.rows):,} rows. {' '.join(part.asked.notes)}".rstrip()
        for who, title in enumerate(found.titles):
            yield ""
            yield f"  {title}"
            for each in part.measured:
                yield from _line(part, each, who)
            yield from _gaps(part, who)
    for each in found.tasks:
        yield from _table(each, found.titles)
    yield ""


def _table(task: Table, titles: list[str]) -> Iterable[str]:
    """Each number with its standard error, a column for each candidate."""
    yield ""
    yield f"{task.name} (lm-eval): {' '.join(task.notes)}".rstrip()
    wide = [max(20, len(title)) for title in titles]
    yield "  ".join([f"  {'':<40}", *(f"{title:>{width}}" for title, width in zip(titles, wide, strict=True))])
    for row in task.rows:
        name = " ".join([*([row.task] if row.task != task.name else []), row.metric, f"({row.filter})"])
        cells = [_cell(*row.values[who]) if who in row.values else "-" for who in range(len(titles))]
        yield "  ".join([f"  {name:<40}", *(f"{cell:>{width}}" for cell, width in zip(cells, wide, strict=True))])


def _cell(value: float | None, stderr: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if stderr is None else f"{value:.4g} ± {stderr:.2g}"


def _line(part: Part, each: Measured, who: int) -> Iterable[str]:
    if who not in each.values:
        return
    value = each.values[who]
    told = f"    {each.measure.title:<20} {value.value:>8.4g}  {value.low:.4g} to {value.high:.4g}"
    if who in each.changes:
        change = each.changes[who]
        told += f"  {change.gain:+.4g} ({change.low:+.4g} to {change.high:+.4g}), p = {change.p:.2g}: "
        told += _WORDS[each.verdict(who)]
    if each.rows < len(part.asked.rows):
        told += f"  (on {counted(part, each)})"
    yield f"{told}  [{each.measure.signature}]" if each.measure.signature else told


def _gaps(part: Part, who: int) -> Iterable[str]:
    if unread := part.unread.get(who):
        yield f"    {unread:,} rows do not fit into what it reads; they count as unanswered."
    if silent := part.silent.get(who):
        yield f"    It wrote nothing to {silent:,} rows."
    if unlikely := part.unlikely.get(who):
        yield f"    {unlikely:,} right answers are too long for it, or labels that it does not know: none has a loss."
    if unfit := part.unfit.get(who):
        yield f"    {unfit:,} of its answers hold no number: none has an error."
    for why, count in part.ran.get(who, {}).items():
        yield f"    {count:,} programs: {WHY[why]}."
