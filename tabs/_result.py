"""What came of a run, in sentences and tables: the live panel's last part."""

from __future__ import annotations

from typing import Any

from studio.evaluation.metrics import LABELS
from studio.events import AnswersScored, PreferencesScored, VocabularyExtended
from studio.store import State
from tabs._shared import shared_beginning

HELP = {
    "accuracy": ("Accuracy", "Share of the rows with the right answer."),
    "f1": ("F1", "Harmonic mean of precision and recall, each label counted alike."),
    "precision": ("Precision", "Of the rows given a label, the share that has it; each label counted alike."),
    "recall": ("Recall", "Of the rows that have a label, the share given it; each label counted alike."),
    "mae": ("Mean absolute error", "How far off it is on average, in the column's own unit."),
    "rmse": ("Root mean square error", "As the mean absolute error, but large misses count for more."),
    "mse": ("Mean square error", "Large misses count for more."),
    "r2": ("R²", "Share of the numbers' variance that it explains; always saying the mean explains none."),
    "spearman": ("Rank correlation", "1 where it orders the rows as the right numbers do."),
}
TERMS_SHOWN = 200  # of thousands that there may be
_REWARDS = ("eval_reward", "eval_reward_accuracy")
SHARES = ("accuracy", "f1", "precision", "recall")  # between 0 and 1, shown in per cent


def result(state: State) -> dict[str, Any] | None:
    """How the tuned model compares with what it was before, once the run has ended."""
    found = {
        "headlines": headlines(state),
        "answers": _answers(state.answers) if state.answers else None,
        "preferences": _preferences(state.preferences) if state.preferences else None,
        "heads": [_head(head, state) for head in state.labels.heads] if state.labels else [],
        "examples": state.labels.examples if state.labels else [],
    }
    return found if any(found.values()) else None


def headlines(state: State) -> list[dict[str, Any]]:
    """Losses before and after: {"what", "before", "after", "verdict"}."""
    before, after = state.first_eval or {}, state.last_eval or {}
    # Where rewards or preferences are learnt from, these say more than the loss.
    of_loss = next(((name,) for name in _REWARDS if name in after), ("eval_loss", "eval_old_loss"))
    known = [name for name in of_loss if state.saved and name in before and name in after]
    said = {
        # Before training a head is random: that it got better than that says nothing.
        "eval_loss": ("Held-out loss", "on rows it never trained on", verdict if state.writes else lambda *_: ""),
        "eval_old_loss": ("Loss on old data", "on what it must not forget", forgetting),
        "eval_reward": ("Reward", "of its likeliest answers to prompts it never trained on", rewarding),
        "eval_reward_accuracy": ("Right preferences", "among held-out answers that somebody judged", preferring),
    }
    found = []
    for name in known:
        what, where, judge = said[name]
        judged = judge(before[name], after[name])
        text = f"{where}: {judged}" if judged else f"{where}."
        found.append({"what": what, "before": before[name], "after": after[name], "verdict": text})
    return found


def verdict(base: float, tuned: float) -> str:
    """What a change of loss means, without the number's jargon."""
    ratio = tuned / base if base else 1.0
    if ratio < 0.5:
        return "it predicts the right answers far better than before."
    if ratio < 0.95:
        return "it predicts the right answers better than before."
    if ratio <= 1.02:
        return "it learnt little. More steps or a higher learning rate may help."
    return "it got worse on new rows. Try a lower learning rate or fewer epochs."


def rewarding(base: float, tuned: float) -> str:
    """What a change of the reward means."""
    if tuned > base:
        return "its answers score higher than before. Read some: a score can rise for the wrong reason."
    return "its answers score no higher than before. More steps, or answers drawn more often, may help."


def preferring(base: float, tuned: float) -> str:
    """What a change of the share of right preferences means."""
    if tuned > base:
        return "it tells better answers from worse ones more often than before."
    return "it tells better answers from worse ones no more often than before. More steps or rows may help."


