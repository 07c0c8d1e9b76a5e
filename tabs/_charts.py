"""Which curves share a chart. A chart appears when the metrics it is made for do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from studio.penalties import penalties

COLOURS = ("--live-a", "--live-b", "--live-c", "--live-d")  # of the style sheet
FRACTION = (0.0, 1.02)  # the axis of what lies between 0 and 1


@dataclass(frozen=True)
class Line:
    """One curve, or with a group in `metric` one for each metric that matches it."""

    metric: str  # a regular expression for the whole name
    name: str  # {} is what the group matched
    colour: str = ""  # empty: the next one
    width: float = 2.0
    opacity: float = 1.0
    smooth: bool = False  # the exponential moving average of the values
    dots: bool = False  # few points, far apart


@dataclass(frozen=True)
class Chart:
    """Curves over the same axes. It is shown where its first line has values, or `always`."""

    key: str
    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    wide: bool = False
    always: bool = False
    legend: bool = False  # even for a single line
    bounds: tuple[float, float] | None = None
    about: str = ""  # what it shows, in a sentence


def _tasks(key: str, title: str, metric: str, *, unit: str = "", share: bool = False, dots: bool = True) -> Chart:
    """A line for each task's own `metric`."""
    bounds = FRACTION if share else None
    return Chart(key, title, (Line(f"{metric}_(.+)", "{}", dots=dots),), unit=unit, bounds=bounds, legend=True)


