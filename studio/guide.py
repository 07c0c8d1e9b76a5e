"""A guided exercise, from rows to a judged model. What is done is told from what is on disk, and only from it."""

from __future__ import annotations

from dataclasses import dataclass

from studio import evidence
from studio.bakeoff import SEARCH, comparisons, members
from studio.data import collection
from studio.data.checked import Found
from studio.data.draft import unsaved
from studio.data.library import Opened, look, names, open_source
from studio.differences import differences
from studio.errors import StudioError
from studio.evaluated import report
from studio.objectives import objectives
from studio.store import State, Store
from studio.workspace import Workspace

FIRST = "customer_messages"  # what the exercise is about where nobody has chosen yet


@dataclass(frozen=True)
class Step:
    """One of the exercise. `evidence` says what shows that it is done, or what is missing still."""

    key: str
    title: str
    why: str
    todo: str  # what to do in the tab that it leads to
    done: bool
    evidence: str
    run: str = ""  # id of the run it is about
    applies: bool = True  # whether it can be done with such a model at all


@dataclass(frozen=True)
class _Known:
    """What the checks look at."""

    store: Store
    source: str  # the data set of the exercise
    runs: list[State]  # trained on it to their end, newest first

    @property
    def workspace(self) -> Workspace:
        return self.store.workspace

    @property
    def run(self) -> State | None:
        return self.runs[0] if self.runs else None

    @property
    def ids(self) -> list[str]:
        return [state.id for state in self.runs]


Finding = tuple[bool, str]  # whether it is done, and what shows or lacks


def subject(store: Store, wanted: str = "") -> str:
    """The data set of the exercise: as wanted, else that of the newest run, else one's own newest, else a sample."""
    known = [each.name for each in names(store.workspace)]
    of_runs = [evidence.source_of(state) for state in store.states(limit=5)]
    own = [kept.name for kept in collection.listed(store.workspace)]
    return next((each for each in (wanted, *of_runs, *own) if each in known), FIRST)


def steps(store: Store, source: str) -> list[Step]:
    """The exercise with this data set, as far as it is."""
    known = _Known(store, source, _of_these_rows(store, source))
    run, writes = known.run, known.run is None or known.run.writes
    found = []
    for key, title, why, todo, check, asks in _STEPS:
        applies = writes or not asks
        done, told = check(known) if applies else (False, "This model names labels: it is asked without a prompt.")
        found.append(Step(key, title, why, todo, done, told, run.id if run else "", applies))
    return found


def _of_these_rows(store: Store, source: str) -> list[State]:
    """Runs that went to their end with the data set as it is now: an older version's rows are others."""
    kept = collection.find(store.workspace, source)
    runs = evidence.trained(store, source)
    return [state for state in runs if kept is None or state.config["dataset"].get("version") == kept.current]


# -- checks ------------------------------------------------------------------------------------------------


def _prepared(known: _Known) -> Finding:
    try:
        data = look(known.source, known.workspace)
    except (StudioError, OSError):
        return False, "The data set is not there any more: choose another one."
    kept = collection.find(known.workspace, known.source)
    if kept:
        if changes := unsaved(kept):
            return False, f"'{kept.title}' has {_count(changes, 'change')} that no version holds yet: save them."
        current = next((each for each in collection.versions(kept) if each.key == kept.current), None)
        if current and current.parent and current.what:
            changes = _count(len(current.what), "change")
            return True, f"'{kept.title}' is at version {current.key[:8]} of {current.rows:,} rows, made by {changes}."
    looked = evidence.examined(_settled(known), known.workspace)
    if looked is None:
        return False, f"Nobody has let the checks look through the {data.train.total:,} rows of '{data.title}' yet."
    if faults := looked.faults("error"):
        return False, f"The checks found {_listed(faults)} in '{data.title}': mend them and save a version."
    found = "and found nothing"
    if looked.found:
        found = f"and found no errors, but {_listed(list(looked.found.values()))}"
    return True, f"{_count(len(looked.checks), 'check')} looked through '{data.title}' {found}."


def _settled(known: _Known) -> Opened | None:
    try:
        return open_source(known.source, known.workspace)
    except (StudioError, OSError):
        return None


def _tuned(known: _Known) -> Finding:
    if run := known.run:
        return True, f"'{run.title}' went to its end, {_count(run.step, 'step')} long{_fall(run)}."
    for state in known.store.states():
        if evidence.source_of(state) == known.source and (state.active or state.status == "paused"):
            return False, f"'{state.title}' is under way: step {state.step:,} of {state.total_steps or '…'}."
    if older := evidence.trained(known.store, known.source):
        return False, f"'{older[0].title}' learnt from another version of the data: train on the current one."
    return False, "No run has come to its end with this data set."


