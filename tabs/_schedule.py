"""The learning rate over a run, as a picture before it starts."""

from __future__ import annotations

from studio.training.schedules import part
from studio.training.settings import TrainingSettings
from tabs._shared import escaped

WIDTH, HEIGHT, TOP, BOTTOM = 400, 110, 20, 88  # of the picture; its curve lies between the last two, from the top
POINTS = 200  # more than anyone tells apart


def picture(training: TrainingSettings, steps: int) -> str:
    """SVG of the learning rate over `steps` updates. `training` is a settled config's: it has a rate."""
    rate = training.learning_rate
    factor, rising = training.schedule(steps), min(steps, part(training.warmup_steps, steps))
    shown = range(steps) if steps <= POINTS else [round(at * (steps - 1) / (POINTS - 1)) for at in range(POINTS)]
    line = " ".join(f"{_x(update, steps):.1f},{_y(factor(update)):.1f}" for update in shown)
    shape = training.lr_scheduler_type.replace("_", " ")
    warmup = f"warm-up {rising:,} {'step' if rising == 1 else 'steps'}" if rising else "no warm-up"
    total = f"{steps:,} {'step' if steps == 1 else 'steps'}"
    said = escaped(f"Learning rate: {shape}, at most {rate:g}, {warmup}, {total}")
    end = _x(rising, steps)
    # The word of the warm-up stands where there is more room.
    anchor, place = ("start", end + 4) if end < WIDTH / 2 else ("end", end - 4)
    mark = f'<path class="rise" d="M{end:.1f} {TOP}V{BOTTOM}"/>' if rising else ""
    return (
        f'<figure class="schedule"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">'
        f'<path class="ground" d="M0 {BOTTOM}H{WIDTH}"/>{mark}<polyline points="{line}"/>'
        f'<text x="0" y="12">learning rate, at most {rate:g}</text>'
        f'<text x="{WIDTH}" y="12" text-anchor="end">{escaped(shape)}</text>'
        f'<text x="{place:.1f}" y="{BOTTOM - 5}" text-anchor="{anchor}">{warmup}</text>'
        f'<text x="0" y="{HEIGHT - 6}">step 1</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{total}</text></svg></figure>'
    )


def _x(update: int, steps: int) -> float:
    return WIDTH * update / max(1, steps - 1)


def _y(factor: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * factor
