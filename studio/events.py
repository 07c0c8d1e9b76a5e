"""What happens in a run, as small records, and the append-only log that holds them."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. `time` is in seconds since the epoch."""

    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """The run waits for its turn."""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A worker took the run; what it tells of itself is `studio.processes.Identity`."""

    pid: int
    born: float
    boot: str
    device: str = ""  # as CUDA_VISIBLE_DEVICES calls it


@dataclass(frozen=True, kw_only=True)
class Continued(Event):
    """The run goes on after the checkpoint of `step`; what the log holds beyond it is not told again."""

    step: int  # 0: from the beginning
    skipped: list[str] = field(default_factory=list)  # why newer checkpoints were not used, a sentence each


@dataclass(frozen=True, kw_only=True)
class Shrunk(Event):
    """Memory ran out, so that the run goes on in smaller batches; an update still takes as many rows."""

    step: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int


@dataclass(frozen=True, kw_only=True)
class Phase(Event):
    """The run entered a phase, or moved on within it. `done` of `total` counts in `unit`."""

    name: str
    done: float = 0
    total: float = 0  # 0: unknown
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class DataReady(Event):
    """The data is tokenised. Rows and tokens are those that will be trained on."""

    train_rows: int
    validation_rows: int
    truncated_rows: int  # longer than max_length: their end is cut off
    skipped_rows: int  # nothing to learn from: empty, or the answer lies beyond max_length
    tokens: int
    trained_tokens: int  # those the loss counts
    fingerprint: str  # content hash of the rows


@dataclass(frozen=True, kw_only=True)
class ModelReady(Event):
    """The model is loaded and its method attached."""

    name: str
    parameters: int
    trainable_parameters: int
    device: str
    dtype: str
    reason: str  # why this device and dtype


@dataclass(frozen=True, kw_only=True)
class Made(Event):
    """What the run is made of beside its config: with the same of both it gives the same again.

    Whoever goes on with the run tells it anew.
    """

    rows: str  # content hash of all rows as they were read, however they were divided
    held_out: str  # of the rows held out; "": there are none
    studio: str  # its version, as are the next
    python: str
    packages: dict[str, str]  # those that training computes with, as far as they are installed
    system: str
    processor: str
    gpu: str  # its name; "": none
    threads: int  # that the processor computes with
    products: str  # number format of matrix products; "": the weights' own
    padded: str  # why rows are padded; "": they lie side by side


@dataclass(frozen=True, kw_only=True)
class Ready(Event):
    """The first step can begin."""

    seconds: dict[str, float]  # what took how long since the worker took the run: "data", "model", "method", "trainer"
    rows_found: int  # whose tokens were kept from an earlier run
    rows_made: int  # that were tokenised anew


@dataclass(frozen=True, kw_only=True)
class StepDone(Event):
    """One optimiser update. Written by the worker; drawn by the Curves tab."""

    step: int  # optimiser updates so far, from 1; not micro-batches
    total_steps: int
    seconds: float  # of training so far, evaluations not counted
    tokens: int  # real tokens seen so far; padding is not counted
    metrics: dict[str, float]  # curve name -> value, e.g. {"loss": 1.93, "grad_norm": 0.7}


@dataclass(frozen=True, kw_only=True)
class EvalDone(Event):
    """The held-out rows were scored. Step 0 is the base model."""

    step: int
    metrics: dict[str, float]  # e.g. {"eval_loss": 1.2, "eval_perplexity": 3.3}


@dataclass(frozen=True, kw_only=True)
class Sampled(Event):
    """Some held-out prompts were answered amid training, the same ones each time. Step 0 is the base model."""

    step: int
    answers: list[dict[str, str]]  # prompt, reference, answer


@dataclass(frozen=True, kw_only=True)
class AnswersScored(Event):
    """Base and tuned model answered the same held-out prompts."""

    rows: int
    base: dict[str, float]  # metric -> mean over rows, 0 to 1
    tuned: dict[str, float]
    examples: list[dict[str, str]]  # prompt, reference, base, tuned
    left_out: int = 0  # conversations longer than the model reads


@dataclass(frozen=True, kw_only=True)
class LabelsScored(Event):
    """The tuned model labelled the held-out rows; one entry per head.

    A head: {"name", "kind": "classes" | "labels" | "number", "labels": [str], "rows": int,
    "metrics": {name: value}, "baseline": {name: value} of the constant answer that is right most often
    (the mean, for numbers), "confusion": [[int]] with a row per right label and a column per predicted one,
    "per_label": [{"label", "precision", "recall", "f1", "rows"}]}.
    An example: {"text", "head", "right", "predicted", "probability"}; wrong ones come first.
    """

    heads: list[dict[str, Any]]
    examples: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PreferencesScored(Event):
    """The reward model scored the held-out pairs; a margin is the chosen answer's reward less the rejected one's."""

    rows: int  # pairs
    accuracy: float  # share of them whose margin is above 0; a tie is half of one
    low: float  # its 95 % interval
    high: float
    edges: list[float]  # of the histogram's bars, one more than these
    counts: list[int]  # of pairs whose margin lies in each bar
    calibration: list[dict[str, float]]  # "sure": mean claim to be right, 0.5 to 1, "right": share that is, "rows"
    calibration_error: float  # mean of how far the two are apart


@dataclass(frozen=True, kw_only=True)
class VocabularyExtended(Event):
    """Terms of the data became tokens of their own."""

    terms: list[dict[str, Any]]  # {"term", "count": of occurrences, "pieces": tokens it took before}
    tokens_before: int  # of the training rows
    tokens_after: int


@dataclass(frozen=True, kw_only=True)
class Imported(Event):
    """The run was not trained here: its adapter was brought from elsewhere, and of how it learnt nothing is known."""

    name: str  # what it was called
    base_named: str  # what its own config calls its base; "" where it does not
    checked: list[str]  # what was looked at, a sentence each
    notes: list[str]  # what a person should know of it


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something the person should know; training goes on."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    """The adapter of `step` is complete on disk."""

    step: int
    size: int  # bytes
    peak_memory: float = 0.0  # GB held at most, loading included; 0: unknown


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """Trained to the end."""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """Ended early because a person asked for it; what was learnt is saved when a step was done."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """Rests on disk, its memory given back, until somebody lets it go on."""

    step: int
    reason: str = ""  # a sentence, where nobody asked for it


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """Ended by a fault."""

    problem: str
    remedy: str


KINDS: dict[str, type[Event]] = {cls.__name__: cls for cls in Event.__subclasses__()}
TERMINAL = (Done, Stopped, Paused, Failed)  # no process is behind the run any more


class EventLog:
    """Events of one run, a JSON line each.

    A line is one `os.write` on an `O_APPEND` descriptor: the kernel keeps lines of several writers
    whole and in order, and a killed writer loses nothing that it had written.
    """

    _flags: ClassVar[int] = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._torn = False  # whether half a line stands at the end

    def append(self, event: Event) -> None:
        """Raises OSError where the disk is full."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, self._flags, 0o600)
            self._torn = not self._ends_whole()
        told = json.dumps({"event": type(event).__name__, **asdict(event)}, separators=(",", ":"))
        line = b"\n" * self._torn + told.encode() + b"\n"
        self._torn = os.write(self._descriptor, line) < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _ends_whole(self) -> bool:
        """Whether the last line is one: a full disk may have taken half of it."""
        with self.path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def read_from(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events behind byte `offset` and the offset to go on from; an unfinished line waits."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole = data.rfind(b"\n") + 1
        return list(_parse(data[:whole])), offset + whole

    def size(self) -> int:
        """Bytes in the log; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _parse(data: bytes) -> Iterator[Event]:
    for line in data.splitlines():
        try:
            values: dict[str, Any] = json.loads(line)
            yield KINDS[values.pop("event")](**values)
        except (ValueError, KeyError, TypeError):
            continue  # written by a newer version, or cut by a full disk: the rest still counts
