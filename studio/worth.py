"""Was fine-tuning worth it? Base and tuned model, each with the plain prompt and with one that was searched for.

All four answer the same rows: those that the run held out and no search has looked at. What was measured is kept in
the run's folder; what it means, `studio.recommend` says.
"""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

import studio.rewards
from studio.binder import listed
from studio.catalog import Several
from studio.config import RunConfig
from studio.data.library import open_source
from studio.data.turns import Message
from studio.errors import DatasetError, ModelError, RunError, StudioError
from studio.evaluation.facts import Unfounded, unfounded
from studio.evaluation.intervals import bootstrap
from studio.evaluation.shape import suited
from studio.parts import FEWEST, parts
from studio.prompt import ROW, Example, Prompt, examples_of, plain
from studio.rewards import Answered, Reward, Scores, rewards
from studio.settings import Settings
from studio.speaker import Speaker
from studio.store import Store
from studio.study import Study, StudySettings
from studio.workspace import Workspace, write_whole

ALONE = 5  # rows that are asked one at a time, for how long a person waits
AT_ONCE = 16  # rows asked together

Key = Literal["base", "base_prompt", "tuned", "tuned_prompt"]
KEYS: tuple[Key, ...] = get_args(Key)
TITLES: dict[Key, str] = {
    "base": "Base, plain prompt",
    "base_prompt": "Base, optimised prompt",
    "tuned": "Tuned, plain prompt",
    "tuned_prompt": "Tuned, optimised prompt",
}

Goal = Callable[[Sequence[Answered]], Scores]
Load = Callable[[bool, Mapping[str, Reward]], tuple[Speaker, Goal]]  # whether the tuned model answers, what scores it
Tell = Callable[[str, float, float], None]  # (what is being done, requests made, requests in all); may raise to leave


class Side(Settings):
    """A model with a prompt, asked all sealed rows."""

    scores: tuple[float, ...]  # a row each, in their order
    prompt_tokens: float  # of a request, on the average
    answer_tokens: float
    seconds: float  # a request takes by itself, the middle one of a few
    memory: float  # GB at most while answering, the model included; 0: unknown
    left_out: int = 0  # rows that do not fit into what the model reads: no answer, and scored as such

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """That holds the true mean 9 times of 10."""
        return bootstrap(self.scores)

    @property
    def tokens(self) -> float:
        """Of a request, read and written."""
        return self.prompt_tokens + self.answer_tokens


class Line(Settings):
    """One of the four."""

    key: Key
    prompt: Prompt | None = None
    study: str = ""  # that the prompt was found in
    seconds: float = 0.0  # that study took
    note: str = ""  # why it is missing and how to get it; or what there is to know of its prompt
    side: Side | None = None

    @property
    def title(self) -> str:
        return TITLES[self.key]

    @property
    def tuned(self) -> bool:
        return self.key.startswith("tuned")

    @property
    def asked(self) -> tuple[bool, str]:
        """The same for the same model with the same prompt, which is asked once."""
        return self.tuned, self.prompt.key if self.prompt else ""


class Training(Settings):
    """What the run took."""

    seconds: float
    tokens: int
    memory: float = 0.0  # GB at most; 0: unknown
    size: int = 0  # bytes that are saved


class Report(Settings):
    """All that was measured of a run."""

    title: str
    rows: int
    rewards: Annotated[dict[str, Reward], Several(studio.rewards, Reward)]
    lines: tuple[Line, ...]
    training: Training
    unfounded: Unfounded | None = None  # a hint that retrieval is the better tool

    def line(self, key: Key) -> Line:
        return next(each for each in self.lines if each.key == key)

    def side(self, key: Key) -> Side | None:
        return self.line(key).side


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    title: str
    lines: list[Line]
    examples: list[Example]
    rewards: dict[str, Reward]
    max_new_tokens: int
    unfounded: Unfounded | None


