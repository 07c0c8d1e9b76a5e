"""What befalls runs, done to real ones: kills, flipped bits, full disks, restarts, many viewers.

Claims: a worker killed at any moment, and at every file of a checkpoint, goes on with the same losses bit for bit, each
step told once; a server killed again and again changes no step's pace and finds its runs at once; no damaged checkpoint
is loaded; a disk that fills up leaves the checkpoint before; thirty people who look on cost training nothing. The tiny
model serves: what is tested is the way there, not the model.

    python benchmarks/trust.py [--only worker,bits,disk,mishaps,server,viewers] [--times 50] [--minutes 10]

`disk` and `mishaps` mount a small file system and need root on Linux. Writes results/trust-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import _report
import httpx
import psutil

from studio.checkpoints import newest
from studio.config import RunConfig
from studio.events import TERMINAL, Continued, Done, EvalDone, Event, Queued, StepDone
from studio.jobs import create_run, unleash
from studio.launch import worker_environment
from studio.processes import Identity
from studio.store import Store
from studio.workspace import RunFolder, Workspace

RESULTS = Path(__file__).parent / "results" / "trust-cpu"
FILES = ("weights.safetensors", "state.safetensors", "state.json", "trainer_state.json", "manifest.json")
VIEWERS = 30
STEPS = 20  # of runs that are killed; 8 are an epoch, and dropout and accumulation are on


def config(rows: Path, **training: Any) -> RunConfig:
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "eval_steps": 7,
        "save_steps": 3,
        "learning_rate": 0.01,
        "dtype": "float32",
        "answer_rows": 0,
    }
    return RunConfig.parse(
        {
            "model": "tiny",
            "dataset": {"source": str(rows), "validation_share": 0.2},
            "objective": {"name": "next_token", "max_length": 128},
            "method": {"name": "lora", "r": 4, "lora_dropout": 0.2},
            "training": settings | training,
        }
    )


def worker(folder: RunFolder) -> subprocess.Popen[bytes]:
    environment = {**worker_environment(), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "studio.worker", str(folder.path)], env=environment)


def events(folder: RunFolder) -> list[Event]:
    return folder.events.read_from()[0]


def told(folder: RunFolder) -> list[tuple[Any, ...]]:
    """Everything that a curve is drawn of, times left out."""
    steps = [e for e in events(folder) if isinstance(e, StepDone)]
    scores = [("eval", e.step, e.metrics["eval_loss"]) for e in events(folder) if isinstance(e, EvalDone)]
    return [("step", e.step, e.metrics["loss"], e.metrics["grad_norm"], e.tokens) for e in steps] + scores


def finish(folder: RunFolder) -> bool:
    """Whether it came to its end, and what it left is what an untroubled run leaves."""
    return worker(folder).wait() == 0 and isinstance(events(folder)[-1], Done)


# -- one thing that befalls runs each -------------------------------------------------------------------


def kills(workspace: Workspace, rows: Path, times: int) -> tuple[dict[str, Any], list[str]]:
    """SIGKILL at random moments, then at every file of a checkpoint."""
    whole = create_run(workspace, config(rows))
    assert finish(whole)
    dice, same, went_on = _dice(), 0, []
    moments = [_moment(dice.randrange(1, STEPS), 0.05 * dice.random()) for _ in range(times)]
    moments += [lambda folder, name=name: any(folder.checkpoints.glob(f".writing-*/{name}")) for name in FILES]
    moments += [lambda folder: any(folder.checkpoints.glob("step-6"))]
    for moment in moments:
        folder = create_run(workspace, config(rows))
        victim = worker(folder)
        while victim.poll() is None and not moment(folder):
            pass
        victim.kill()
        victim.wait()
        ok = finish(folder) and told(folder) == told(whole) and _adapter(folder) == _adapter(whole)
        same += ok
        went_on += [event.step for event in events(folder) if isinstance(event, Continued)]
    line = f"worker killed {len(moments)} times ({len(FILES) + 1} of them amid a checkpoint): {same} runs bit-identical"
    return {"killed": len(moments), "identical": same, "went_on_from": went_on}, [line]


def _reached(folder: RunFolder, step: int, more: float) -> bool:
    if sum(isinstance(event, StepDone) for event in events(folder)) < step:
        return False
    time.sleep(more)
    return True


def _moment(step: int, more: float) -> Callable[[RunFolder], bool]:
    return lambda folder: _reached(folder, step, more)


def _dice() -> random.Random:
    return random.Random(7)  # noqa: S311 - moments, not secrets


def _adapter(folder: RunFolder) -> bytes:
    return (folder.adapter / "adapter_model.safetensors").read_bytes()


def bits(workspace: Workspace, rows: Path, times: int) -> tuple[dict[str, Any], list[str]]:
    """Files of a run's newest checkpoint cut short or changed by a bit: none may be taken for whole."""
    folder = create_run(workspace, config(rows, save_total_limit=3))
    assert finish(folder)
    last, _ = newest(folder.checkpoints)
    assert last is not None
    dice, wrong, raised = _dice(), 0, 0
    for _ in range(2 * times):
        file = dice.choice(sorted(last.path.iterdir()))
        before = file.read_bytes()
        broken = bytearray(before)
        if dice.random() < 0.5:
            del broken[dice.randrange(len(broken)) :]
        else:
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        file.write_bytes(broken)
        try:
            found, skipped = newest(folder.checkpoints)
            wrong += found is None or found.step == last.step or len(skipped) != 1
        except Exception:
            raised += 1
        file.write_bytes(before)
    line = f"{2 * times} damaged checkpoint files: {wrong} loaded, {raised} tracebacks"
    return {"damaged": 2 * times, "wrong": wrong, "raised": raised}, [line]


