"""The log must hold what was written, whoever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.events import EventLog, Note, Phase, StepDone

WRITER = """
import sys
from pathlib import Path
from studio.events import EventLog, StepDone
log = EventLog(Path(sys.argv[1]))
for step in range(1, 10**9):
    log.append(StepDone(step=step, total_steps=10**9, seconds=0.0, tokens=step, metrics={"loss": 1.0 / step}))
    print(step, flush=True)
"""


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    step = StepDone(step=1, total_steps=2, seconds=0.5, tokens=10, metrics={"loss": 2.5})
    log.append(Phase(name="Training", total=2, unit="steps"))
    log.append(step)
    first, offset = log.read_from(0)
    assert first[1] == step
    log.append(Note(text="zwei\nZeilen ✓"))
    assert [event.text for event in log.read_from(offset)[0] if isinstance(event, Note)] == ["zwei\nZeilen ✓"]


def test_an_unfinished_or_foreign_line_neither_breaks_nor_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(Note(text="a"))
    with path.open("ab") as file:
        file.write(b'{"event":"FromTheFuture","x":1}\n{"event":"Note","te')
    events, offset = log.read_from(0)
    assert [type(event) for event in events] == [Note]
    with path.open("ab") as file:
        file.write(b'xt":"b","time":1.0}\n')
    assert log.read_from(offset)[0] == [Note(text="b", time=1.0)]


def test_a_killed_writer_loses_no_line(tmp_path: Path) -> None:
    for attempt in range(5):
        path = tmp_path / f"{attempt}.jsonl"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        said = 0
        for line in writer.stdout:
            said = int(line)
            if said >= 200 * (attempt + 1):
                writer.kill()
                break
        said = max([said, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()
        steps = [event.step for event in EventLog(path).read_from(0)[0] if isinstance(event, StepDone)]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= said


def test_half_a_line_swallows_no_other(tmp_path: Path) -> None:
    """A full disk takes as much of a line as it has room for."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event":"Note","time":1,"text":"whole"}\n{"event":"Note","ti')
    EventLog(path).append(Note(text="after it"))
    events, _ = EventLog(path).read_from()
    assert [event.text for event in events if isinstance(event, Note)] == ["whole", "after it"]


def test_a_line_that_is_cut_short_is_an_error_and_the_next_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, write = EventLog(tmp_path / "events.jsonl"), os.write
    with monkeypatch.context() as full:
        full.setattr("os.write", lambda descriptor, line: write(descriptor, line[:9]))
        with pytest.raises(OSError, match="No space left"):
            log.append(Note(text="cut"))
    log.append(Note(text="whole"))
    events, _ = log.read_from()
    assert [event.text for event in events if isinstance(event, Note)] == ["whole"]
