"""`python -m studio.replayer RUN`: the worker of a run that was trained before and is told again, faster or slower.

A recorded run is a folder as any run's, kept in `assets/replay`. Where there is no time to train, or no machine for
thirty people to train on, its log is told anew into a run of one's own, at a chosen speed; in the end that run has the
recorded weights, and all that works on runs works on it. It can be stopped, paused and continued like any other.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studio.config import RunConfig
from studio.errors import ConfigError, explain
from studio.events import (
    TERMINAL,
    Continued,
    Done,
    Event,
    Failed,
    Note,
    Paused,
    Queued,
    Saved,
    Started,
    StepDone,
    Stopped,
)
from studio.launch import claim_run
from studio.workspace import RunFolder, Workspace, write_whole

RECORDED = Path(__file__).resolve().parents[1] / "assets" / "replay"
SPEEDS = (1, 5, 20, 100)  # times as fast as it was trained
_LOOK = 0.1  # seconds between two looks at whether somebody ends it
_OWN = (Queued, Started, Continued, *TERMINAL)  # events that a run tells of its processes; a replay has its own


@dataclass(frozen=True)
class Replay:
    """How a recorded run is told."""

    speed: float
    told: int = 0  # events so far

    @classmethod
    def read(cls, folder: RunFolder) -> Replay:
        return cls(**json.loads(folder.replay.read_text(encoding="utf-8")))

    def write(self, folder: RunFolder) -> Replay:
        write_whole(folder.replay, json.dumps(asdict(self)))
        return self


def create_replay(workspace: Workspace, speed: float, recorded: Path = RECORDED) -> RunFolder:
    """A run that shall be told as the recorded one was. Raises ConfigError for a speed that is none."""
    if not 0.1 <= speed <= 10_000:
        raise ConfigError("A replay is told at 0.1 to 10,000 times the speed.", remedy="Choose a speed in between.")
    values = json.loads((recorded / "config.json").read_text(encoding="utf-8"))
    config = RunConfig.parse({**values, "label": "replay"})
    folder = workspace.new_run(f"replay-{config.method_name}")
    shutil.copyfile(recorded / "held_out.jsonl", folder.held_out)
    Replay(speed).write(folder)
    config.save(folder.config)
    return folder


def tell(folder: RunFolder, recorded: Path = RECORDED) -> Event:
    """Tell the recorded log from where it was left; the event that says how that ended."""
    replay = Replay.read(folder)
    events = [each for each in RunFolder(recorded).events.read_from()[0] if not isinstance(each, _OWN)]
    if not replay.told:
        folder.events.append(
            Note(
                text=f"Nothing is trained here: this is told at {replay.speed:g} times its speed, as a run was on "
                f"{time.strftime('%Y-%m-%d', time.gmtime(events[0].time))}. Its times are those of that run."
            )
        )
    for at, event in enumerate(events[replay.told :], replay.told):
        step = max((each.step for each in events[:at] if isinstance(each, StepDone)), default=0)
        seconds = event.time - events[at - 1].time if at else 0.0
        if ended := _wait(folder, seconds / replay.speed, step):
            return ended
        if isinstance(event, Saved):
            shutil.copytree(recorded / "adapter", folder.adapter, dirs_exist_ok=True)
        folder.events.append(replace(event, time=time.time()))
        replay = replace(replay, told=replay.told + 1).write(folder)
    return Done()


def _wait(folder: RunFolder, seconds: float, step: int) -> Event | None:
    """How somebody ended it meanwhile; None where nobody did."""
    until = time.monotonic() + seconds
    while True:
        if folder.stop_flag.exists():
            return Stopped(step=step)
        if folder.pause_flag.exists():
            return Paused(step=step)
        left = until - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(left, _LOOK))


def main() -> None:
    """See the module's text."""
    folder = RunFolder(Path(sys.argv[1]))
    own = claim_run(folder)
    if own is None:
        return
    try:
        folder.events.append(tell(folder))
    except Exception as error:
        said = explain(error)
        folder.events.append(Failed(problem=said.problem, remedy=said.remedy))
        raise


if __name__ == "__main__":
    main()