def disk(workspace: Workspace, rows: Path, times: int) -> tuple[dict[str, Any], list[str]]:
    """A small disk with ever less room: the state is honest, the last checkpoint whole, and the run ends with room."""
    honest = whole = ended = 0
    reference = create_run(workspace, config(rows))
    assert finish(reference)
    places = range(10)
    for place in places:
        with _small_disk() as root:
            folder = create_run(Workspace(root).create(), config(rows))
            victim, filler = worker(folder), root / "filler"
            while victim.poll() is None and not _reached(folder, 4, 0):
                pass
            _fill(filler, leave=place * 60_000)
            victim.wait()
            state = Store(Workspace(root)).state(folder.id)
            honest += state.status in ("paused", "failed", "done") and (state.status == "done" or bool(state.problem))
            checkpoint, skipped = newest(folder.checkpoints)
            whole += checkpoint is not None and not skipped
            filler.unlink()
            unleash(folder)
            ended += finish(folder) and told(folder) == told(reference)
    line = (
        f"disk full at {len(places)} places: {honest} honest states, {whole} checkpoints whole, {ended} ended exactly"
    )
    return {"places": len(places), "honest": honest, "whole": whole, "ended": ended}, [line]


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as root:
        subprocess.run([_tool("mount"), "-t", "tmpfs", "-o", "size=640m", "tmpfs", root], check=True)
        try:
            yield Path(root)
        finally:
            subprocess.run([_tool("umount"), "-l", root], check=True)


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed"
    return found


def _fill(file: Path, leave: int) -> None:
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while opened.write(b"x" * 4096):
            pass
    os.truncate(file, max(0, file.stat().st_size - leave))


