"""What good practice asks of a run, ticked by what the run and the workspace show. No tick without evidence on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from studio import evidence
from studio.advice import CUT, advise
from studio.config import RunConfig
from studio.data.checked import LEAKAGE, Checked
from studio.data.checks import checks
from studio.data.library import Opened
from studio.differences import differences
from studio.edge_cases import tried
from studio.errors import ConfigError
from studio.evaluate import Evaluation
from studio.store import Point, State, Store
from studio.workspace import Workspace
from studio.worth import known as known_worth

NEAR = "near_duplicate"
_HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Item:
    """One thing that good practice asks. `evidence` says what shows it, or what is missing."""

    key: str
    title: str
    why: str
    where: str  # key of the tab in which it is done
    ticked: bool
    evidence: str
    applies: bool = True  # whether it makes sense for such a run


Verdict = tuple[bool, str]  # ticked, evidence
_NONE: Verdict | None = None  # what a rule gives where it does not apply


@dataclass(frozen=True)
class _Seen:
    """A run as the rules look at it."""

    store: Store
    state: State
    config: RunConfig
    points: list[Point]

    @property
    def workspace(self) -> Workspace:
        return self.store.workspace

    @cached_property
    def data(self) -> Opened | None:
        return evidence.opened(self.state, self.workspace)

    @cached_property
    def checked(self) -> Checked | None:
        return evidence.examined(self.data, self.workspace)

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        return list(evidence.evaluations(self.workspace, [self.state.id]))

    @cached_property
    def same_rows(self) -> list[State]:
        return evidence.same_rows(self.state, evidence.trained(self.store))

    def curve(self, name: str) -> list[float]:
        """In the order of steps."""
        return [point.metrics[name] for point in self.points if name in point.metrics]


def checklist(store: Store, run_id: str) -> list[Item]:
    """All items for a run; none for one whose config this studio cannot read.

    Raises RunError where there is no such run.
    """
    state = store.state(run_id)
    try:
        config = RunConfig.parse(state.config).settled()
    except ConfigError:
        return []
    seen = _Seen(store, state, config, store.points(run_id))
    found = []
    for key, title, why, where, rule in _RULES:
        verdict = rule(seen)
        ticked, told = verdict or (False, "It does not apply to such a run.")
        found.append(Item(key, title, why, where, ticked, told, verdict is not None))
    return found


def summary(items: list[Item]) -> str:
    """In a sentence."""
    asked = [item for item in items if item.applies]
    left = [item.title[0].lower() + item.title[1:] for item in asked if not item.ticked]
    if not asked:
        return "Nothing is known of this run."
    done = f"{len(asked) - len(left)} of {len(asked)} points of good practice are shown by what is on disk"
    more = f", and {len(left) - 3} more" if len(left) > 3 else ""
    return f"{done}; not yet: {', '.join(left[:3])}{more}." if left else f"{done}."


# -- the data ----------------------------------------------------------------------------------------------


def _validated(seen: _Seen) -> Verdict | None:
    """All checks that are run by default have looked at the very rows."""
    if seen.data is None:
        return False, "The data set is not there any more."
    if seen.checked is None:
        return False, "The checks have not looked through the rows of this version."
    usual = {key for key, cls in checks().items() if cls.default}
    if missing := usual - {*seen.checked.checks}:
        return False, f"{_count(len(missing), 'usual check')} left out when the rows were looked through."
    if faults := seen.checked.faults("error"):
        told = ", ".join(f"{each.title.lower()} ({_count(each.rows, 'row')})" for each in faults)
        return False, f"The checks found errors that are still in these rows: {told}."
    warned = seen.checked.faults("warning")
    hints = f"; worth a look: {', '.join(each.title.lower() for each in warned)}" if warned else ""
    return True, f"{_count(len(usual), 'check')} looked through all rows and found no error{hints}."


def _held_out(seen: _Seen) -> Verdict | None:
    data = seen.state.data
    if data is None:
        return False, "The run has not read its data yet."
    if not data.validation_rows:
        return False, f"All {data.train_rows:,} rows were trained on."
    own = seen.data is not None and seen.data.validation is not None
    how = "the data set's own" if own else f"divided off at random, seed {seen.config.seed}"
    if not own and seen.config.dataset.split != "random":
        how = f"divided off '{seen.config.dataset.split}'"
    return True, f"{_count(data.validation_rows, 'row')} beside the {data.train_rows:,} to learn from ({how})."


def _leakage(seen: _Seen) -> Verdict | None:
    if not (seen.state.data and seen.state.data.validation_rows):
        return False, "No rows were held out, so nothing could be compared."
    own = seen.data.validation if seen.data else None
    if own is None and seen.config.dataset.split == "clusters":
        return True, "Rows that are nearly the same were kept on one side of the split."
    looked = seen.checked
    if own is None:
        if looked is None or NEAR not in looked.checks:
            return False, "Equal rows stay on one side of the split; whether nearly equal ones do, nobody has checked."
        if found := looked.found.get(NEAR):
            return (
                False,
                f"{_count(found.rows, 'row')} nearly equal to others, and may stand on both sides of the split.",
            )
        return True, "No two rows are nearly the same, so none can stand on both sides of the split."
    if looked is None or looked.against != own.path.stem:
        return False, "The rows to learn from were not compared with the held-out ones."
    if found := looked.found.get(LEAKAGE):
        return False, f"{_count(found.rows, 'row')} to learn from also held out, or nearly: scores measure memory."
    return True, "No row to learn from is like a held-out one."


def _whole_rows(seen: _Seen) -> Verdict | None:
    data, longest = seen.state.data, seen.config.objective.max_length
    if data is None:
        return False, "The run has not read its data yet."
    lost = (
        f"{data.truncated_rows:,} of {data.train_rows:,} rows cut at {longest:,} tokens, {data.skipped_rows:,} left out"
    )
    return data.truncated_rows + data.skipped_rows <= CUT * data.train_rows, f"{lost}."


# -- the training ------------------------------------------------------------------------------------------


def _schedule(seen: _Seen) -> Verdict | None:
    """As the learning rates of the log show it."""
    rates = seen.curve("learning_rate")
    if len(rates) < 3:
        return False, "Too few steps were made to see a learning rate rise and fall."
    top = rates.index(max(rates))
    rises, falls = rates[0] < rates[top], rates[-1] < rates[top]
    way = (
        f"from {rates[0]:.2g} to {rates[top]:.2g} over {_count(top, 'step')}"
        if rises
        else f"was {rates[0]:.2g} at once"
    )
    end = f"fell to {rates[-1]:.2g}" if falls else "stayed there"
    return rises and falls, f"The learning rate {'rose ' if rises else ''}{way}, then {end}."


def _clipping(seen: _Seen) -> Verdict | None:
    limit, norms = seen.config.training.max_grad_norm, seen.curve("grad_norm")
    if not limit:
        return False, "Gradients of any length were let through."
    if not norms:
        return False, "No step has told the length of its gradient."
    longer = sum(norm > limit for norm in norms)
    return True, f"Gradients were held to a norm of {limit:g}; {longer:,} of {len(norms):,} were longer."


def _precision(seen: _Seen) -> Verdict | None:
    model = seen.state.model
    if model is None:
        return False, "The model was not loaded yet."
    known = model.reason.rstrip(".")
    return (
        model.dtype in _HALF or "computed in bfloat16" in known,
        f"The base computes in {model.dtype}{f': {known[0].lower()}{known[1:]}' if known else ''}.",
    )


def _best_kept(seen: _Seen) -> Verdict | None:
    training, losses = (
        seen.config.training,
        [p.metrics["eval_loss"] for p in seen.points if p.step and "eval_loss" in p.metrics],
    )
    if not losses:
        return False, "Held-out rows were never scored after the first step."
    if training.load_best_model_at_end:
        early = " and would have ended early" if training.early_stopping_patience else ""
        return True, f"It kept the weights of the best of {_count(len(losses), 'evaluation')}{early}."
    if len(losses) == 1:
        return False, "Held-out rows were scored once only, so nobody knows whether there was a better moment."
    if losses[-1] <= min(losses):
        return True, f"Its last evaluation of {len(losses)} was the best, so nothing better was thrown away."
    return False, f"The best evaluation had a loss of {min(losses):.3f}; what is saved has {losses[-1]:.3f}."


def _healthy(seen: _Seen) -> Verdict | None:
    if seen.config.objective.rewarded:
        return _NONE
    if seen.state.active or not seen.curve("loss"):
        return False, "There are no curves of a whole run yet."
    found = advise(seen.state, seen.points)
    return not found, found[
        0
    ].text if found else f"Nothing in {_count(seen.state.step, 'step')} of curves asks for a word."


def _forgetting(seen: _Seen) -> Verdict | None:
    if seen.config.old.source:
        return True, f"The loss on '{seen.config.old.source}' was watched beside the new data's."
    if any(part.name == "old" for each in seen.evaluations for part in each.sets):
        return True, "An evaluation asked what the model could do before."
    return False, "Nobody looked at what the model could do before."


def _reproducible(seen: _Seen) -> Verdict | None:
    data = seen.state.data
    if data is None or not data.fingerprint:
        return False, "The run has not told which rows it read."
    return True, f"Seed {seen.config.seed}, all settings and the rows' hash {data.fingerprint[:8]} are on disk."


# -- the judgement -----------------------------------------------------------------------------------------


def _baseline(seen: _Seen) -> Verdict | None:
    state = seen.state
    for each in seen.evaluations:
        if any(not asked.tuned or asked.model for asked in each.settings.candidates):
            return True, f"'{each.title}' asked it beside a model without this training."
    if state.answers:
        return True, f"Base and tuned model answered the same {_count(state.answers.rows, 'held-out prompt')}."
    if state.labels and any(head["baseline"] for head in state.labels.heads):
        return True, "Its labels were held against always saying the most frequent one."
    if state.preferences:
        return (
            True,
            f"{_count(state.preferences.rows, 'held-out pair')} scored, where guessing gets half of them right.",
        )
    return False, "Nothing says how the base model does on the same rows."


def _unseen(seen: _Seen) -> Verdict | None:
    if not seen.evaluations:
        return False, "No evaluation on unseen rows has come to its end."
    newest = seen.evaluations[0]
    return True, f"'{newest.title}' asked {_count(sum(len(part.rows) for part in newest.sets), 'unseen row')}."


def _prompt(seen: _Seen) -> Verdict | None:
    if not seen.state.writes:
        return _NONE
    if known_worth(seen.workspace, seen.state.id):
        return True, "The report “Was it worth it?” holds it against what a prompt does."
    if found := next(evidence.studies(seen.workspace, [seen.state.id], evidence.source_of(seen.state)), None):
        return True, f"A search tried {_count(len(found.tried) - 1, 'other prompt')} with these rows."
    return False, "Nobody has looked for a prompt that does as well."


def _another_way(seen: _Seen) -> Verdict | None:
    for other in seen.same_rows:
        if changed := [key for key, _ in differences([other.config, seen.state.config]) if key != "seed"]:
            return True, f"Another finished run on the same rows differs in {', '.join(changed[:3])}."
    return False, "No other finished run on the same rows differs in a setting."


def _chance(seen: _Seen) -> Verdict | None:
    alike = [
        other
        for other in seen.same_rows
        if [key for key, _ in differences([other.config, seen.state.config])] == ["seed"]
    ]
    if alike:
        return True, f"{_count(len(alike), 'run')} beside it differ in the seed alone."
    return False, "No run differs from it in the seed alone, so how much is luck is not known."


def _edge_cases(seen: _Seen) -> Verdict | None:
    if not seen.state.writes:
        return _NONE
    if found := tried(seen.workspace, seen.state.id):
        return (
            True,
            f"It was asked {_count(len(found), 'odd prompt')}: {', '.join(each.title.lower() for each in found[:4])} …",
        )
    return False, "Nobody has asked it odd prompts, such as an empty or a foreign one."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


Rule = Callable[[_Seen], Any]
_RULES: tuple[tuple[str, str, str, str, Rule], ...] = (
    ("validated", "Data validated", "What is wrong in the rows is learnt.", "dataset", _validated),
    ("held_out", "Rows held out", "Only rows it never saw tell learning from memory.", "train", _held_out),
    ("leakage", "No leakage", "A held-out row that was also learnt measures memory.", "dataset", _leakage),
    ("whole_rows", "Rows fit", "A row that is cut loses the end of its answer.", "train", _whole_rows),
    ("schedule", "Warm-up and decay", "Early steps are noisy, and late ones should settle.", "train", _schedule),
    ("clipping", "Gradients clipped", "One odd batch must not undo a hundred good ones.", "train", _clipping),
    ("precision", "Half precision", "Half the memory and often twice the pace, at no loss.", "train", _precision),
    ("best_kept", "Best weights kept", "The last step is not always the best one.", "train", _best_kept),
    ("healthy", "Healthy curves", "Curves show early what a score shows late.", "curves", _healthy),
    ("forgetting", "Forgetting watched", "What is learnt may push out what was known.", "train", _forgetting),
    ("reproducible", "Can be repeated", "A result that nobody can repeat is an anecdote.", "runs", _reproducible),
    ("baseline", "Baseline compared", "Better than what? A number alone says little.", "evaluate", _baseline),
    ("unseen", "Judged on unseen rows", "With intervals, so that chance is not taken for gain.", "evaluate", _unseen),
    ("prompt", "A prompt tried instead", "A better question may do as much as training.", "prompts", _prompt),
    (
        "another_way",
        "Another way tried",
        "One run says that it works, not that it works best.",
        "compare",
        _another_way,
    ),
    ("chance", "Another seed tried", "Differences between seeds are what luck looks like.", "train", _chance),
    ("edge_cases", "Edge cases tried", "People send what no row of yours looks like.", "learn", _edge_cases),
)
