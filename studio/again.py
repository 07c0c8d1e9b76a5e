"""Running a run again: the same config on the same rows, or the reason why that cannot be."""

from __future__ import annotations

from studio.config import RunConfig
from studio.data.library import Opened, divided, open_source
from studio.errors import DatasetError
from studio.store import State
from studio.workspace import Workspace

COPY = "Press 'Copy with changes' to train on the rows as they are now."


def again(state: State, workspace: Workspace) -> RunConfig:
    """What to submit so that the run comes again, in no comparison.

    Raises StudioError where its data set or its version is gone, or its rows are others than those it read; reads all
    of them to tell.
    """
    config = RunConfig.parse({**state.config, "comparison": ""})
    chosen = config.dataset
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    if not same_rows(state, config, opened):
        raise DatasetError(f"The rows of {opened.title} are others than those this run read.", remedy=COPY)
    return config


def same_rows(state: State, config: RunConfig, opened: Opened) -> bool:
    """Whether `opened` holds what the run read; true where it ended before its log could tell."""
    if state.made is None and state.data is None:
        return True
    chosen = config.dataset
    shares = (chosen.validation_share, chosen.test_share)
    sides = divided(opened, shares, config.seed, chosen.split, chosen.split_column)
    if state.made is None:  # a run of an older studio tells those it trained on
        return state.data is None or sides.train.fingerprint == state.data.fingerprint
    held_out = sides.validation.fingerprint if sides.validation else ""
    return (sides.read.fingerprint, held_out) == (state.made.rows, state.made.held_out)