CHARTS = (
    Chart(
        "loss",
        "Loss",
        (
            Line("loss", "train, each step", "--live-a", width=1, opacity=0.35),
            Line("loss", "train, smoothed", "--live-a", width=2.5, smooth=True),
            Line("eval_loss", "held-out (step 0: before training)", "--live-b", width=2.5, dots=True),
        ),
        unit="nats",
        wide=True,
        always=True,
        about="What training minimises. Rows held out are never learnt from: where their loss rises again, the others "
        "are being learnt by heart.",
    ),
    Chart(
        "reward",
        "Reward",
        (
            Line("reward", "drawn answers, each step", "--live-a", width=1, opacity=0.35),
            Line("reward", "drawn answers, smoothed", "--live-a", width=2.5, smooth=True),
            Line("eval_reward", "held-out prompts (step 0: before training)", "--live-b", width=2.5, dots=True),
        ),
        about="What the rewards give an answer on average, after weights. Held-out prompts get their likeliest answer.",
    ),
    Chart(
        "rewards",
        "Each reward",
        (Line("reward_(?!margin|accuracy)(.+)", "{}", width=1.5),),
        legend=True,
        about="What each reward gives before its weight: whether one of them rises at the cost of another.",
    ),
    Chart(
        "kl",
        "Drift from the start",
        (Line("kl", "KL, nats an answer", width=1.5), Line("eval_kl", "held-out", dots=True)),
        unit="nats an answer",
        about="How far answers have moved from what the model said before training. Steady and low is safe; a climb "
        "without more reward asks for a higher KL coefficient.",
    ),
    Chart(
        "margins",
        "Margin of rewards",
        (
            Line("reward_margin", "train", "--live-a", width=1.5),
            Line("eval_reward_margin", "held-out", "--live-b", width=2.5, dots=True),
        ),
        about="By how much chosen answers are rewarded above rejected ones. In DPO and KTO a reward is beta times what "
        "an answer's log-probability has gained. Held-out margins that fall while others rise: pairs learnt by heart.",
    ),
    Chart(
        "preferred",
        "Right preferences",
        (
            Line("reward_accuracy", "train", "--live-a", width=1.5),
            Line("eval_reward_accuracy", "held-out", "--live-b", width=2.5, dots=True),
        ),
        bounds=FRACTION,
        about="The share of pairs whose chosen answer is rewarded more, or of single answers rewarded as they were "
        "judged; 0.5 is guessing.",
    ),
    Chart(
        "judged-rewards",
        "Rewards of the data's answers",
        (
            Line("rewards_chosen", "chosen or good", "--live-b", width=1.5),
            Line("rewards_rejected", "rejected or bad", "--live-c", width=1.5),
            Line("eval_rewards_chosen", "held-out chosen or good", "--live-b", dots=True),
            Line("eval_rewards_rejected", "held-out rejected or bad", "--live-c", dots=True),
        ),
        about="The two should part. Where both fall, chosen answers become unlikely too: add imitation, or raise beta.",
    ),
    Chart(
        "logps",
        "Log-probability of the data's answers",
        (
            Line("logps_chosen", "chosen or good", "--live-b", width=1.5),
            Line("logps_rejected", "rejected or bad", "--live-c", width=1.5),
            Line("eval_logps_chosen", "held-out chosen or good", "--live-b", dots=True),
            Line("eval_logps_rejected", "held-out rejected or bad", "--live-c", dots=True),
        ),
        unit="nats an answer",
        about="How likely the model finds each answer as a whole; longer ones lie lower.",
    ),
    Chart(
        "entropy",
        "Entropy",
        (Line("entropy", "nats a token", width=1.5),),
        unit="nats a token",
        about="How many ways the model still sees to go on. Near 0 it says one thing only: the policy has collapsed.",
    ),
    Chart(
        "clip",
        "Clipped tokens",
        (Line("clip_fraction", "share of tokens", width=1.5),),
        about="The share of tokens whose gain was cut because they moved too far in one step. Up to 0.2 is usual; more "
        "asks for a lower learning rate or fewer passes.",
    ),
    Chart(
        "policy-loss",
        "Losses of policy and critic",
        (Line("policy_loss", "policy", width=1.5), Line("value_loss", "critic", width=1.5)),
        about="The policy's loss swings around 0 and says little; the critic's should fall.",
    ),
    Chart(
        "explained",
        "What the critic explains",
        (Line("explained_variance", "explained variance", width=1.5),),
        about="1: the critic foresees each answer's reward; 0: it knows no more than the mean; below 0 it misleads.",
    ),
    Chart(
        "update-kl",
        "Move of an update",
        (Line("update_kl", "KL, nats a token", width=1.5),),
        about="How far the passes over one batch of answers move their tokens; 'End passes at' bounds it.",
    ),
    Chart(
        "answers",
        "Length of answers",
        (
            Line("answer_tokens", "drawn", "--live-a", width=1.5),
            Line("eval_answer_tokens", "held-out", "--live-b", dots=True),
        ),
        unit="tokens",
        about="A reward that can be had by writing more shows here first.",
    ),
    Chart(
        "ended",
        "Answers that end by themselves",
        (Line("ended", "share", width=1.5),),
        bounds=FRACTION,
        about="The others were cut at the longest answer. 'Penalty for no end' makes them dear.",
    ),
    Chart(
        "kl-coef",
        "KL coefficient",
        (Line("kl_coef", "coefficient", width=1.5),),
        about="What a nat of drift costs; it moves where a KL target was set.",
    ),
    Chart(
        "forgetting",
        "Learning and forgetting",
        (
            Line("eval_old_loss", "old data", "--live-c", dots=True),
            Line("eval_loss", "new data", "--live-b", dots=True),
        ),
        unit="held-out loss, nats",
        about="Old data that rises while new data falls is what the model forgets.",
    ),
    Chart(
        "labels",
        "Held-out labels",
        (
            Line("eval_accuracy", "accuracy", dots=True),
            Line("eval_f1", "F1", dots=True),
            Line("eval_precision", "precision", dots=True),
            Line("eval_recall", "recall", dots=True),
        ),
        bounds=FRACTION,
        about="Accuracy counts rows, F1 counts each label alike: rare ones that are missed pull F1 down alone.",
    ),
    Chart(
        "errors",
        "Held-out numbers: how far off",
        (Line("eval_mae", "mean absolute error", dots=True), Line("eval_rmse", "root mean square error", dots=True)),
        about="In the numbers' own unit; the second counts great errors more.",
    ),
    Chart(
        "r2",
        "Held-out numbers: R²",
        (Line("eval_r2", "R²", dots=True),),
        about="1 is perfect, 0 no better than always saying the mean.",
    ),
    _tasks("task-loss", "Train loss of each task", "loss", unit="nats", dots=False),
    _tasks("task-eval-loss", "Held-out loss of each task", "eval_loss", unit="nats"),
    _tasks("task-accuracy", "Held-out accuracy of each task", "eval_accuracy", share=True),
    _tasks("task-f1", "Held-out F1 of each task", "eval_f1", share=True),
    _tasks("task-errors", "Held-out error of each task", "eval_mae", unit="mean absolute"),
    _tasks("task-r2", "Held-out R² of each task", "eval_r2"),
    Chart(
        "parts",
        "Added to the loss",
        (Line(f"({'|'.join([*penalties(), 'orthogonality'])})", "{}"),),
        legend=True,
        about="What penalties and methods add to the loss of the data.",
    ),
    Chart(
        "rank",
        "Average rank",
        (Line("average_rank", "average rank"),),
        about="Of the low-rank updates, as AdaLoRA prunes them.",
    ),
    Chart(
        "lr",
        "Learning rate",
        (Line("learning_rate", "learning rate"),),
        always=True,
        about="The size of updates, as the schedule has it.",
    ),
    Chart(
        "grad",
        "Gradient norm",
        (Line("grad_norm", "gradient norm", width=1.5),),
        always=True,
        about="How steep the loss is, before clipping. A sudden climb goes before a loss that jumps.",
    ),
    Chart(
        "speed",
        "Speed",
        (Line("tokens_per_second", "tokens/s", width=1.5),),
        unit="tokens/s",
        always=True,
        about="Real tokens a second; padding is not counted.",
    ),
    Chart(
        "memory",
        "Memory",
        (Line("memory", "GB", width=1.5),),
        unit="GB",
        always=True,
        about="What the run holds: on the GPU where there is one, else in main memory.",
    ),
)
UNDRAWN = re.compile(r"(?s)eval_(.+_)?(perplexity|precision|recall|rmse)(_.+)?")  # said by another curve already


