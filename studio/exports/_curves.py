"""A run's curves as a picture that shows on light and dark pages alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.store import Point, thin

WIDE, HIGH = 720, 360  # of the picture, in its own units
_LEFT, _RIGHT, _TOP, _BASE = 64, 700, 44, 312  # of the axes
_INK, _GRID = "#7d8590", "#7d859055"  # readable on white and on black
_MOST_POINTS = 400  # of a curve
_PAIRS = (("reward", "eval_reward", "Reward"), ("loss", "eval_loss", "Loss"))  # the first that there is
_COLOURS = ("#4c8bf5", "#e8710a")
_TICKS = 5  # about so many along an axis

Line = tuple[list[int], list[float]]  # steps, values


def drawing(points: Sequence[Point]) -> str:
    """An SVG of the loss, or the reward, of each step and of the rows held out; '' where there are no steps."""
    for train, held_out, title in _PAIRS:
        lines = {"training": _line(points, train), "held-out rows": _line(points, held_out)}
        if lines["training"][0]:
            return _svg({name: line for name, line in lines.items() if line[0]}, title)
    return ""


def _line(points: Sequence[Point], metric: str) -> Line:
    found = [(point.step, point.metrics[metric]) for point in points if metric in point.metrics]
    xs, ys = [step for step, _ in found], [value for _, value in found]
    kept, _ = thin(list(range(len(ys))), ys, _MOST_POINTS)
    return [xs[at] for at in kept], [ys[at] for at in kept]


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / _TICKS))
    step = next(power * each for each in (1, 2, 5, 10) if span / (power * each) <= _TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round((first + at) * step, 12) for at in range(math.floor((high - low) / step + 1e-9) + 1)]


def _svg(lines: dict[str, Line], title: str) -> str:
    values = [value for _, ys in lines.values() for value in ys]
    low, high = min(0.0, *values) if min(values) < 0.3 * max(values) else min(values), max(values)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    last = max(step for xs, _ in lines.values() for step in xs) or 1

    def x(step: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * step / last, 1)

    def y(value: float) -> float:
        return round(_BASE - (_BASE - _TOP) * (value - low) / (high - low), 1)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{title} by step" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{title} by step</title>",
    ]
    for value in ticks(low, high):
        drawn.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y(value)}" y2="{y(value)}" stroke="{_GRID}"/>')
        drawn.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:.4g}</text>')
    for step in ticks(0, last):
        if step == int(step):
            drawn.append(f'<text x="{x(step)}" y="{_BASE + 18}" text-anchor="middle">{step:,.0f}</text>')
    drawn.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{_BASE}" y2="{_BASE}" stroke="{_INK}"/>')
    drawn.append(f'<text x="{(_LEFT + _RIGHT) / 2:.0f}" y="{HIGH - 10}" text-anchor="middle">step</text>')
    for at, (name, (xs, ys)) in enumerate(lines.items()):
        colour = _COLOURS[at]
        path = " ".join(f"{x(step)},{y(value)}" for step, value in zip(xs, ys, strict=True))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(xs) <= _TICKS * 6:
            drawn += [
                f'<circle cx="{x(step)}" cy="{y(value)}" r="3" fill="{colour}"/>'
                for step, value in zip(xs, ys, strict=True)
            ]
        drawn.append(f'<rect x="{_LEFT + 190 * at}" y="18" width="14" height="4" fill="{colour}"/>')
        drawn.append(f'<text x="{_LEFT + 190 * at + 20}" y="24">{title}, {name}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"
