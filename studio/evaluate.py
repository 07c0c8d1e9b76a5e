"""Models asked the same rows, beside one another: what was asked for, and all that came of it, on disk.

A line of its steps is one of
    {"set": place of a set, "asked": messages, "right": the reference, or the text that is read, "task": its tests}
    {"likely": place of a candidate, "set", "rows": [[place, nats or null, tokens]]}
    {"said": place of a candidate, "set", "rows": [[place, answer or null]]}
    {"ran": place of a candidate, "set", "rows": [[place, what came of the program in its answer, why]]}
    {"drawn": place of a candidate, "set", "rows": [[place, several answers drawn by chance]]}
    {"tried": place of a candidate, "set", "rows": [[place, what came of the program in each of them]]}
    {"counted": name of a task of lm-eval, "rows": how many it asks}
    {"scored": place of a candidate, "task": its name, "result": a `Result`}
where null is a row that the model cannot read. Whoever goes on asks what is missing; `studio.evaluated` makes a report
of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from studio.binder import Binder, Stepwise, create, find, listed
from studio.config import DatasetSettings
from studio.data.labels import Head, saved_heads
from studio.data.library import Opened, open_source
from studio.errors import ConfigError, ModelError
from studio.evaluation.harness import Result, Score
from studio.evaluation.measures import AnswerKind
from studio.evaluation.shape import kind_of
from studio.evaluation.tasks import ABSENT, INSTALL, EvalTask, find_tasks, installed
from studio.evaluation.unseen import Item, Naming, Seen, items, seen_by
from studio.models.catalog import SUGGESTIONS, check_name, check_use
from studio.objectives._labelled import LabelObjective
from studio.parts import config_of
from studio.sandbox import Task, available
from studio.settings import Settings, setting
from studio.store import Store
from studio.trained import identity
from studio.workspace import Workspace

How = Literal["likely", "said", "ran", "drawn", "tried"]


class Candidate(Settings):
    """A model of the catalog, or what a run made of one."""

    model: str = Field(default="", max_length=500)  # as a run's model is named
    run: str = Field(default="", max_length=100)
    tuned: bool = True  # of a run: what it learnt; else what it began with


class EvaluationSettings(Settings):
    """Who is asked what."""

    version: int = Field(default=1, ge=1, le=1)
    candidates: tuple[Candidate, ...] = Field(default=(), max_length=12)  # each is compared with the first
    dataset: DatasetSettings | None = None  # None: that of the first run among them
    old: DatasetSettings | None = None  # what the models could do before, to see what was forgotten
    rows: int = setting(
        200,
        "Rows at most",
        ge=1,
        le=10_000,
        help="Of each data set, drawn by chance among those that none of the models was trained on. More rows tell "
        "smaller differences from chance.",
        source="Miller 2024, arXiv:2411.00640",
    )
    answers: bool = setting(
        True,
        "Let them answer",
        help="Off: only how likely the right answers are to them, which takes a fraction of the time.",
    )
    max_new_tokens: int = setting(
        128, "Longest answer", ge=1, le=4096, unit="tokens", help="Whatever a model writes ends there."
    )
    samples: int = setting(
        1,
        "Programs a task",
        ge=1,
        le=200,
        advanced=True,
        help="Where rows have tests. With more than one so many answers are drawn, too, and pass@k says how often "
        "one of k of them passes. It takes as many times as long.",
        source="Chen et al. 2021, arXiv:2107.03374",
    )
    temperature: float = setting(
        0.8,
        "Temperature of these programs",
        gt=0,
        le=5,
        advanced=True,
        help="Higher: they differ more, which helps the best of many and harms each of them.",
        source="Chen et al. 2021, arXiv:2107.03374",
    )
    seed: int = setting(
        0, "Seed", ge=0, le=2**31 - 1, advanced=True, help="The same one draws the same rows and programs."
    )
    tasks: tuple[str, ...] = setting(
        (),
        "Tasks of lm-eval",
        max_length=50,
        advanced=True,
        help="By name: those that lm-eval brings, whose rows come from the Hub, or of files of your own, with commas.",
        source="Gao et al., Language Model Evaluation Harness; pip install 'finetune-studio[lm-eval]'",
    )
    include_path: str = setting(
        "", "Folder of tasks", max_length=500, advanced=True, help="Of your own. Empty: 'tasks' in the workspace."
    )
    num_fewshot: int | None = setting(
        None,
        "Examples before each row of a task",
        ge=0,
        le=100,
        advanced=True,
        help="Empty: as each task says.",
        source="Brown et al. 2020, arXiv:2005.14165, section 2",
    )
    limit: int | None = setting(
        None,
        "Rows a task at most",
        ge=1,
        advanced=True,
        help="The first ones, to try a task: its numbers are then not those of the whole. Empty: all of them.",
        source="Gao et al., Language Model Evaluation Harness",
    )


@dataclass(frozen=True)
class Contender:
    """A candidate as it was when it was first asked."""

    title: str
    identity: str  # tells whether a run was trained on since
    head: str = ""  # the column whose labels it names; empty: it writes text


@dataclass
class Asked:
    """A set of rows, and what came of them: place of the candidate → place of the row → what it is."""

    name: Literal["new", "old"]
    title: str
    kind: AnswerKind
    several: str | None  # between the labels of an answer, where it may hold several
    notes: list[str]
    rows: list[Item] = field(default_factory=list)
    likely: dict[int, dict[int, tuple[float, int] | None]] = field(default_factory=dict)  # (nats, tokens)
    said: dict[int, dict[int, str | None]] = field(default_factory=dict)
    ran: dict[int, dict[int, tuple[str, str]]] = field(default_factory=dict)  # (of `studio.sandbox.WHY`, detail)
    drawn: dict[int, dict[int, list[str]]] = field(default_factory=dict)
    tried: dict[int, dict[int, list[str]]] = field(default_factory=dict)  # of `studio.sandbox.WHY`

    @property
    def reads(self) -> bool:
        """Whether texts are read, and nothing is answered."""
        return self.kind == "text"


class Evaluation(Stepwise):
    """One of them on disk."""

    def __init__(self, binder: Binder) -> None:
        self.settings = EvaluationSettings.parse(binder.about["settings"])
        self.contenders = [Contender(**each) for each in binder.about["contenders"]]
        self.sets = [Asked(**each) for each in binder.about["sets"]]
        self.tasks = [EvalTask(**each) for each in binder.about.get("tasks", [])]
        self.sizes: dict[str, int] = {}  # task → rows, once it was made ready
        self.scored: dict[str, dict[int, Result]] = {each.name: {} for each in self.tasks}
        super().__init__(binder)

    def wanted(self, part: Asked) -> list[How]:
        """What each candidate is to do with the rows of a set, and what is done with its answers."""
        if part.several is not None or part.kind == "quantity":  # no share of such an answer could be compared
            return ["said"]
        if part.reads or not self.settings.answers:
            return ["likely"]
        if part.kind != "code":
            return ["likely", "said"]
        return ["likely", "said", "ran", *(("drawn", "tried") if self.settings.samples > 1 else ())]

    @property
    def total(self) -> int:
        """Requests, as many as there are for all candidates; a task counts as its rows."""
        of_tasks = sum(self.sizes.get(each.name, 1) for each in self.tasks)
        of_sets = sum(len(part.rows) * len(self.wanted(part)) for part in self.sets)
        return len(self.contenders) * of_sets + sum(not each.head for each in self.contenders) * of_tasks

    @property
    def done(self) -> int:
        """Requests that were made."""
        return sum(
            len(getattr(part, how).get(who, ()))
            for part in self.sets
            for how in self.wanted(part)
            for who in range(len(self.contenders))
        ) + sum(self.sizes.get(name, 1) * len(found) for name, found in self.scored.items())

    def unscored(self, who: int) -> list[str]:
        """Tasks that a candidate is still to be asked; one that names labels cannot be."""
        return [] if self.contenders[who].head else [each for each, found in self.scored.items() if who not in found]

    def _take(self, step: dict[str, Any]) -> None:
        match step:
            case {"set": place, "asked": asked, "right": right}:
                task = step.get("task")
                self.sets[place].rows.append(Item(asked, right, task and Task(**task)))
            case {"likely": who, "set": place, "rows": rows}:
                found = {row: None if nats is None else (nats, tokens) for row, nats, tokens in rows}
                self.sets[place].likely.setdefault(who, {}).update(found)
            case {"said": who, "set": place, "rows": rows}:
                self.sets[place].said.setdefault(who, {}).update({row: text for row, text in rows})
            case {"ran": who, "set": place, "rows": rows}:
                self.sets[place].ran.setdefault(who, {}).update({row: (why, detail) for row, why, detail in rows})
            case {"drawn": who, "set": place, "rows": rows}:
                self.sets[place].drawn.setdefault(who, {}).update({row: texts for row, texts in rows})
            case {"tried": who, "set": place, "rows": rows}:
                self.sets[place].tried.setdefault(who, {}).update({row: whys for row, whys in rows})
            case {"counted": name, "rows": rows}:
                self.sizes[name] = rows
            case {"scored": who, "task": name, "result": told}:
                scores = [Score(**each) for each in told["scores"]]
                self.scored[name][who] = Result(**{**told, "scores": scores})


# -- beginning one -----------------------------------------------------------------------------------------


def begin(workspace: Workspace, settings: EvaluationSettings) -> Evaluation:
    """A new one. Raises StudioError for whatever could not be evaluated."""
    _check(workspace, settings)
    tasks = _tasks(workspace, settings)
    naming = _naming(workspace, settings)
    contenders = _contenders(workspace, settings, naming)
    if tasks and all(each.head for each in contenders):
        raise ConfigError("What names labels cannot be asked tasks of lm-eval.", remedy="Name no task.")
    settings = settled(workspace, settings)
    seen = _seen(workspace, settings)
    wanted = [(name, each) for name, each in (("new", settings.dataset), ("old", settings.old)) if each]
    sets, rows = [], []
    for name, chosen in wanted:
        opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
        found, notes = items(opened, seen, settings.rows, settings.seed, naming)
        kind = _kind(opened, found, naming)
        parts = naming.separator if naming and naming.head.kind == "labels" else None
        sets.append({"name": name, "title": opened.title, "kind": kind, "several": parts, "notes": notes})
        rows += [{"set": len(sets) - 1, **asdict(each)} for each in found]
    where = str(sets[0]["title"]) if sets else ", ".join(each.name for each in tasks)
    title = f"{' · '.join(each.title for each in contenders)} on {where}"
    about = {
        "title": title,
        "settings": settings.model_dump(mode="json"),
        "contenders": [asdict(each) for each in contenders],
        "sets": sets,
        "tasks": [asdict(each) for each in tasks],
    }
    binder = create(workspace.evaluations, where, about)
    binder.steps.touch()
    binder.append(*rows)
    return Evaluation(binder)


def unfinished(workspace: Workspace, settings: EvaluationSettings) -> Evaluation | None:
    """The newest of these settings that has not come to its end. Raises StudioError."""
    wanted = settled(workspace, settings).model_dump(mode="json")
    for binder in listed(workspace.evaluations):
        if binder.about.get("settings") == wanted:
            evaluation = Evaluation(binder)
            if evaluation.done < evaluation.total:
                return evaluation
    return None


def look_up(workspace: Workspace, name: str) -> Evaluation:
    """Raises RunError where there is none of that name."""
    return Evaluation(find(workspace.evaluations, name))


def of_run(workspace: Workspace, run: str) -> EvaluationSettings:
    """What a run began with, where that can answer, beside what it learnt, on rows it held out. Raises RunError."""
    before = [Candidate(run=run, tuned=False)] if config_of(workspace, run).objective.writes else []
    return EvaluationSettings(candidates=(*before, Candidate(run=run)))


def settled(workspace: Workspace, settings: EvaluationSettings) -> EvaluationSettings:
    """With the data sets' versions, so that going on is about the same rows. Raises StudioError."""
    chosen = settings.dataset
    if chosen is None and (run := next((each.run for each in settings.candidates if each.run), "")):
        chosen = config_of(workspace, run).dataset
    if chosen is None and not settings.tasks:
        raise ConfigError("No data set is chosen.", remedy="Name one, or a run, whose held-out rows are taken.")
    found = {
        "dataset": chosen and _settled(workspace, chosen),
        "old": settings.old and _settled(workspace, settings.old),
    }
    return settings.model_copy(update=found)


