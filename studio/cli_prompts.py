"""Searches for prompts without a browser, and the report on what fine-tuning was worth."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from studio.child import Progress
from studio.config import read_settings
from studio.prompter import Prompter
from studio.recommend import lasting, moment, recommend
from studio.study import Study, StudySettings, Tried, begin, look_up, unfinished
from studio.workspace import Workspace, write_whole
from studio.worth import Line, Report, known, outdated

SHOWN = 10  # prompts of the leaderboard
SECONDS = 5.0  # between two looks at what is best by now

Say = Callable[[str], None]  # a line, for whoever reads the output
Told = Callable[[], AbstractContextManager[Callable[[str], None]]]  # a line that is written over, where there is one


def search(config: Path, workspace: Workspace, say: Say, told: Told, *, resume: bool = False) -> None:
    """Look for a better prompt and say what came of it. Ctrl-C ends the search and lets it decide.

    `resume` goes on with the newest unfinished search of that same config, where there is one. Raises StudioError.
    """
    settings = StudySettings.parse(read_settings(config))
    study = (unfinished(workspace, settings) if resume else None) or begin(workspace, settings)
    name, prompter = study.binder.name, Prompter(workspace)
    if study.calls:
        say(f"Goes on after {study.calls:,} calls.")
    with closing(prompter), told() as tell, _ending(lambda: prompter.stop(name)):
        teller = _Teller(lambda: look_up(workspace, name), say, tell)
        for part in prompter.run(name):
            teller.tell(part)
    study = look_up(workspace, name)
    for line in [*leaderboard(study), *_verdict(study), *_keep_best(study)]:
        say(line)


class _Teller:
    """How a search goes: a line for each phase and now and then for a better prompt; calls on the line written over."""

    def __init__(self, study: Callable[[], Study], say: Say, tell: Callable[[str], None]) -> None:
        self._study, self._say, self._tell = study, say, tell
        self._phases: set[str] = set()
        self._best, self._looked = "", time.monotonic()

    def tell(self, part: Progress) -> None:
        if part.doing not in self._phases:
            self._phases.add(part.doing)
            self._say(f"{part.doing} ...")
        if time.monotonic() - self._looked > SECONDS:
            self._look()
            self._looked = time.monotonic()
        self._tell(_words(part))

    def _look(self) -> None:
        study = self._study()
        best = study.best
        if best and best.prompt.key not in (self._best, study.start.key):
            self._best = best.prompt.key
            self._say(f"after {study.calls:,} calls  {study.gain(best):+.3f}  {_how(best)}")


def _words(part: Progress) -> str:
    return f"{part.doing}: {part.done:,.0f} of {part.total:,.0f}" if part.total else part.doing


@contextmanager
def _ending(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the search; a second one leaves at once."""

    def ask(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()
        os.write(1, b"Stopping; the best so far is asked the sealed rows. Again: leave at once, go on with --resume.\n")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leaderboard(study: Study) -> list[str]:
    """The best prompts that were tried, a line each."""
    guide = "likelihood" if study.settings.guide == "likelihood" else "search"
    rows = [
        (
            f"{place}.",
            _number(each.mean("select", "goal")),
            _number(each.mean("search", study.settings.guide)),
            f"{statistics.fmean(tokens):,.0f}" if (tokens := _prompt_tokens(each)) else "–",
            _how(each),
        )
        for place, each in enumerate(study.standings()[:SHOWN], 1)
    ]
    end = f"{study.end} {len(study.tried):,} prompts, {study.calls:,} calls, {lasting(study.seconds)}."
    return [end, "", *table([("", "chosen by", guide, "tokens", "prompt"), *rows]), ""]


def _prompt_tokens(each: Tried) -> list[int]:
    return [one.prompt_tokens for rows in each.scored.values() for one in rows.values() if one.prompt_tokens]


def _how(each: Tried) -> str:
    return " ".join(each.how.split())[:100] or "the first one"


def _number(found: float | None) -> str:
    return "–" if found is None else f"{found:.3f}"


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Numbers on the right of their columns, the words of the last on its left."""
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths[:-1], strict=False)), line[-1]]).rstrip()
        for line in lines
    ]


def _verdict(study: Study) -> list[str]:
    return [study.verdict.words] if study.verdict else []


def _keep_best(study: Study) -> list[str]:
    """Where the best prompt lies now, the folder last."""
    assert study.best
    written = {"best.txt": study.best.prompt.to_text(), "best.yaml": study.best.prompt.to_yaml()}
    for name, text in written.items():
        write_whole(study.binder.folder / name, text)
    return [f"The best prompt is in {' and '.join(written)}.", str(study.binder.folder)]


def worth(run: str, workspace: Workspace, say: Say, told: Told, *, again: bool = False, as_json: bool = False) -> None:
    """Say whether a run was worth it; measured unless it was, or `again`. Raises StudioError."""
    report = None if again else known(workspace, run)
    if report is None:
        prompter = Prompter(workspace)
        with closing(prompter), told() as tell:
            for part in prompter.measure(run):
                tell(_words(part))
        report = known(workspace, run)
    assert report
    old = outdated(workspace, run, report)
    if as_json:
        say(json.dumps({**report.model_dump(mode="json"), "outdated": old}))
        return
    for line in worth_lines(report):
        say(line)
    if old:
        say("A search for a prompt has ended since this was measured: --again measures anew.")


def worth_lines(report: Report) -> list[str]:
    """A report as a table, what it means, and what is missing."""
    goal = " + ".join(each.title for each in report.rewards.values())
    heading = ("quality", "9 of 10", "tokens", "answer", "memory", "")
    measured = [_worth_row(each) for each in report.lines if each.side]
    advice = recommend(report)
    missing = [f"{each.title}: {each.note}" for each in report.lines if not each.side]
    return [
        f"{report.title}: {goal} on {report.rows} rows that neither training nor a search has seen.",
        "",
        *table([heading, *measured]),
        "",
        advice.text,
        *(f"- {each}" for each in advice.because),
        *missing,
    ]


def _worth_row(line: Line) -> tuple[str, ...]:
    side = line.side
    assert side
    low, high = side.interval
    memory = f"{side.memory:.1f} GB" if side.memory else "–"
    return (
        f"{side.mean:.3f}",
        f"{low:.3f}–{high:.3f}",
        f"{side.tokens:,.0f}",
        moment(side.seconds),
        memory,
        line.title,
    )