def _fall(run: State) -> str:
    before, after = (run.first_eval or {}).get("eval_loss"), (run.last_eval or {}).get("eval_loss")
    if before is None or after is None or not run.writes or _rewarded(run):
        return ""
    return f"; its loss on held-out rows {'fell' if after < before else 'went'} from {before:.2f} to {after:.2f}"


def _rewarded(run: State) -> bool:
    """Whether its loss is a reward with its sign turned."""
    objective = objectives().get(str(run.config.get("objective", {}).get("name", "")))
    return objective is not None and objective.rewarded


def _evaluated(known: _Known) -> Finding:
    if not known.runs:
        return False, "There is no finished run to evaluate yet."
    found = next(evidence.evaluations(known.workspace, known.ids), None)
    if found is None:
        return False, "No evaluation has asked a model of these runs to its end."
    asked = sum(len(part.rows) for part in found.sets)
    return True, " ".join(
        [f"'{found.title}' asked {_count(asked, 'row')}.", *[text for text, _ in report(found).words][:1]]
    )


def _prompted(known: _Known) -> Finding:
    found = next(evidence.studies(known.workspace, known.ids, known.source), None)
    if found is None or found.verdict is None:
        return False, "No search for a prompt with this data has come to its verdict."
    return True, f"A search with these rows ended. {found.verdict.words}"


def _benchmarked(known: _Known) -> Finding:
    if not known.runs:
        return False, "There is no finished run to measure yet."
    found = next(evidence.measured(known.workspace, known.ids), None)
    if found is None:
        return False, "No benchmark has measured a model of these runs."
    bench, ways = found
    return (
        True,
        f"'{bench.title}' measured it in {_count(len(ways), 'way')}, the first one being {ways[0].variant.how}.",
    )


def _compared(known: _Known) -> Finding:
    ids = set(known.ids)
    for _, comparison in comparisons(known.store):
        together = [state for state in members(known.store, comparison) if state.id in ids]
        if len(together) > 1:
            return True, f"A bake-off of {len(together)} methods went to its end: {_titles(together)}."
    by_hand = [state for state in known.runs if not str(state.config.get("comparison", "")).startswith(SEARCH)]
    for at, state in enumerate(by_hand):
        for other in evidence.same_rows(state, by_hand[at + 1 :]):
            if changed := differences([other.config, state.config]):
                named = ", ".join(key for key, _ in changed[:3])
                return True, f"Two runs learnt from the same rows and differ in {named}."
    return False, "There are no two finished runs on the same rows that differ in their settings."


def _titles(states: list[State]) -> str:
    return " and ".join(dict.fromkeys(state.title.split(" · ")[0] for state in states))


def _listed(faults: list[Found]) -> str:
    return ", ".join(f"{each.title.lower()} ({_count(each.rows, 'row')})" for each in faults)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


# Key, title, why, what to do, what tells that it is done, whether its model must write.
_STEPS = (
    (
        "prepare",
        "Prepare the data",
        "A model learns whatever its rows say: their faults, their copies, their gaps. An hour here is worth more than "
        "a day of settings.",
        "Look at some rows, press “Check the data” under Quality, mend what it finds in a copy, and save a version.",
        _prepared,
        False,
    ),
    (
        "tune",
        "Tune a model",
        "Training moves the model's weights a little after each batch, so that it writes your answers more readily. "
        "LoRA moves few of them, which is quick and seldom does harm.",
        "Start with what is filled in; watch the loss on held-out rows under Curves.",
        _tuned,
        False,
    ),
    (
        "evaluate",
        "Evaluate it",
        "A falling loss does not say that answers are good. The base model and yours are asked the same rows, which "
        "neither has seen, and only differences that chance hardly makes count.",
        "Both are chosen already: press “Evaluate”, then read the answers that went wrong.",
        _evaluated,
        False,
    ),
    (
        "prompt",
        "Optimise the prompt",
        "A better question often does what training was meant to do, at no cost. Only who has tried knows whether the "
        "training was worth it.",
        "Look for a better prompt for the base model; the sealed rows say honestly whether it is one.",
        _prompted,
        True,
    ),
    (
        "benchmark",
        "Benchmark it",
        "A good answer that takes too long, or does not fit into memory, helps nobody. What counts is the time to the "
        "first word, the pace after it, and how many can ask at once.",
        "Your run is chosen already: press “Measure”.",
        _benchmarked,
        True,
    ),
    (
        "compare",
        "Compare it",
        "One run says that something works, not that it works best. The same rows, steps and seed with another method, "
        "or one setting changed, say what matters.",
        "Choose two methods or more and start the bake-off; or train again with one setting changed.",
        _compared,
        False,
    ),
)
