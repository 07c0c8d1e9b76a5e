"""What a run will take, before it starts: memory by formula, steps, time where an earlier run tells, disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from studio.catalog import key_of
from studio.config import RunConfig
from studio.data.guess import tokens_of
from studio.data.library import Opened, open_source
from studio.errors import ConfigError
from studio.estimate import Batch, Needs, adapter_bytes, disk_bytes, needs
from studio.fitting import Fit, make_fit
from studio.models.catalog import structure_of
from studio.models.flow import Flow
from studio.models.machine import Room
from studio.models.structure import Structure
from studio.training.settings import planned_steps
from studio.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

    from studio.store import State


@dataclass(frozen=True)
class Rows:
    """The rows of a run as far as they can be told without a tokenizer."""

    lengths: np.ndarray  # tokens of each before the cut-off, int64
    trained: int  # rows that are not held out
    packed: bool  # joined end to end to blocks of the cut-off
    how: str  # where the lengths come from, to stand behind 'tokens'
    replayed: np.ndarray  # as `lengths`, of old data that may be mixed in
    replays_blocks: bool  # that is joined to blocks as well

    def batch(self, config: RunConfig) -> Batch:
        """The longest rows together, old ones among them."""
        rows, cut_off = config.training.per_device_train_batch_size, config.objective.row_length()
        if self.packed or self.replays_blocks:
            return Batch(rows, rows * cut_off, cut_off)
        lengths = [*self.lengths.tolist(), *self.replayed.tolist()]
        longest = sorted(min(each, cut_off) for each in lengths)[-rows:]
        return Batch(len(longest), sum(longest), max(longest, default=0))

    def tokens(self, config: RunConfig) -> float:
        """Of one pass over what is learnt from, old data left out."""
        return self._mean(self.lengths, config, self.packed) * self.trained

    def count(self, config: RunConfig) -> int:
        """Rows, or blocks, of one pass, and the old ones that are mixed in."""
        cut_off, share = config.objective.max_length, config.old.replay_share
        tokens = self.tokens(config)
        new = max(1, round(tokens / cut_off)) if self.packed else self.trained
        each = cut_off if self.replays_blocks else self._mean(self.replayed, config)
        return new + (round(tokens * share / (1 - share) / each) if each else 0)

    def _mean(self, lengths: np.ndarray, config: RunConfig, whole: bool = False) -> float:
        """Tokens of a row."""
        kept = lengths if whole else lengths.clip(max=config.objective.row_length())
        return float(kept.mean()) if len(kept) else 0.0


@dataclass(frozen=True)
class Plan:
    """What is known of a run beforehand."""

    needs: Needs
    batch: Batch
    room: Room
    how: str
    steps: int
    seconds: float | None  # of training; None where no run of this model and method tells
    disk: int  # bytes of what is kept of it


def look_ahead(config: RunConfig, workspace: Workspace, room: Room, states: Sequence[State] = ()) -> Plan | None:
    """None where the model is not on this machine yet. Raises StudioError for what cannot be planned.

    `states` are earlier runs, the newest first.
    """
    if (structure := structure_of(config.model, workspace.models, writes=config.objective.writes)) is None:
        return None
    rows = rows_of(config, structure, workspace, states)
    batch = rows.batch(config)
    blocks = rows.count(config)
    steps = planned_steps(config.training, blocks)
    return Plan(
        needs=needs(config, structure, batch, room),
        batch=batch,
        room=room,
        how=rows.how,
        steps=steps,
        seconds=_seconds(config, rows, blocks, steps, states),
        disk=disk_bytes(adapter_bytes(config.method, structure), config.training),
    )


def fit(config: RunConfig, workspace: Workspace, room: Room, states: Sequence[State] = ()) -> Fit | None:
    """How it could be made to fit; None where the model is not on this machine yet."""
    if (structure := structure_of(config.model, workspace.models, writes=config.objective.writes)) is None:
        return None
    rows = rows_of(config, structure, workspace, states)

    def total(changed: RunConfig) -> int:
        return needs(changed, structure, rows.batch(changed), room).total

    return make_fit(config, total, None if rows.packed else rows.lengths, room)


def rows_of(config: RunConfig, structure: Structure, workspace: Workspace, states: Sequence[State]) -> Rows:
    """Lengths guessed from characters, or set right by a run that counted the tokens of the same rows."""
    chosen = config.dataset
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    lengths = tokens_of(opened.train.path, opened.mapping, Flow(structure).vocabulary)
    held_out = chosen.test_share + (chosen.validation_share if opened.validation is None else 0)
    replayed, joined = _replayed(config, Flow(structure).vocabulary, workspace)
    found = partial(
        Rows,
        trained=round(len(lengths) * (1 - held_out)),
        packed=config.objective.packs(opened.mapping),
        replayed=replayed,
        replays_blocks=joined,
    )
    if len(lengths) and (mean := _counted(config, opened, states)):
        return found((lengths * (mean / lengths.mean())).round().astype("int64"), how="as an earlier run counted them")
    return found(lengths, how="guessed from their characters")


def _replayed(config: RunConfig, vocabulary: int, workspace: Workspace) -> tuple[np.ndarray, bool]:
    """(Guessed tokens of each row of the old data, whether those are joined to blocks); none where none is replayed."""
    import numpy as np

    old = config.old
    if not (old.source.strip() and old.replay_share):
        return np.zeros(0, dtype=np.int64), False
    opened = open_source(old.source, workspace, old.mapping(), old.version)
    return tokens_of(opened.train.path, opened.mapping, vocabulary), config.objective.packs(opened.mapping)


def _counted(config: RunConfig, opened: Opened, states: Sequence[State]) -> float | None:
    """Tokens a row, from a run that read the same rows in the same way with the same model and cut none off."""
    if config.objective.packs(opened.mapping):
        return None
    for state in _alike(config, states):
        data, source = state.data, state.config.get("dataset", {})
        same = source.get("version") == opened.version
        same = same and source.get("source") in (config.dataset.source, str(opened.path))
        same = same and not state.config.get("old", {}).get("replay_share")  # its count holds old rows, too
        if same and data and data.train_rows and not data.truncated_rows and not data.skipped_rows:
            return data.tokens / data.train_rows
    return None


def _seconds(config: RunConfig, rows: Rows, blocks: int, steps: int, states: Sequence[State]) -> float | None:
    """By the pace of the last run with the same model, objective and method that took a few steps.

    That is its tokens a second; of what learns from its own answers, the time of a step by what a step may write.
    """
    training = config.training
    tokens = rows.tokens(config) / (1 - config.old.replay_share) / max(blocks, 1) * steps
    tokens *= training.per_device_train_batch_size * training.gradient_accumulation_steps * training.num_processes
    for state in _alike(config, states):
        same = state.config.get("method", {}).get("name") == config.method_name
        if not (same and state.step >= 3 and state.seconds > 0 and state.tokens):
            continue
        if config.objective.drawn():
            with suppress(ConfigError):  # of an older studio
                return steps * _drawn(config) * state.seconds / (state.step * _drawn(RunConfig.parse(state.config)))
            continue
        return tokens * state.seconds / state.tokens
    return None


def _drawn(config: RunConfig) -> int:
    """Tokens that a step writes at most."""
    training = config.training
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.num_processes
    return rows * config.objective.drawn()


def _alike(config: RunConfig, states: Sequence[State]) -> Iterator[State]:
    """Runs of the same model and objective: another objective makes other tokens of rows, at another pace."""
    objective = key_of(config.objective)
    for state in states:
        if state.config.get("model") == config.model and state.config.get("objective", {}).get("name") == objective:
            yield state
