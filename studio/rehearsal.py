"""A run rehearsed before it is begun: a few of its own steps, in a process that may run out of memory.

A `Rehearser` asks `python -m studio.stage` with {"folder", "workspace", "limit", "rows"}; the replies are
{"doing", "done", "total"} and {"rehearsal"}, or with "rows" {"tokens"} and {"trial"}. Nothing of it is kept.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock

from studio.child import Child, Died, Part, Progress
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.models.machine import free_memory
from studio.pace import Found, Span, Trial, end_of_sizes, largest, settled, sizes_for
from studio.preflight import check
from studio.processes import own_device
from studio.workspace import RunFolder, Workspace

REHEARSED = 0.95  # share of the free memory that a rehearsal may take: what it shows is what a run would do
FILLED = 0.8  # the same where the batch is chosen to suit the machine: some of it is left to others

_STARTING = Progress("Starting", 0, 0)
_DIED = (
    "The process that rehearsed the run was ended, most likely because the machine ran out of memory.",
    "Lower 'Batch size' or 'Cut-off length'; if it ends again, rehearsal.log in the workspace says why.",
)


@dataclass(frozen=True)
class Rehearsal:
    """What a run will take, measured on steps of its own."""

    device: str
    peak: int  # bytes at most, at the largest batch of the run
    free: int  # bytes that were free before
    step: float  # seconds of a step of the usual size
    tokens_per_second: float
    steps: int
    seconds: Span  # of the whole run, its evaluations included
    disk: int  # bytes that are saved

    def sentence(self) -> str:
        """All of it in words."""
        step = f"{self.step:.1f} s" if self.step >= 1 else f"{1000 * self.step:,.0f} ms"
        return (
            f"Peak {size(self.peak)} of {size(self.free)} free; {step} a step, {self.tokens_per_second:,.0f} "
            f"tokens/s; {self.steps:,} steps take {_between(self.seconds)}; {size(self.disk)} on disk."
        )


@dataclass(frozen=True)
class Suited:
    """The batch that suits the machine, and the batches that were tried."""

    found: Found
    rows: int  # proposed as batch size
    accumulation: int
    limit: int  # bytes that a batch might take
    end: Literal["update", "data", "most"]  # why no larger ones were there to try

    def sentence(self) -> str:
        """What to take, and why nothing larger."""
        batch = f"Batches of {self.rows:,}" + (
            f", {self.accumulation:,} of them an update" if self.accumulation > 1 else ""
        )
        why = {
            "memory": f"larger ones need more than the {size(self.limit)} that may be filled",
            "speed": "larger ones learn no more tokens a second and only need more memory",
            "update": "more rows at a time would change what an update sees",
            "data": "the data have no rows for larger ones",
            "most": "larger ones were not tried",
        }[self.end if self.found.why == "rows" else self.found.why]
        assert self.found.best is not None
        return f"{batch}: {self.found.best.speed:,.0f} tokens/s at {size(self.found.best.memory)}; {why}."


def size(number: float) -> str:
    """Bytes as people say them."""
    one, unit = next(each for each in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if number >= each[0] or each[0] == 1e3)
    return f"{number / one:,.{1 if number < 10 * one or unit == 'GB' else 0}f} {unit}"


def _between(span: Span) -> str:
    unit, size = next(each for each in (("h", 3600), ("min", 60), ("s", 1)) if span.high >= 2 * each[1] or each[1] == 1)
    low, high = span.low / size, span.high / size
    digits = 0 if low >= 10 else 1
    told = [f"{each:.{digits}f}" for each in (low, high)]
    return f"{'–'.join(dict.fromkeys(told))} {unit}"


class Rehearser:
    """The parent's side. One rehearsal at a time, in a process that ends with it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._turn = threading.Lock()
        self._changing = threading.Lock()  # held while it is settled whose turn it is
        self._token: str | None = None  # of whoever has the turn
        self._cancelled = False
        self.child = Child("studio.stage", workspace.root / "rehearsal.log", *_DIED)

    def rehearse(self, config: RunConfig, limit: int | None = None, token: str = "") -> Iterator[Progress | Rehearsal]:
        """How far it is, and what the run will take, last. Raises StudioError, also while a run is training.

        `limit` is in bytes; unless given, nearly all that is free. `token` is what `cancel` must name from the first
        reply on; what is cancelled ends early.
        """
        with self._having(token):
            yield _STARTING
            free = self._free()
            with self._asking(config, int(REHEARSED * free) if limit is None else limit) as ask:
                for part in ask():
                    yield part if isinstance(part, Progress) else _rehearsal(part["rehearsal"], free)

    def suit(
        self, config: RunConfig, *, larger: bool = False, limit: int | None = None, token: str = ""
    ) -> Iterator[Progress | Trial | Suited]:
        """The batch to take on this machine, last; before it each that was tried.

        Updates see as many rows as `config` says, or, if `larger`, as many as are fast. `limit` is in bytes; unless
        given, what may be filled of what is free. `token` and what is raised are as for `rehearse`.
        """
        training = config.training
        effective = training.per_device_train_batch_size * training.gradient_accumulation_steps
        with self._having(token):
            yield _STARTING
            free = self._free()
            limit = int(FILLED * free) if limit is None else limit
            yield from self._suiting(config, effective, limit, larger=larger)

    def _suiting(
        self, config: RunConfig, effective: int, limit: int, *, larger: bool
    ) -> Iterator[Progress | Trial | Suited]:
        with self._asking(config, limit) as ask:
            tokens: list[int] = []

            def measure(rows: int) -> Generator[Any, None, Trial]:
                before = Trial(rows, tokens[rows - 1], limit)  # of a process that dies over it nothing else is known
                try:
                    for part in ask(rows=rows):
                        if not isinstance(part, Progress):
                            return Trial(**part["trial"])
                        yield part
                except Died:
                    return before
                raise AssertionError

            for part in ask(rows=0):
                if isinstance(part, Progress):
                    yield part
                else:
                    tokens = part["tokens"]
            sizes = sizes_for(effective, len(tokens), larger=larger)
            found = yield from largest(sizes, lambda rows: tokens[rows - 1], measure, limit)
            if found.best is None:
                raise too_long(1, tokens[0], tokens[0], limit, "Lower 'Cut-off length'.")
            end = end_of_sizes(effective, len(tokens), larger=larger)
            yield Suited(found, *settled(effective, found.best.rows), limit, end)

    def cancel(self, token: str) -> None:
        """End what was asked for under this name, whatever it is about; whoever waits for it is told no more."""
        with self._changing:
            if token == self._token:
                self.close()

    def close(self) -> None:
        """End the process, whoever waits for it."""
        self._cancelled = True
        self.child.close()

    @contextmanager
    def _having(self, token: str) -> Iterator[None]:
        """The turn: nobody else's rehearsal meanwhile. Where it is cancelled, what that raises ends here."""
        if not self._turn.acquire(blocking=False):
            raise RunError("Another run is being rehearsed.", remedy="Wait until that has ended, or cancel it.")
        with self._changing:
            self._token, self._cancelled = token, False
        try:
            yield
        except (ModelError, _Cancelled):
            if not self._cancelled:
                raise
        finally:
            with self._changing:
                self._token = None
            self._turn.release()

    def _free(self) -> int:
        """Bytes that a run may take, read while none is training."""
        with device_now(self._workspace):
            return free_memory()

    @contextmanager
    def _asking(self, config: RunConfig, limit: int) -> Iterator[Callable[..., Iterator[Part]]]:
        """Ask about one config; the process and what it wrote are gone afterwards."""
        config = check(config, self._workspace)
        self._workspace.cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._workspace.cache, prefix="rehearsal-") as folder:
            config.save(RunFolder(Path(folder)).config)
            about = {"folder": folder, "workspace": str(self._workspace.root), "limit": limit}

            def ask(**more: Any) -> Iterator[Part]:
                # Looked at here too: what was cancelled before there was a process must not start one, nor keep one.
                if self._cancelled:
                    raise _Cancelled
                for part in self.child.told({**about, **more}):
                    if self._cancelled:
                        raise _Cancelled
                    yield part

            try:
                yield ask
            finally:
                self.child.close()


class _Cancelled(Exception):
    """Somebody ended it before there was a process to end."""


def device_now(workspace: Workspace) -> Any:
    """The right to train on this machine, as a context that gives it back. Raises RunError where a run has it."""
    try:
        return filelock.FileLock(str(workspace.device_lock(own_device()))).acquire(timeout=0)
    except filelock.Timeout:
        raise RunError(
            "A run is training on this machine, or a benchmark is measured; beside them no run can be measured.",
            remedy="Try again when it is done, or stop it.",
        ) from None


def _rehearsal(values: dict[str, Any], free: int) -> Rehearsal:
    return Rehearsal(**{**values, "seconds": Span(**values["seconds"])}, free=free)


def too_long(rows: int, tokens: int, longest: int, limit: int, remedy: str) -> RunError:
    batch = f"A batch of {rows:,} rows with {tokens:,} tokens, {longest:,} of them in the longest row,"
    return RunError(
        f"{batch if rows > 1 else f'A row of {tokens:,} tokens'} does not fit into the {size(limit)} it may take.",
        remedy=f"{remedy} Switching 'Gradient checkpointing' on or a smaller model helps as well.",
    )
