"""What every contender of `training.py` is told and tells. It runs in foreign environments: standard library only."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """The same work for all of them; read from the JSON file that the parent wrote."""

    model: str  # folder
    rows: str  # JSON file: [{"prompt", "answer"}], the texts of one turn each
    batches: str  # JSON file: [[{"input_ids", "labels"}]], those rows as the studio encodes and groups them
    output: str  # folder for the adapter
    report: str  # JSON file to write
    batch: int = 8  # rows an update
    max_length: int = 512
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 2e-4  # falls to nothing in a straight line, no warm-up
    seed: int = 0

    @classmethod
    def read(cls, path: str) -> Job:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Report:
    """What a contender did in one epoch."""

    losses: list[float]  # nats a labelled token, an update each
    tokens: int  # real ones, padding not counted
    seconds: float  # from the first update's begin to the last one's end
    memory: float  # GB, the most the process ever held (VmHWM)
    saved: float  # when the adapter was on disk, seconds since the epoch
    versions: dict[str, str]
    step_tokens: list[int] = field(default_factory=list)  # of each update, where something tells
    step_seconds: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Real tokens a second."""
        return self.tokens / self.seconds


def tell(
    path: str, packages: tuple[str, ...], losses: list[float], tokens: list[int], seconds: float, *, total: int = 0
) -> None:
    """Write the report of work that is saved; `total` real tokens where those of each update are unknown."""
    report = Report(
        losses=losses,
        tokens=total or sum(tokens),
        seconds=seconds,
        memory=peak_memory(),
        saved=time.time(),
        versions={name: version(name) for name in packages},
        step_tokens=tokens,
    )
    Path(path).write_text(json.dumps(asdict(report)), encoding="utf-8")


def peak_memory() -> float:
    """GB this process held at most, from Linux; 0 elsewhere. Not getrusage, which counts the parent's too."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) * 1024 / 1e9 for line in status.splitlines() if line.startswith("VmHWM:"))


def run_named(contenders: dict[str, Any]) -> None:
    """`python FILE NAME JOB.json`."""
    sys.path.pop(0)  # this folder, whose names would hide packages of the same name
    contenders[sys.argv[1]](Job.read(sys.argv[2]))