def charts(metrics: Iterable[str]) -> list[dict[str, Any]]:
    """The charts for curves of these names, as the page's script draws them.

    A metric that no chart is made for gets one of its own.
    """
    names = list(metrics)
    found = [drawn for chart in CHARTS if (drawn := _drawn(chart, names))]
    known = {line["metric"] for chart in found for line in chart["lines"]}
    rest = [name for name in names if name not in known and not UNDRAWN.fullmatch(name)]
    return [*found, *(_alone(name) for name in rest)]


def _drawn(chart: Chart, names: list[str]) -> dict[str, Any] | None:
    lines: list[dict[str, Any]] = []
    for place, line in enumerate(chart.lines):
        matches = [match for name in names if (match := re.fullmatch(line.metric, name, re.DOTALL))]
        if chart.always and not matches:
            lines.append(_line(line, line.metric, line.name, len(lines)))  # its place in the legend is kept
        elif place == 0 and not matches:
            return None
        for match in matches:
            title = line.name.replace("{}", match[1]) if match.groups() else line.name
            lines.append(_line(line, match[0], title, len(lines)))
    return {**asdict(chart), "lines": lines}


def _line(line: Line, metric: str, name: str, place: int) -> dict[str, Any]:
    colour = line.colour or COLOURS[place % len(COLOURS)]
    return {**asdict(line), "metric": metric, "name": name, "colour": colour}


def _alone(name: str) -> dict[str, Any]:
    title = re.sub(r"^eval_", "held-out ", name).replace("_", " ")
    chart = Chart(f"other-{name}", title[:1].upper() + title[1:], (Line(re.escape(name), title, dots="eval_" in name),))
    return _drawn(chart, [name]) or {}
