"""A search for a better prompt as it stands on disk: what was asked for, and every score that was found.

A line of its steps is one of
    {"prompt": key, "value": Prompt, "how": words}
    {"scored": key, "side": side, "by": what scored it, "took": seconds,
     "rows": [[place, score, prompt tokens, answer tokens, answer]]}
    {"asked": key, "wrote": what the model that writes said to a conversation of that key}
    {"seconds": spent since the line before}
    {"enough": why the search ended}
    {"end": the same, once it was chosen and the sealed rows were asked}
Whoever goes on does the same again and finds all of it scored already.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

import studio.prompts
import studio.rewards
from studio.binder import Binder, Stepwise, create, find, listed
from studio.catalog import Chosen, Several
from studio.config import DatasetSettings
from studio.endpoint import WriterSettings
from studio.errors import ConfigError
from studio.evaluation.intervals import bootstrap
from studio.models.catalog import check_name, check_use
from studio.parts import FINALISTS, Side, config_of, parts, settled, some
from studio.prompt import Prompt, askable, plain
from studio.prompts import Strategy
from studio.rewards import Reward
from studio.settings import Settings, setting
from studio.workspace import Workspace


class StudySettings(Settings):
    """What a better prompt is looked for with."""

    version: int = Field(default=1, ge=1, le=1)
    model: str = setting(
        "starter", "Model", min_length=1, max_length=500, help="Who answers: named as a run's model is."
    )
    run: str = setting(
        "",
        "Run",
        max_length=100,
        help="Model and data are those of this run, and prompts are only scored on rows that it held out. Empty: those "
        "named here.",
    )
    tuned: bool = setting(
        True, "The tuned model answers", help="Where a run is named: what it learnt answers; else its model as it was."
    )
    dataset: DatasetSettings = DatasetSettings()
    prompt: Prompt | None = None  # to begin with; None: the data set's own
    rewards: Annotated[dict[str, Reward], Several(studio.rewards, Reward)] = Field(default_factory=dict)
    strategy: Annotated[Strategy, Chosen(studio.prompts, Strategy)] = Field(default="halving")  # pyright: ignore
    writer: WriterSettings = WriterSettings()
    guide: Literal["goal", "likelihood"] = setting(
        "likelihood",
        "The search looks at",
        help="'goal': what the answers get. 'likelihood': how likely the right answer is to the model, which takes one "
        "look instead of an answer and tells small gains apart. What is chosen in the end is chosen by the goal.",
    )
    max_new_tokens: int = setting(
        96, "Longest answer", ge=1, le=4096, unit="tokens", help="Whatever the model writes ends there."
    )
    pool_rows: int = setting(
        64, "Rows to show", ge=1, le=10_000, advanced=True, help="Rows that examples are taken from, at most."
    )
    search_rows: int = setting(
        32, "Rows to search on", ge=4, le=10_000, advanced=True, help="Prompts are compared on these."
    )
    select_rows: int = setting(
        32,
        "Rows to choose on",
        ge=4,
        le=10_000,
        advanced=True,
        help="The best few are scored anew on these.",
        source="Cawley & Talbot 2010, On Over-fitting in Model Selection",
    )
    sealed_rows: int = setting(
        64,
        "Sealed rows",
        ge=4,
        le=10_000,
        help="Looked at once, at the end, by the first prompt and the best one: for an honest score.",
        source="Cawley & Talbot 2010, On Over-fitting in Model Selection",
    )
    minutes: float | None = setting(
        10.0,
        "Minutes at most",
        gt=0,
        le=100_000,
        help="Then it ends with the best so far. Empty: the calls alone decide.",
    )
    calls: int = setting(
        2_000,
        "Calls at most",
        ge=1,
        le=10_000_000,
        unit="calls",
        help="A call is one row asked with one prompt. Those of the choice and of the sealed rows are among them.",
    )
    seed: int = setting(0, "Seed", ge=0, le=2**31 - 1, advanced=True, help="The same one tries the same prompts.")


@dataclass(frozen=True)
class Scored:
    """One row asked with one prompt."""

    score: float
    prompt_tokens: int
    answer_tokens: int
    answer: str


@dataclass
class Tried:
    """A prompt and all that is known of it: side and what scored it → place → what it got."""

    prompt: Prompt
    how: str
    scored: dict[tuple[Side, str], dict[int, Scored]] = field(default_factory=dict)
    took: dict[tuple[Side, str], float] = field(default_factory=dict)  # seconds

    def on(self, side: Side, by: str) -> dict[int, Scored]:
        return self.scored.setdefault((side, by), {})

    def mean(self, side: Side, by: str) -> float | None:
        found = self.on(side, by)
        return statistics.fmean(each.score for each in found.values()) if found else None


FEW_SEALED, FEW = 8, 30  # sealed rows below which nothing is called better, and from which no word of caution is due


@dataclass(frozen=True)
class Verdict:
    """What the sealed rows say: means of 'rows' of them, and the intervals that hold the true ones 9 times of 10."""

    rows: int
    tried: int  # prompts beside the first
    changed: bool  # whether another prompt than the first was chosen
    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    gain_interval: tuple[float, float]  # of the differences row by row

    @property
    def gained(self) -> bool:
        """Where a handful of rows all rose a little, the interval says nothing."""
        return self.gain_interval[0] > 0 and self.rows >= FEW_SEALED

    @property
    def words(self) -> str:
        """As a person would say it."""
        if not self.changed:
            if not self.tried:
                return f"Nothing was tried beside the first prompt, which gets {self.before:.3g} on the sealed rows."
            return (
                f"No gain: nothing that was tried did better than the first prompt, which gets {self.before:.3g} on "
                f"the {self.rows} sealed rows. Try another strategy, more calls, or a larger model."
            )
        low, high = self.gain_interval
        means = f"from {self.before:.3g} to {self.after:.3g} on {self.rows} sealed rows"
        caution = f" With {self.rows} rows that is a rough guess." if self.rows < FEW else ""
        gain = f"a gain of {self.after - self.before:+.3g}, between {low:+.3g} and {high:+.3g} in 9 of 10 such samples"
        if self.gained:
            return f"Better, {means}: {gain}.{caution}"
        if low > 0:
            return f"Perhaps better, {means}: so few rows prove nothing. Seal more of them."
        if high < 0:
            return f"Worse, {means}: {gain}. Keep the first prompt."
        return f"No significant gain: {means}, {gain}. It may as well be luck; keep the shorter prompt."


class Study(Stepwise):
    """One of them on disk."""

    def __init__(self, binder: Binder) -> None:
        self.settings = StudySettings.parse(binder.about["settings"])
        self.start = Prompt.parse(binder.about["start"])
        self.tried: dict[str, Tried] = {}
        self.written: dict[str, str] = {}
        self.seconds = 0.0
        self.enough = ""  # why the search ended, once it has; it is chosen and asked about sealed rows then
        self.end = ""  # the same, once all is done
        super().__init__(binder)

    @property
    def calls(self) -> int:
        return sum(len(rows) for each in self.tried.values() for rows in each.scored.values())

    def gain(self, tried: Tried) -> float:
        """Over the first prompt, by what guides the search, on the rows both were asked; 0 where there are none."""
        first, guide = self.tried[self.start.key], self.settings.guide
        was, now = first.on("search", guide), tried.on("search", guide)
        gains = [now[place].score - was[place].score for place in now if place in was]
        return statistics.fmean(gains) if gains else 0.0

    def standings(self) -> list[Tried]:
        """All that was tried, the best first: by the rows to choose on once others than the first were asked them.

        Before that, and behind those, by the search: what gained stands before the first prompt, and of that what was
        scored on more rows, for it got that far by being better.
        """
        asked = {key: each.on("select", "goal") for key, each in self.tried.items()}
        every = max(map(len, asked.values()), default=0)
        chosen = {key for key, rows in asked.items() if rows and len(rows) == every}

        def rank(item: tuple[str, Tried]) -> tuple[bool, float, tuple[bool, int, float]]:
            key, each = item
            counts = key in chosen and (len(chosen) > 1 or bool(self.enough))
            mean = each.mean("select", "goal") if counts else None
            return mean is not None, mean or 0.0, self._found(each)

        return [each for _, each in sorted(self.tried.items(), key=rank, reverse=True)]

    def finalists(self) -> list[Tried]:
        """The few that are asked the rows to choose on, beside the first prompt."""
        better = [each for each in self.tried.values() if self.gain(each) > 0]
        return sorted(better, key=self._found, reverse=True)[:FINALISTS]

    def _found(self, tried: Tried) -> tuple[bool, int, float]:
        gain = self.gain(tried)
        return gain > 0, len(tried.on("search", self.settings.guide)), gain

    @property
    def best(self) -> Tried | None:
        """So far; None before any was tried."""
        return next(iter(self.standings()), None)

    @property
    def verdict(self) -> Verdict | None:
        """Once both have been asked all sealed rows."""
        first, best = self.tried.get(self.start.key), self.best
        if first is None or best is None or not self.end:
            return None
        was, now = first.on("sealed", "goal"), best.on("sealed", "goal")
        places = sorted(was.keys() & now.keys())
        if not places:
            return None
        before, after = ([side[place].score for place in places] for side in (was, now))
        return Verdict(
            len(places),
            len(self.tried) - 1,
            best is not first,
            statistics.fmean(before),
            statistics.fmean(after),
            bootstrap(before),
            bootstrap(after),
            bootstrap([b - a for a, b in zip(before, after, strict=True)]),
        )

    def _take(self, step: dict[str, Any]) -> None:
        match step:
            case {"prompt": key, "value": value, "how": how}:
                self.tried.setdefault(key, Tried(Prompt.parse(value), how))
            case {"scored": key, "side": side, "by": by, "took": took, "rows": rows} if key in self.tried:
                self.tried[key].on(side, by).update({place: Scored(*rest) for place, *rest in rows})
                self.tried[key].took[side, by] = self.tried[key].took.get((side, by), 0.0) + took
            case {"asked": key, "wrote": text}:
                self.written[key] = text
            case {"seconds": seconds}:
                self.seconds += seconds
            case {"enough": why}:
                self.enough = why
            case {"end": why}:
                self.end = why


def begin(workspace: Workspace, settings: StudySettings) -> Study:
    """A new one. Raises StudioError for whatever could not be searched."""
    if not any(reward.weight for reward in settings.rewards.values()):
        raise ConfigError(
            "Nothing says what a good answer is.", remedy="Choose at least one reward and give it a weight."
        )
    for reward in settings.rewards.values():
        reward.check(workspace)
    settings.writer.check()
    if settings.run:
        _check_run(workspace, settings)
    else:
        check_name(settings.model)
        check_use(settings.model, workspace.models, writes=True)
    settings, opened = settled(workspace, settings)
    start = settings.prompt or plain(some(opened.train.load().rows, settings.seed), opened.mapping)
    start.check(askable(opened.mapping, opened.train.columns))
    rows = parts(workspace, settings)
    if settings.calls <= rows.least:
        raise ConfigError(
            f"{settings.calls:,} calls leave none to search with: the first prompt, the choice and the sealed rows "
            f"take {rows.least:,}.",
            remedy="Allow more calls, or fewer rows to search on, to choose on or sealed.",
        )
    about = {
        "title": opened.title,
        "settings": settings.model_dump(mode="json"),
        "start": start.model_dump(mode="json"),
        "rows": rows.key,
    }
    return Study(create(workspace.studies, opened.title, about))


def unfinished(workspace: Workspace, settings: StudySettings) -> Study | None:
    """The newest of these settings that has not come to its end. Raises StudioError as `begin` does."""
    wanted = settled(workspace, settings)[0].model_dump(mode="json")
    for binder in listed(workspace.studies):
        if binder.about.get("settings") == wanted and not (study := Study(binder)).end:
            return study
    return None


def look_up(workspace: Workspace, name: str) -> Study:
    """Raises RunError where there is none of that name."""
    return Study(find(workspace.studies, name))


def _check_run(workspace: Workspace, settings: StudySettings) -> None:
    """Raise StudioError where nobody of that run could answer."""
    if not config_of(workspace, settings.run).objective.writes:
        raise ConfigError("That run's model writes no text.", remedy="Choose another run, or a model.")
    if settings.tuned and not workspace.run(settings.run).adapter.is_dir():
        raise ConfigError(
            "That run saved nothing that it learnt.",
            remedy="Choose a run that was trained to its end, or let its model answer as it was.",
        )
