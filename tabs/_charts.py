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
    ),
    Chart(
        "forgetting",
        "Learning and forgetting",
        (
            Line("eval_old_loss", "old data", "--live-c", dots=True),
            Line("eval_loss", "new data", "--live-b", dots=True),
        ),
        unit="held-out loss, nats",
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
    ),
    Chart(
        "errors",
        "Held-out numbers: how far off",
        (Line("eval_mae", "mean absolute error", dots=True), Line("eval_rmse", "root mean square error", dots=True)),
    ),
    Chart("r2", "Held-out numbers: R²", (Line("eval_r2", "R²", dots=True),)),
    _tasks("task-loss", "Train loss of each task", "loss", unit="nats", dots=False),
    _tasks("task-eval-loss", "Held-out loss of each task", "eval_loss", unit="nats"),
    _tasks("task-accuracy", "Held-out accuracy of each task", "eval_accuracy", share=True),
    _tasks("task-f1", "Held-out F1 of each task", "eval_f1", share=True),
    _tasks("task-errors", "Held-out error of each task", "eval_mae", unit="mean absolute"),
    _tasks("task-r2", "Held-out R² of each task", "eval_r2"),
    Chart("parts", "Added to the loss", (Line(f"({'|'.join([*penalties(), 'orthogonality'])})", "{}"),), legend=True),
    Chart("rank", "Average rank", (Line("average_rank", "average rank"),)),
    Chart("lr", "Learning rate", (Line("learning_rate", "learning rate"),), always=True),
    Chart("grad", "Gradient norm", (Line("grad_norm", "gradient norm", width=1.5),), always=True),
    Chart("speed", "Speed", (Line("tokens_per_second", "tokens/s", width=1.5),), unit="tokens/s", always=True),
    Chart("memory", "Memory", (Line("memory", "GB", width=1.5),), unit="GB", always=True),
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