class Server:
    """`finetune-studio`, as a person starts it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.log = workspace, workspace.root / "server.log"

    def start(self) -> float:
        """Seconds until it answers."""
        began = time.monotonic()
        command = [str(Path(sys.executable).parent / "finetune-studio"), "--no-browser", "--port", "0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--workspace", str(self.workspace.root)], stdout=log, stderr=log, start_new_session=True
            )
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text())):
            time.sleep(0.02)
        self.url = found[0]
        return time.monotonic() - began

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _long(workspace: Workspace, rows: Path) -> RunFolder:
    """A run that waits for a server and does not end by itself, whose steps take a while."""
    sizes = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}
    endless = {"max_steps": 1_000_000, "eval_steps": 1_000_000, "save_steps": 1_000_000}
    folder = create_run(workspace, config(rows, **sizes, **endless))
    folder.events.append(Queued())
    folder.events.close()
    return folder


def _stop(folder: RunFolder) -> None:
    """End it, and wait until nobody writes there any more."""
    folder.stop_flag.touch()
    while not isinstance(events(folder)[-1], TERMINAL):
        time.sleep(0.1)
    time.sleep(1)


def _pace(folder: RunFolder, since: float) -> float:
    """Median seconds between two steps told after `since`."""
    times = [event.time for event in events(folder) if isinstance(event, StepDone) and event.time >= since]
    return statistics.median(b - a for a, b in itertools.pairwise(times))


def server(workspace: Workspace, rows: Path, times: int) -> tuple[dict[str, Any], list[str]]:
    """SIGKILL the server again and again while a run trains."""
    folder, studio = _long(workspace, rows), Server(workspace)
    studio.start()
    while not _reached(folder, 50, 0):
        time.sleep(0.1)
    found, alone = [], []
    for _ in range(times):
        studio.kill()
        began = time.time()
        time.sleep(2)
        alone.append(_pace(folder, began))
        waited = studio.start()
        answered = time.monotonic()
        while httpx.get(f"{studio.url}/studio/runs/{folder.id}").json()["status"] != "training":
            time.sleep(0.02)
        found.append((waited, time.monotonic() - answered))
    began = time.time()
    time.sleep(5)
    served = _pace(folder, began)
    _stop(folder)
    steps = [event.step for event in events(folder) if isinstance(event, StepDone)]
    started = sum(type(event).__name__ == "Started" for event in events(folder))
    studio.kill()
    lines = [
        f"server killed {times} times: {started} worker, {len(steps)} steps, each told once: "
        f"{steps == list(range(1, len(steps) + 1))}",
        _report.row("server's start until it answers", [each for each, _ in found], "s"),
        _report.row("from its first answer until it shows the run", [each for _, each in found], "s"),
        _report.row("a step without a server / with one", [each / served for each in alone], "x"),
    ]
    return {"start_and_found": found, "alone": alone, "served": served}, lines


def viewers(workspace: Workspace, rows: Path, minutes: float) -> tuple[dict[str, Any], list[str]]:
    """Thirty pages that ask once a second, for minutes; steps before, meanwhile and after."""
    folder, studio = _long(workspace, rows), Server(workspace)
    studio.start()
    while not _reached(folder, 50, 0):
        time.sleep(0.1)
    paces, seconds, faults = [], [], 0
    for looked_at in (False, True, False, True, False):
        began = time.time()
        if looked_at:
            took, failed = asyncio.run(_look(f"{studio.url}/studio/runs/{folder.id}", minutes * 30))
            seconds, faults = seconds + took, faults + failed
        else:
            time.sleep(20)
        paces.append(_pace(folder, began))
    _stop(folder)
    studio.kill()
    watched, alone = statistics.mean(paces[1::2]), statistics.mean(paces[::2])
    p95 = sorted(seconds)[int(0.95 * len(seconds))]
    lines = [
        f"{VIEWERS} viewers, once a second, {minutes:g} minutes: {len(seconds)} answers, {faults} errors, "
        f"p95 {1000 * p95:.0f} ms (goal 300)",
        f"a step meanwhile {watched / alone - 1:+.1%} (goal +2 %)",
    ]
    return {"p95": p95, "errors": faults, "paces": paces}, lines


async def _look(url: str, seconds: float) -> tuple[list[float], int]:
    took, failed = [], 0

    async def one(client: httpx.AsyncClient, number: int) -> None:
        nonlocal failed
        since, end = 0, time.monotonic() + seconds
        await asyncio.sleep(number / VIEWERS)
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                answer = await client.get(url, params={"since": since})
                since = answer.json()["next"]
                took.append(time.monotonic() - began)
            except (httpx.HTTPError, ValueError, KeyError):
                failed += 1
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))

    async with httpx.AsyncClient(timeout=10) as client:
        await asyncio.gather(*(one(client, number) for number in range(VIEWERS)))
    return took, failed


def mishaps(workspace: Workspace, rows: Path, times: int) -> tuple[dict[str, Any], list[str]]:
    """A restart of the machine, a pid given to another, a deleted checkpoint, a disk that cannot be written."""
    reference = create_run(workspace, config(rows))
    assert finish(reference)
    found = {}
    me = Identity.of(psutil.Process())
    for name, other in (
        ("restart of the machine", {"pid": me.pid, "born": me.born, "boot": "another"}),
        ("pid given to another process", {"pid": me.pid, "born": me.born - 1000, "boot": me.boot}),
        ("deleted checkpoint", {}),
    ):
        folder = create_run(workspace, config(rows))
        victim = worker(folder)
        while victim.poll() is None and not _reached(folder, 8, 0):
            pass
        victim.kill()
        victim.wait()
        _rewrite(folder, other)
        if not other:
            shutil.rmtree(max(folder.checkpoints.glob("step-*"), key=lambda path: int(path.name[5:])))
        began = time.monotonic()
        state = Store(workspace).state(folder.id)
        honest = state.status == "failed" and state.lost and bool(state.remedy)
        seconds = time.monotonic() - began
        found[name] = [honest and finish(folder) and told(folder) == told(reference), seconds]
    with _small_disk() as root:
        small = Workspace(root / "workspace").create()
        (file := root / "run.yaml").write_text(config(rows).to_yaml(), encoding="utf-8")
        subprocess.run([_tool("mount"), "-o", "remount,ro", str(root)], check=True)
        began = time.monotonic()
        command = [str(Path(sys.executable).parent / "finetune-studio"), "--workspace", str(small.root)]
        done = subprocess.run([*command, "train", str(file)], capture_output=True, text=True, check=False)
        said = done.stderr.strip()
        print(f"on a disk that cannot be written it says: {said}", flush=True)
        found["disk that cannot be written"] = [
            done.returncode != 0 and bool(said) and "Traceback" not in said,
            time.monotonic() - began,
        ]
    lines = [
        f"{name}: {'an honest word' if honest else 'NOT honest'} after {seconds:.1f} s (goal 10)"
        for name, (honest, seconds) in found.items()
    ]
    return {"found": found}, lines


def _rewrite(folder: RunFolder, other: dict[str, Any]) -> None:
    """Say of the run's process that it was that other one."""
    told_lines = [json.loads(line) for line in folder.events.path.read_text(encoding="utf-8").splitlines()]
    for line in told_lines:
        if line["event"] == "Started":
            line |= other
    folder.events.path.write_text("".join(json.dumps(line) + "\n" for line in told_lines), encoding="utf-8")


PARTS: dict[str, Callable[..., tuple[dict[str, Any], list[str]]]] = {
    "worker": kills,
    "bits": bits,
    "disk": disk,
    "mishaps": mishaps,
    "server": server,
    "viewers": viewers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="names, with commas")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as root:
            rows = Path(root) / "rows.jsonl"
            texts = ({"prompt": f"say {i % 7}", "completion": f"the number is {i % 7}, row {i}"} for i in range(40))
            rows.write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
            amount = options.minutes if name == "viewers" else options.times
            values, lines = PARTS[name](Workspace(Path(root) / "workspace").create(), rows, amount)
            _report.keep(RESULTS, name, values, [*lines, ""])


if __name__ == "__main__":
    main()
