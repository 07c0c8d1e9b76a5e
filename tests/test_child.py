"""A child ends when nobody needs it any more."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("stdin_stays_open", [True, False], ids=["idle", "parent gone"])
def test_it_ends_by_itself(stdin_stays_open: bool) -> None:
    idle = 0.1 if stdin_stays_open else 900
    code = f"from studio.child import serve; serve(lambda *_: None, {idle})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        if not stdin_stays_open:
            process.stdin.close()
        assert process.wait(timeout=60) == 0
