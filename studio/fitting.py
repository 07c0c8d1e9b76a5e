"""How a run could be made to fit: changes to its config in order of least harm, each with what it saves and costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.config import RunConfig
from studio.errors import StudioError
from studio.estimate import USABLE
from studio.models.machine import Room

if TYPE_CHECKING:
    import numpy as np

HELD = 0.95  # share of the rows that stay whole where the cut-off is lowered
_ROUND = 16  # a cut-off is a multiple of it
_LEAST_RANK = 4
_WORTH = 0.01  # of the total: a change that saves less is no help


@dataclass(frozen=True)
class Change:
    """One step, and the config once it and those before it are taken."""

    what: str
    saves: int  # bytes
    costs: str
    config: RunConfig


@dataclass(frozen=True)
class Fit:
    """The steps, as many as are needed; `fits`: they are enough."""

    changes: list[Change]
    fits: bool
    total: int  # bytes that are needed then


Proposals = Iterator[tuple[str, str, RunConfig]]  # (what, what it costs, the config then), the mildest first
Way = Callable[[RunConfig], Proposals]


def make_fit(config: RunConfig, total: Callable[[RunConfig], int], lengths: np.ndarray | None, room: Room) -> Fit:
    """Steps until `total` bytes of the config are within what is usable of `room`.

    `lengths` are the tokens of each row before the cut-off; None where rows are joined to blocks. `total` may raise
    StudioError for a config that cannot be; it is passed over then.
    """
    wanted = USABLE * room.free
    ways: list[Way] = [_smaller_batches, _checkpoints, _cut_off(lengths), _leaner(room), _lower_rank]
    needed, steps = _walk(config, total, ways, wanted)
    for way in [way for way, _ in reversed(steps)]:  # a later step may have made an earlier one needless
        then, fewer = _walk(config, total, [each for each, _ in steps if each is not way], wanted)
        if then <= wanted:
            needed, steps = then, fewer
    return Fit([change for _, change in steps], needed <= room.free, needed)


def _walk(
    config: RunConfig, total: Callable[[RunConfig], int], ways: list[Way], wanted: float
) -> tuple[int, list[tuple[Way, Change]]]:
    """(bytes needed then, the steps with their ways), one for each way that helps, until `wanted` is reached."""
    steps: list[tuple[Way, Change]] = []
    needed = total(config)
    for way in ways:
        if needed <= wanted:
            break
        # The mildest proposal that is enough, else the strongest.
        best: Change | None = None
        for what, costs, changed in _possible(way(config)):
            try:
                then = total(changed)
            except StudioError:
                continue
            if needed - then > _WORTH * needed:
                best = Change(what, needed - then, costs, changed)
            if then <= wanted:
                break
        if best is not None:
            steps.append((way, best))
            config, needed = best.config, needed - best.saves
    return needed, steps


def _possible(proposals: Proposals) -> Proposals:
    """Up to the first that lies beyond a setting's bound: those after it lie further."""
    with suppress(StudioError):
        yield from proposals


def _smaller_batches(config: RunConfig) -> Proposals:
    """Each update sees the same rows: what batches lose, accumulation gains."""
    training = config.training
    rows, sums = training.per_device_train_batch_size, training.gradient_accumulation_steps
    for fewer in (each for each in range(rows - 1, 0, -1) if rows % each == 0):
        changed = _trained(config, per_device_train_batch_size=fewer, gradient_accumulation_steps=sums * rows // fewer)
        what = f"Batches of {fewer} instead of {rows}, summed {sums * rows // fewer} at a time"
        yield what, "Nothing is learnt differently; very small batches take a little longer.", changed


def _checkpoints(config: RunConfig) -> Proposals:
    if config.method.checkpoints and not config.training.gradient_checkpointing:
        changed = _trained(config, gradient_checkpointing=True)
        yield "Gradient checkpointing", "Nothing is learnt differently; a step takes about a third longer.", changed


def _cut_off(lengths: np.ndarray | None) -> Way:
    def propose(config: RunConfig) -> Proposals:
        if lengths is None or not len(lengths):
            return
        before: int = config.objective.max_length
        place = min(len(lengths) - 1, int(HELD * len(lengths)))
        length = max(_ROUND, -(-int(sorted(lengths.tolist())[place]) // _ROUND) * _ROUND)
        if length >= before:
            return
        cut = int((lengths > length).sum())
        objective = type(config.objective).parse({**config.objective.model_dump(mode="json"), "max_length": length})
        changed = config.model_copy(update={"objective": objective})
        yield (
            f"Cut-off at {length:,} tokens instead of {before:,}",
            f"About {cut:,} of {len(lengths):,} rows lose their end.",
            changed,
        )

    return propose


def _leaner(room: Room) -> Way:
    def propose(config: RunConfig) -> Proposals:
        from studio.methods import methods

        if name := config.method.leaner(gpu=room.gpu):
            cls = methods()[name]
            same = {
                key: value for key, value in config.method.model_dump(mode="json").items() if key in cls.model_fields
            }
            # A rate that was chosen suits the method it was chosen for.
            changed = _trained(config, learning_rate=None) if config.method.in_place else config
            changed = changed.model_copy(update={"method": cls.parse(same)})
            yield f"{cls.title} instead of {config.method.title}", cls.cost, changed

    return propose


def _lower_rank(config: RunConfig) -> Proposals:
    """Alpha goes with the rank, so that the adapter speaks as loudly."""
    values: dict[str, Any] = config.method.model_dump(mode="json")
    rank = before = values.get("r")
    while isinstance(rank, int) and isinstance(before, int) and rank // 2 >= _LEAST_RANK:
        rank //= 2
        values["r"] = rank
        if isinstance(values.get("lora_alpha"), int | float):
            values["lora_alpha"] /= 2
        yield (
            f"Rank {rank} instead of {before}",
            "Less can be learnt.",
            config.model_copy(update={"method": type(config.method).parse(values)}),
        )


def _trained(config: RunConfig, **changes: Any) -> RunConfig:
    training = type(config.training).parse({**config.training.model_dump(mode="json"), **changes})
    return config.model_copy(update={"training": training})