def _settled(workspace: Workspace, chosen: DatasetSettings) -> DatasetSettings:
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    source = str(opened.path.resolve()) if opened.path else chosen.source
    return chosen.model_copy(update={"source": source, "version": opened.version, **opened.mapping.plain()})


def _check(workspace: Workspace, settings: EvaluationSettings) -> None:
    """Raise StudioError where somebody could not be asked."""
    if not settings.candidates:
        raise ConfigError("Nobody is to be asked.", remedy="Choose at least one model or run.")
    if len(set(settings.candidates)) < len(settings.candidates):
        raise ConfigError("The same model is chosen twice.", remedy="Choose each once.")
    for each in settings.candidates:
        _check_one(workspace, each)


def _tasks(workspace: Workspace, settings: EvaluationSettings) -> list[EvalTask]:
    """Those of lm-eval. Raises ConfigError without it, and for a task that is not there or could run code."""
    if settings.tasks and not installed():
        raise ConfigError(ABSENT, remedy=f"{INSTALL} Or name no task.")
    folder = Path(settings.include_path or workspace.tasks).expanduser().resolve()
    return find_tasks(settings.tasks, folder) if settings.tasks else []


def _contenders(workspace: Workspace, settings: EvaluationSettings, naming: Naming | None) -> list[Contender]:
    found = [_title(workspace, each) for each in settings.candidates]
    return [
        Contender(
            f"{title} ({each.run or each.model})" if found.count(title) > 1 else title,
            identity(workspace, each.model, each.run, tuned=each.tuned),
            naming.head.name if naming and _names_labels(workspace, each) else "",
        )
        for title, each in zip(found, settings.candidates, strict=True)
    ]


