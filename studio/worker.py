"""`python -m studio.worker RUN`: the process of one run; `studio.job` is what it does.

Without RUN the worker imports what every run needs, then waits for a run's folder on stdin; the end
of stdin while it waits means that nobody is left to give it work, and it leaves.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from studio.config import RunConfig
from studio.distributed import Silent, die_with_launcher, end_others, follow, launch, rank, ranks, wanted
from studio.errors import Diverged, StudioError, explain, ran_out_of_memory
from studio.events import Done, Failed, Paused, Stopped
from studio.job import AnewInSmaller, Job
from studio.launch import claim_run
from studio.models import machine
from studio.preparation import Rest, StopAsked
from studio.processes import bound, go_first, memory_limit, own_devices
from studio.redaction import print_fault
from studio.workspace import RunFolder, Workspace


def execute(folder: RunFolder, workspace: Workspace) -> None:
    """Run `folder` to its end; whatever happens, the last event says so.

    Raises AnewInSmaller where that was not its end.
    """
    own = claim_run(folder)
    if own is None:
        return
    job = None
    try:
        job = Job(folder, workspace)
        with device(job, workspace):
            job.run()
        folder.events.append(Done())
    except StopAsked:
        folder.events.append(Stopped(step=job.step if job else 0))
    except Rest as rest:
        folder.events.append(Paused(step=job.step if job else 0, reason=str(rest)))
    except AnewInSmaller:
        own.release()
        raise
    except BaseException as error:
        print_fault()  # stderr is the run's log
        said: StudioError = explain(error)
        if ranks() > 1 and isinstance(folder.events.read_from()[0][-1], Failed):
            return  # another rank has told already why this one was left alone
        with suppress(OSError):  # a full disk takes no last word either; the store then says so
            folder.events.append(Failed(problem=said.problem, remedy=said.remedy))


def accompany(folder: RunFolder, workspace: Workspace) -> None:
    """Train along with rank 0, and tell only what that one cannot know. Raises what this rank failed of."""
    log, folder.events = folder.events, Silent(folder.events.path)
    follow(folder)
    try:
        Job(folder, workspace).run()
    except Diverged:
        return  # all see the same numbers
    except BaseException as error:
        if isinstance(error, StudioError) or ran_out_of_memory(error):
            said = explain(error)
            log.append(Failed(problem=said.problem, remedy=said.remedy))
        raise


@contextmanager
def device(job: Job, workspace: Workspace) -> Iterator[None]:
    """The right to train on this machine: two runs at once on one device cost ten times one."""
    with ExitStack() as held:
        for each in sorted(own_devices()):  # in one order for all, or two runs could wait for one another
            lock = filelock.FileLock(str(workspace.device_lock(each)))
            while not lock.is_locked:
                try:
                    held.enter_context(lock.acquire(timeout=0.2))
                except filelock.Timeout:
                    job.progress("Waiting for another run, or a benchmark")
        yield


def warm_up() -> None:
    """Import what every run needs. Seconds that nobody has to wait for after a click."""
    import transformers.models.auto.modeling_auto
    import transformers.models.qwen2.modeling_qwen2
    import transformers.models.qwen3.modeling_qwen3  # noqa: F401 - tiny_model imports Llama

    import studio.data.library
    import studio.evaluation.answers
    import studio.models.base
    import studio.models.generate
    import studio.models.vocabulary
    import studio.training.callbacks
    import studio.training.classifying
    import studio.training.supervised  # noqa: F401
    from studio.models.tiny import tiny_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        RunConfig().method.attach(tiny_model())  # peft imports what a method needs once it is attached

    gc.freeze()


def together(folder: RunFolder, workspace: Workspace) -> None:
    """Be one of the processes that train a run."""
    import torch

    die_with_launcher()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if rank():
        accompany(folder, workspace)
        return
    try:
        execute(folder, workspace)
    finally:
        end_others()


def main() -> None:
    """See the module's text."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if hasattr(os, "nice") and ranks() == 1:  # others inherit it
        os.nice(max(0, 10 - os.nice(0)))  # training takes what is left over; the page stays quick beside it
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        warm_up()
        path = os.fsdecode(sys.stdin.buffer.readline().rstrip(b"\n"))  # as the parent wrote it, in any locale
    if not path:
        return
    folder = RunFolder(Path(path))
    go_first()
    if limit := memory_limit():
        bound(limit)
    log = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    workspace, processes = Workspace(folder.path.parents[1]), wanted(folder)
    if ranks() > 1:
        together(folder, workspace)
        return
    if processes > 1:
        launch(folder, processes, gpu=machine.room().gpu)
    try:
        execute(folder, workspace)
    except AnewInSmaller:
        # The same process to whoever watches it, with all of its memory given back.
        os.execv(sys.executable, [sys.executable, "-m", "studio.worker", os.fspath(folder.path)])  # noqa: S606


if __name__ == "__main__":
    main()
