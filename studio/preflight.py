"""What can be refused before anything is touched."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from studio.cloud import check_cloud
from studio.config import RunConfig
from studio.data.library import open_source
from studio.errors import ConfigError, DatasetError, RunError
from studio.estimate import NO_ROWS, adapter_bytes, disk_bytes, needs
from studio.methods import methods
from studio.models import machine
from studio.models.catalog import check_name, check_use, structure_of
from studio.models.structure import Structure
from studio.objectives import objectives
from studio.old_data import settle_old
from studio.workspace import Workspace

DISK_NEEDED = 500_000_000  # bytes; log, kept tokens and some air, beside what the run learns


def check(config: RunConfig, workspace: Workspace, *, here: bool = True) -> RunConfig:
    """`config` with its data found, its columns settled and its path absolute. Raises StudioError.

    Unless it trains `here`, nothing is asked of this machine.

    What a run used must be readable from its config later, so the version of the data set, and the
    mapping that was detected or stored with it, are written into it.
    """
    _check_disk(workspace, DISK_NEEDED)
    check_name(config.model)
    check_use(config.model, workspace.models, writes=config.objective.writes)
    opened = open_source(config.dataset.source, workspace, config.dataset.mapping(), config.dataset.version)
    known = type(config.objective).formats
    if known and opened.mapping.format not in known:
        raise DatasetError(
            f"{opened.title} holds '{opened.mapping.format}' data, which this objective cannot learn from.",
            remedy=f"It learns from: {', '.join(known)}. Choose another format in the Dataset tab.",
        )
    config.objective.check(opened)
    _check_rewards(config, workspace)
    _check_vocabulary(config)
    _check_method(config)
    if here:
        config.method.check_machine()
        _check_optimizer(config.training.optim)
        config.trackers.check()
        _check_devices(config.training.num_processes)
    else:
        check_cloud(config)
    if (found := structure_of(config.model, workspace.models, writes=config.objective.writes)) is not None:
        config.method.check(found)
        _check_disk(workspace, DISK_NEEDED + disk_bytes(adapter_bytes(config.method, found), config.training))
        if here:
            _check_memory(config, found)
    _check_split(config, opened.train.columns)
    held_out = config.dataset.validation_share > 0 or opened.validation is not None
    if held_out and opened.validation is None and opened.train.total < 2:
        raise ConfigError(
            "There is only one row, so none can be held out.",
            remedy="Set 'Held-out share' to 0, or bring more rows.",
        )
    source = config.dataset.source
    if opened.path is not None:
        source = str(Path(opened.path).resolve())
    dataset = config.dataset.model_copy(
        update={
            "source": source,
            "version": opened.version,
            "format": opened.mapping.format,
            "columns": dict(opened.mapping.columns),
        }
    )
    config = config.model_copy(update={"dataset": dataset})
    return config.model_copy(update={"old": settle_old(config, workspace)}).settled()


def _check_disk(workspace: Workspace, needed: int) -> None:
    """Raise RunError where less is free. `needed` in bytes."""
    free = shutil.disk_usage(workspace.root).free
    if free < needed:
        raise RunError(
            f"Only {free / 1e6:.0f} MB are free where the workspace is.",
            remedy=f"Free at least {needed / 1e6:.0f} MB (old runs are under 'runs'), or choose another folder with "
            "--workspace.",
        )


def _check_memory(config: RunConfig, structure: Structure) -> None:
    """Raise ConfigError where what is needed whatever the rows does not fit into all there is, whoever else uses it."""
    room = machine.room()
    if (least := needs(config, structure, NO_ROWS, room).total) > room.total:
        where = "GPU has" if room.gpu else "machine has"
        raise ConfigError(
            f"{config.method.title} on this model needs {least / 1e9:.1f} GB even for the shortest row, and this "
            f"{where} {room.total / 1e9:.1f} GB.",
            remedy="Press 'Make it fit' in the Train tab, or choose a smaller model.",
        )


def _check_rewards(config: RunConfig, workspace: Workspace) -> None:
    """Raise ConfigError where the objective lacks rewards, has no use for them, or one of them is not ready."""
    objective, chosen = config.objective, config.rewards
    if not objective.rewarded:
        if chosen:
            learn = ", ".join(cls.title for cls in objectives().values() if cls.rewarded)
            raise ConfigError(
                f"'{objective.title}' learns from examples, so rewards ({', '.join(chosen)}) would serve nothing.",
                remedy=f"Leave them out, or choose one of: {learn}.",
            )
        return
    if not any(reward.weight for reward in chosen.values()):
        raise ConfigError(
            f"'{objective.title}' learns from rewards, and none {'with a weight ' if chosen else ''}is chosen.",
            remedy="Tick one under 'Rewards', such as Length, and give it a weight.",
        )
    for reward in chosen.values():
        reward.check(workspace)
    if config.training.num_processes > 1:  # each would draw answers of its own and learn from these alone
        raise ConfigError(
            f"'{objective.title}' trains on one device.", remedy="Set 'Devices' to 1 under 'More about training'."
        )


def _check_vocabulary(config: RunConfig) -> None:
    """Raise ConfigError where nothing would learn what new tokens mean."""
    if not config.vocabulary.new_tokens:
        return
    if not config.objective.writes:
        raise ConfigError(
            f"'{config.objective.title}' writes no text, so new tokens would serve nothing.",
            remedy="Set 'New tokens' to 0.",
        )
    if not config.method.learns_tokens:
        able = ", ".join(cls.title for cls in methods().values() if cls.learns_tokens)
        raise ConfigError(
            f"{config.method.title} cannot learn the embeddings of new tokens.",
            remedy=f"Set 'New tokens' to 0, or choose one of: {able}.",
        )


def _check_method(config: RunConfig) -> None:
    """Raise ConfigError where the method cannot learn what is asked, or as is asked."""
    if config.method.writes_only and not config.objective.writes:
        raise ConfigError(
            f"{config.method.title} cannot learn on a model that only reads, as '{config.objective.title}' has it.",
            remedy="Choose another method, such as LoRA.",
        )
    if config.training.gradient_checkpointing and not config.method.checkpoints:
        raise ConfigError(
            f"{config.method.title} does not work with gradient checkpointing.", remedy="Switch one of them off."
        )
    if config.method.dtype == "float32" and config.training.dtype in ("bfloat16", "float16"):
        raise ConfigError(
            f"{config.method.title} hardly learns in {config.training.dtype}, where small updates are lost.",
            remedy="Set 'Number format' to auto; a GPU computes in bfloat16 all the same.",
        )


def _check_optimizer(optim: str) -> None:
    if optim.endswith("8bit") and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"The optimizer {optim} needs bitsandbytes, which is not installed on this machine.",
            remedy="Install it with 'pip install bitsandbytes', or choose adamw_torch_fused.",
        )


def _check_devices(wanted: int) -> None:
    """Raise ConfigError where there are fewer."""
    there, kind = (len(machine.devices()), "GPUs") if machine.room().gpu else (os.cpu_count() or 1, "cores")
    if wanted > there:
        raise ConfigError(
            f"{wanted} devices are asked for, and this machine has {there} {kind}.",
            remedy=f"Set 'Devices' to {there} at most.",
        )


def _check_split(config: RunConfig, columns: tuple[str, ...]) -> None:
    """Raise ConfigError for a split that this data set cannot be given."""
    chosen = config.dataset
    if chosen.validation_share + chosen.test_share >= 1:
        raise ConfigError("'Held-out share' and 'Test share' leave no rows to train on.", remedy="Lower one of them.")
    if chosen.split in ("stratified", "grouped") and chosen.split_column not in columns:
        raise ConfigError(
            f"Rows are to be held out by a column, and '{chosen.split_column}' is none of this data set's.",
            remedy=f"Set 'Column to split by' to one of: {', '.join(columns[:12])}.",
        )