def _check_one(workspace: Workspace, candidate: Candidate) -> None:
    if not candidate.run:
        check_name(candidate.model)
        check_use(candidate.model, workspace.models, writes=True)
        return
    folder, objective = workspace.run(candidate.run), config_of(workspace, candidate.run).objective
    if not (objective.writes or isinstance(objective, LabelObjective)):
        raise ModelError("That run's model neither answers nor names labels.", remedy="Choose another run.")
    if not (candidate.tuned or objective.writes):
        raise ModelError(
            "What that run began with has no head that names labels.", remedy="Choose what it learnt instead."
        )
    if candidate.tuned and not folder.adapter.is_dir():
        raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")


def _title(workspace: Workspace, candidate: Candidate) -> str:
    """As people call it."""
    if candidate.run and candidate.tuned:
        return Store(workspace).state(candidate.run).title
    model = config_of(workspace, candidate.run).model if candidate.run else candidate.model
    return f"{next((each.title for each in SUGGESTIONS if each.model == model), model)}, as it is"


def _names_labels(workspace: Workspace, candidate: Candidate) -> bool:
    return bool(candidate.run) and not config_of(workspace, candidate.run).objective.writes


def _naming(workspace: Workspace, settings: EvaluationSettings) -> Naming | None:
    """What the runs among them that name labels have in common; None where all write. Raises StudioError."""
    runs = [each.run for each in settings.candidates if _names_labels(workspace, each)]
    heads = [_heads(workspace, run) for run in runs]
    if not runs:
        return None
    common = [head for head in heads[0] if all((head.name, head.kind) in map(_which, each) for each in heads)]
    if not common:
        raise ConfigError(
            "There is no column of labels that all of these runs learnt.",
            remedy="Compare runs that learnt the same labels.",
        )
    if common[0].kind != "classes" and not settings.answers:
        raise ConfigError(
            "How likely a number, or several labels at once, is to these runs cannot be told.",
            remedy="Let them answer.",
        )
    objective = config_of(workspace, runs[0]).objective
    assert isinstance(objective, LabelObjective)  # or it was refused
    return Naming(common[0], objective.label_separator)


def _heads(workspace: Workspace, run: str) -> list[Head]:
    try:
        return saved_heads(workspace.run(run).adapter)
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError("The heads beside the adapter are damaged.", remedy="Train it again.") from None


def _which(head: Head) -> tuple[str, str]:
    return head.name, head.kind


def _seen(workspace: Workspace, settings: EvaluationSettings) -> Seen:
    """What the runs among them know of rows."""
    runs = dict.fromkeys(each.run for each in settings.candidates if each.run and each.tuned)
    return seen_by(workspace, ((Store(workspace).state(run).title, config_of(workspace, run)) for run in runs))


def _kind(opened: Opened, found: Sequence[Item], naming: Naming | None) -> AnswerKind:
    if naming:
        return "quantity" if naming.head.kind == "number" else "labels"
    if opened.mapping.format == "text":
        return "text"
    return "code" if all(each.task for each in found) and available()[0] else kind_of([each.right for each in found])
