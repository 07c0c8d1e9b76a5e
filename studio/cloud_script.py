"""What a job in the cloud runs: the worker that trains here too. It stands alone, for it unpacks all the rest.

`cloud_script.py FOLDER`: FOLDER holds `parcel.tar.gz` (see `studio.cloud`) and outlives the job. The run's events are
told as marked lines of the job's log; what was learnt is kept in FOLDER, and then announced in the same way.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PARCEL = "parcel.tar.gz"
MARK = "@finetune-studio"  # begins a line that the studio reads; the others are for people
_LINE = re.compile(rf"{MARK} (event|kept) ([0-9]+)/([0-9]+) (\S+)")
PIECE = 4000  # characters; logs cut lines that are much longer
COMPLETE = ("Saved", "Done", "Stopped", "Paused", "Failed")  # events that promise files: those are kept before
WORTH = ("adapter", "checkpoints", "held_out.jsonl")  # in a run's folder
_KEPT = 2  # of what was kept; the older one may be on its way to a person


def lines_of(kind: str, text: str) -> Iterator[str]:
    """`text` as marked lines without a space that a log could take away: JSON has another name for it."""
    text = text.replace(" ", "\\u0020")
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    yield from (f"{MARK} {kind} {at}/{len(pieces)} {piece}" for at, piece in enumerate(pieces, 1))


def told(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What `lines_of` made, as kind and text; any other line as ("", line)."""
    begun: list[str] = []
    for line in lines:
        found = _LINE.fullmatch(line.strip())
        if not found:
            yield "", line
            continue
        kind, at, of, piece = found.groups()
        begun = [] if at == "1" else begun  # a log may begin anew
        begun.append(piece)
        if at == of and len(begun) == int(of):
            yield kind, "".join(begun).replace("\\u0020", " ")


class _Keeper:
    """Copies what is worth keeping to where it outlives the job."""

    def __init__(self, run: Path, to: Path) -> None:
        self.run, self.to = run, to
        self.names: list[str] = []
        self._seen = self._checkpoints()

    def keep(self) -> None:
        self._seen = self._checkpoints()
        name = f"kept-{time.time_ns()}.tar"
        try:
            with tarfile.open(self.to / name, "w|") as tar:  # written from its beginning to its end, as mounts like it
                for each in WORTH:
                    if (self.run / each).exists():
                        tar.add(self.run / each, each)
        except FileNotFoundError:  # a checkpoint made room for a newer one, which will be kept in its turn
            (self.to / name).unlink(missing_ok=True)
            self._seen = []
            return
        self.names.append(name)
        tell("kept", name)
        for old in self.names[:-_KEPT]:
            (self.to / old).unlink(missing_ok=True)

    def keep_newer(self) -> None:
        """`keep` where there is another checkpoint than the last time."""
        if self._checkpoints() != self._seen:
            self.keep()

    def _checkpoints(self) -> list[str]:
        folder = self.run / "checkpoints"
        return sorted(os.listdir(folder)) if folder.is_dir() else []


def tell(kind: str, text: str) -> None:
    for line in lines_of(kind, text):
        print(line, flush=True)


def main(folder: Path) -> int:
    """Train; the worker's exit code."""
    root = Path(tempfile.mkdtemp(prefix="studio-"))
    with tarfile.open(folder / PARCEL) as tar:
        tar.extractall(root, filter="data")
    run = next((root / "workspace" / "runs").iterdir())
    processes = json.loads((run / "config.json").read_text(encoding="utf-8"))["training"]["num_processes"]
    keeper = _Keeper(run, folder)
    with (run / "events.jsonl").open("ab+") as log:  # at its end: who sent it knows what it held
        worker = subprocess.Popen(
            [sys.executable, "-m", "studio.worker", os.fspath(run)],
            cwd=root,  # paths of data sets begin there
            env={
                **os.environ,
                "PYTHONPATH": os.fspath(root),
                "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(processes))),
            },
        )
        ended, rest = False, b""
        while not ended:
            time.sleep(0.2)
            ended = worker.poll() is not None  # before reading: what it wrote last must still be read
            *lines, rest = (rest + log.read()).split(b"\n")
            for line in lines:
                if json.loads(line)["event"] in COMPLETE:
                    keeper.keep()
                tell("event", line.decode())
            keeper.keep_newer()
    if worker.returncode:
        print((run / "worker.log").read_text(encoding="utf-8", errors="replace")[-10_000:], flush=True)
    return worker.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