def forgetting(base: float, tuned: float) -> str:
    """What a change of the loss on old data means."""
    ratio = tuned / base if base else 1.0
    if ratio <= 1.02:
        return "nothing was forgotten that shows here."
    if ratio <= 1.15:
        return "a little was forgotten."
    return "much was forgotten. Replay, a penalty or a lower learning rate holds it back."


def vocabulary(found: VocabularyExtended | None) -> dict[str, Any] | None:
    """The terms that became tokens, and what that saves."""
    if found is None:
        return None
    saved = 1 - found.tokens_after / max(found.tokens_before, 1)
    text = f"Added {len(found.terms)} terms; the training texts take {saved:.0%} fewer tokens."
    return {"sentence": text.replace("%", " %"), "terms": found.terms[:TERMS_SHOWN]}


def _answers(answers: AnswersScored) -> dict[str, Any]:
    shared = shared_beginning([each["prompt"] for each in answers.examples])
    left_out = f"; longer than the model reads, and left out: {answers.left_out}" if answers.left_out else ""
    return {
        "sentence": f"Both models answered the same {answers.rows} held-out prompts{left_out}.",
        "shared_prompt": shared,
        "examples": [{**each, "prompt": each["prompt"][len(shared) :].strip()} for each in answers.examples],
        "bars": [
            {
                "label": LABELS[name].partition(":")[0],
                "help": LABELS[name],
                "values": [["base", answers.base[name]], ["tuned", value]],
                "share": True,
            }
            for name, value in answers.tuned.items()
        ],
    }


def _preferences(found: PreferencesScored) -> dict[str, Any]:
    share, low, high = (f"{each:.0%}" for each in (found.accuracy, found.low, found.high))
    sentence = (
        f"It prefers the chosen answer in {share} of {found.rows:,} held-out pairs (with 95 % certainty between {low} "
        f"and {high}); guessing would in half of them."
    )
    off = f"{found.calibration_error:.0%}"
    return {
        "sentence": sentence.replace("%", " %").replace("  %", " %"),
        "edges": found.edges,
        "counts": found.counts,
        "calibration": found.calibration,
        "margins_say": "How many pairs have which margin. Those left of 0 are preferred the wrong way round; the "
        "further right, the surer it is.",
        "calibration_says": "On the dashed line it is right as often as it claims; below it, it is too sure, above it "
        f"not sure enough. A larger dot is more pairs; on average it is {off} off.".replace("%", " %"),
    }


def _head(head: dict[str, Any], state: State) -> dict[str, Any]:
    several = state.labels is not None and len(state.labels.heads) > 1
    bars = []
    for name, value in head["metrics"].items():
        label, help = HELP.get(name, (name, ""))
        values = [["constant", head["baseline"].get(name)], ["tuned", value]]
        bars.append({"label": label, "help": help, "values": values, "share": name in SHARES})
    return {
        "name": head["name"] if several else "",
        "sentence": _sentence(head),
        "bars": bars,
        "labels": head["labels"],
        "confusion": head["confusion"],
        "per_label": head["per_label"],
    }


def _sentence(head: dict[str, Any]) -> str:
    """How good a head is, beside the best answer that does not look at the text."""
    metrics, baseline, rows = head["metrics"], head["baseline"], head["rows"]
    if head["kind"] == "number":
        return (
            f"Off by {metrics['mae']:.3g} on average in {rows} held-out rows; "
            f"always saying the mean would be off by {baseline['mae']:.3g}."
        )
    share, constant = f"{metrics['accuracy']:.0%}", f"{baseline['accuracy']:.0%}"
    if head["kind"] == "labels":
        text = f"All labels right in {share} of {rows} held-out rows; always giving the same ones, in {constant}."
    else:
        most = max(head["per_label"], key=lambda each: each["rows"], default={"label": ""})["label"]
        text = f"Right in {share} of {rows} held-out rows; always saying '{most}' would be right in {constant}."
    return text.replace("%", " %")