def known(workspace: Workspace, run: str) -> Report | None:
    """What was measured of a run, if anything was. Raises RunError where there is no such run."""
    path = workspace.run(run).worth
    with suppress(OSError, ValueError, StudioError):
        return Report.parse(json.loads(path.read_text(encoding="utf-8")))
    return None


def outdated(workspace: Workspace, run: str, report: Report) -> bool:
    """Whether a search has ended since that was measured."""
    searched = (report.line("base_prompt"), report.line("tuned_prompt"))
    newest = [(each.study, _newest(workspace, run, tuned=each.tuned)) for each in searched]
    return any(study and study.binder.name != was for was, study in newest)


def plan(workspace: Workspace, run: str) -> Plan:
    """Raises StudioError where nothing can be measured."""
    folder = workspace.run(run)
    state = Store(workspace).state(run)
    if not state.writes:
        raise RunError("What this run trained does not answer in words.", remedy="Choose a run that learnt answers.")
    if not folder.adapter.is_dir():
        raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")
    config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
    chosen = config.dataset
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    rows = opened.train.load().rows
    first = plain(rows, opened.mapping)
    base, tuned = (_newest(workspace, run, tuned=each) for each in (False, True))
    examples = _sealed(workspace, run, [each for each in (base, tuned) if each])
    newest = max(filter(None, (base, tuned)), key=lambda each: each.binder.name, default=None)
    return Plan(
        title=state.title,
        lines=[
            Line(key="base", prompt=first),
            _searched("base_prompt", base, first),
            Line(key="tuned", prompt=first),
            _searched("tuned_prompt", tuned, first),
        ],
        examples=examples,
        rewards=dict(newest.settings.rewards) if newest else _fitting(examples),
        max_new_tokens=newest.settings.max_new_tokens if newest else config.training.max_new_tokens,
        unfounded=unfounded([(each.fields[ROW], each.answer) for each in examples_of(rows, opened.mapping)]),
    )


def _newest(workspace: Workspace, run: str, *, tuned: bool) -> Study | None:
    """The newest finished search of that run with that model."""
    for binder in listed(workspace.studies):
        asked = binder.about.get("settings", {})
        if asked.get("run") == run and asked.get("tuned") is tuned:
            with suppress(StudioError):
                study = Study(binder)
                if study.verdict:
                    return study
    return None


def _sealed(workspace: Workspace, run: str, studies: Sequence[Study]) -> list[Example]:
    """Rows that none of these searches has looked at, nor the training."""
    asked = [each.settings for each in studies] or [StudySettings(run=run)]
    sides = [parts(workspace, each).sealed for each in asked]
    common = set.intersection(*({_words(each) for each in side} for side in sides))
    found = [each for each in sides[0] if _words(each) in common]
    if len(found) < FEWEST:
        raise DatasetError(
            "The two searches for prompts share too few sealed rows to compare what they found.",
            remedy="Run them again with the same 'Seed' and 'Sealed rows'.",
        )
    return found


def _words(example: Example) -> str:
    return json.dumps([example.fields, example.answer], sort_keys=True)


def _fitting(examples: Sequence[Example]) -> dict[str, Reward]:
    key = suited([each.answer for each in examples])
    return {key: rewards()[key]()}


def _searched(key: Key, study: Study | None, first: Prompt) -> Line:
    if study is None or study.best is None:
        which, where = ("after", "Tuned") if key == "tuned_prompt" else ("before", "Before training")
        switch = str(key == "tuned_prompt").lower()
        note = (
            f"No search for a prompt has ended with the model as it was {which} this run. Look for one in the Prompts "
            f"tab, where it stands as “{where}”, or on the command line with 'tuned: {switch}'."
        )
        return Line(key=key, note=note)
    note = "The search found nothing better than the plain prompt." if study.best.prompt == first else ""
    return Line(key=key, prompt=study.best.prompt, study=study.binder.name, seconds=study.seconds, note=note)


# -- measuring -----------------------------------------------------------------------------------------


