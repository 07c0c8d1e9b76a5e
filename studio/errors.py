"""What can go wrong, said so that a person can act on it."""

from __future__ import annotations

import errno

from studio.redaction import redacted


class StudioError(Exception):
    """Something a person can mend: `problem` says what is wrong and where, `remedy` what to do."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class ConfigError(StudioError, ValueError):
    """A setting, or a combination of settings, that cannot run.

    Also a ValueError, so that pydantic carries it out of a validator.
    """


class DatasetError(StudioError):
    """A file or its columns cannot be used for training."""


class ModelError(StudioError):
    """A model cannot be found, fetched, trusted or loaded."""


class RunError(StudioError):
    """A run cannot be started, found or continued."""


class RewardError(StudioError):
    """A reward cannot score the answers it is given."""


class Diverged(RunError):
    """Training has left the numbers: a loss or a gradient is none any more, or grew out of all bounds."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says; torch has a kind of its own for GPUs only."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def fills_disk(error: BaseException) -> bool:
    """Whether that is what an exception says; safetensors passes the system's word on as text."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(f"(os error {number})" in str(error) for number in full)


def explain(error: BaseException) -> StudioError:
    """The StudioError for any exception. The traceback itself belongs in the run's log."""
    if isinstance(error, StudioError):
        return error
    if fills_disk(error):
        return RunError(
            "The disk is full.",
            remedy="Free some space (old runs are under 'runs' in the workspace) and start again.",
        )
    if isinstance(error, PermissionError):
        return RunError(
            f"{error.filename or 'A file'} cannot be read or written: permission denied.",
            remedy="Change its permissions, or choose another folder with --workspace.",
        )
    if getattr(error, "errno", None) == errno.EROFS:
        return RunError(
            f"{getattr(error, 'filename', None) or 'A file'} cannot be written: its disk is read-only.",
            remedy="Make it writable, or choose another folder with --workspace.",
        )
    if ran_out_of_memory(error):
        return RunError(
            "The machine ran out of memory.",
            remedy="Lower 'Batch size' (raise 'Gradient accumulation' to make up for it) "
            "or 'Cut-off length', or choose a smaller model.",
        )
    detail = str(error).strip().splitlines()
    shown = f"{type(error).__name__}: {redacted(detail[0])[:300]}" if detail else type(error).__name__
    return RunError(
        f"Something unexpected went wrong ({shown}).",
        remedy="The run's worker.log has the details; please report it with that file.",
    )
