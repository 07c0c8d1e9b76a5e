"""A child ends when nobody needs it any more."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from studio import child


@pytest.mark.parametrize("stdin_stays_open", [True, False], ids=["idle", "parent gone"])
def test_it_ends_by_itself(stdin_stays_open: bool) -> None:
    idle = 0.1 if stdin_stays_open else 900
    code = f"from studio.child import serve; serve(lambda *_: None, {idle})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        if not stdin_stays_open:
            process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_how_far_it_is_comes_apart_from_the_rest_of_the_answer(tmp_path: Path) -> None:
    with closing(child.Child("tests.dying", tmp_path / "log", "It died.", "Too bad.")) as asked:
        progress, answer = asked.told({"rows": 1})
    assert progress == child.Progress("Trying", 0, 0)
    assert isinstance(answer, dict)
    assert answer["trial"]["rows"] == 1


def test_progress_is_told_now_and_then_and_what_is_new_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_EVERY", 1e9)
    told: list[dict[str, Any]] = []
    ended = False
    tell = child.teller(lambda **values: told.append(values), lambda: ended)
    for place in range(100):
        tell("Reading", place, 100)
    tell("Writing", 0, 1)
    assert told == [{"doing": "Reading", "done": 0, "total": 100}, {"doing": "Writing", "done": 0, "total": 1}]
    ended = True
    with pytest.raises(child.Stopped):
        tell("Writing", 1, 1)