def examine(workspace: Workspace, run: str, load: Load, tell: Tell = lambda *_: None) -> Report:
    """Measure all there is to measure and keep it. Raises StudioError; whoever leaves amid it keeps what was known."""
    tell("Reading the data", 0, 0)
    planned = plan(workspace, run)
    asked = {each.asked: each.prompt for each in planned.lines if each.prompt}
    takes = len(planned.examples) + min(ALONE, len(planned.examples))
    sides: dict[tuple[bool, str], Side] = {}
    for tuned in (False, True):
        doing = f"Asking the {'tuned' if tuned else 'base'} model"
        tell(doing, len(sides) * takes, len(asked) * takes)
        speaker, goal = load(tuned, planned.rewards)
        for key, prompt in asked.items():
            if key[0] is tuned:
                before = len(sides) * takes
                told = functools.partial(_told, tell, doing, before, len(asked) * takes)
                sides[key] = measure(speaker, goal, prompt, planned.examples, planned.max_new_tokens, told)
        del speaker, goal  # its memory, before the other model comes
    return _kept(workspace, run, planned, sides)


def _told(tell: Tell, doing: str, before: int, total: int, made: int) -> None:
    tell(doing, before + made, total)


def _kept(workspace: Workspace, run: str, planned: Plan, sides: Mapping[tuple[bool, str], Side]) -> Report:
    state = Store(workspace).state(run)
    saved = state.saved
    report = Report(
        title=planned.title,
        rows=len(planned.examples),
        rewards=planned.rewards,
        lines=tuple(
            each.model_copy(update={"side": sides[each.asked]}) if each.prompt else each for each in planned.lines
        ),
        training=Training(
            seconds=state.seconds,
            tokens=state.tokens,
            memory=saved.peak_memory if saved else 0.0,
            size=saved.size if saved else 0,
        ),
        unfounded=planned.unfounded,
    )
    write_whole(workspace.run(run).worth, report.model_dump_json())
    return report


def measure(
    speaker: Speaker,
    goal: Goal,
    prompt: Prompt,
    examples: Sequence[Example],
    max_new_tokens: int,
    tell: Callable[[int], None] = lambda made: None,
) -> Side:
    """Ask all rows, many at once; then a few one at a time. `tell` hears how many requests were made; it may raise."""
    from studio.models.machine import forget_peak_memory, peak_memory

    forget_peak_memory()
    asked = [prompt.messages(each.fields) for each in examples]
    batches = (asked[at : at + AT_ONCE] for at in range(0, len(asked), AT_ONCE))
    said = []
    for found in (speaker.answers(batch, max_new_tokens) for batch in batches):
        said += found
        tell(len(said))
    given = [
        Answered(each.fields[ROW], one.text if one else "", each.answer)
        for each, one in zip(examples, said, strict=True)
    ]
    answered = [each for each in said if each]
    if not answered:
        raise DatasetError(
            f"None of the {len(examples)} sealed rows fits into what the model reads with this prompt.",
            remedy="Look for a shorter prompt, or choose a model that reads more.",
        )
    some = [asked[place] for place, one in enumerate(said) if one][:: max(1, len(answered) // ALONE)][:ALONE]
    return Side(
        scores=tuple(goal(given).total),
        prompt_tokens=statistics.fmean(each.prompt_tokens for each in answered),
        answer_tokens=statistics.fmean(each.answer_tokens for each in answered),
        seconds=_alone(speaker, some, max_new_tokens, lambda made: tell(len(said) + made)),
        memory=peak_memory(),
        left_out=len(said) - len(answered),
    )


def _alone(
    speaker: Speaker, asked: Sequence[Sequence[Message]], max_new_tokens: int, tell: Callable[[int], None]
) -> float:
    """Seconds of the middle one."""
    took = []
    for made, messages in enumerate(asked, 1):
        began = time.perf_counter()
        speaker.answers([messages], max_new_tokens)
        took.append(time.perf_counter() - began)
        tell(made)
    return statistics.median(took)
