"""Programs that nobody knows, run where they can do no harm and say nothing of themselves."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from studio import sandbox
from studio.evaluation.measures import of_several, passing
from studio.evaluation.passing import at_once, measure, task_of
from studio.programs import program_of
from studio.sandbox import Limits, Outcome, SandboxError, Task, available, run
from tests.hostile import HOSTILE, SECRET, Hostile

POSSIBLE, WHY_NOT = available()
in_sandbox = pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
SHORT = Limits(cpu=1, wall=2.0, memory=2**27)  # for those that are to be cut off


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What came of each hostile program, several at once; and then: nothing outside has changed."""
    outside = tmp_path_factory.mktemp("outside") / "kept.txt"
    outside.write_text(SECRET)
    before = set(psutil.Process().children(recursive=True))
    os.environ[SECRET] = "never to be seen"
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(6) as pool:
        port = listening.getsockname()[1]

        def tried(case: Hostile) -> Outcome:
            limits = SHORT if "time" in case.why else Limits()
            return run(Task(case.tests), case.written(str(outside), port), limits)

        outcomes = list(pool.map(tried, HOSTILE))
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
    del os.environ[SECRET]
    assert outside.read_text() == SECRET
    assert [each.name for each in outside.parent.iterdir()] == ["kept.txt"]
    assert set(psutil.Process().children(recursive=True)) <= before
    return {case.name: outcome for case, outcome in zip(HOSTILE, outcomes, strict=True)}


@in_sandbox
@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_program_achieves_nothing(case: Hostile, ended: dict[str, Outcome]) -> None:
    assert ended[case.name].why in case.why, ended[case.name]


@in_sandbox
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("def double(x):\n    return 2 * x", "passed"),
        ("def double(x):\n    return x", "wrong"),
        ("def double(x):\n    return 1 / 0", "error"),
        ("def double(x:\n    return", "syntax"),
        ("def other(x):\n    return 2 * x", "error"),
        ("", "error"),
        ("def double(x):\n    assert x == 7\n    return 2 * x", "error"),  # not the tests' own assertion
        ("import numpy\ndef double(x):\n    return 2 * x", "error"),
        ("import os\ndef double(x):\n    os.kill(os.getpid(), 9)", "ended"),  # long before its time was up
    ],
)
def test_the_reason_is_told(answer: str, why: str) -> None:
    outcome = run(Task("assert double(2) == 4\nassert double(-1) == -2"), answer)
    assert outcome.why == why, outcome


@in_sandbox
def test_what_it_printed_and_raised_is_kept() -> None:
    outcome = run(Task("f()"), "def f():\n    print('so far')\n    raise KeyError('gone')")
    assert (outcome.why, outcome.detail, outcome.printed) == ("error", "KeyError: 'gone'", "so far\n")


@in_sandbox
@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(*a, **b): return a, b", "assert f({1: (2, {3})}, x=b'y') == (({1: (2, {3})},), {'x': b'y'})"),
        ("def f(x): return x", "for x in [None, True, 10**400, -0.5, 1j, 'ß\\ud800', [], frozenset('a')]:\n"
         "    assert f(x) == x and type(f(x)) is type(x)\nassert f(float('inf')) > 0 and f(1) is not True"),
        ("def f(x): return (i * i for i in range(x))", "assert list(f(3)) == [0, 1, 4]"),
        ("def f(x):\n    x.sort()\n    x.append(9)", "kept = [3, 1]\nf(kept)\nassert kept == [1, 3, 9]"),
        ("class Stack:\n    def __init__(self): self.all = []\n    def push(self, x): self.all.append(x)\n"
         "    def __len__(self): return len(self.all)", "s = Stack()\ns.push(4)\nassert len(s) == 1 and s.all[0] == 4"),
        ("class Pair:\n    def __init__(self, a): self.a = a\ndef f(pairs): return max(p.a for p in pairs)",
         "assert f([Pair(1), Pair(5)]) == 5"),
        ("def f(x): raise ValueError('no')", "try:\n    f(1)\n    done = False\nexcept ValueError as error:\n"
         "    done = str(error) == 'no'\nassert done"),
        ("def sum(a, b): return a + b", "assert sum(10, 15) == 25"),
        ("def f(): return 0.1 + 0.2", "assert math.isclose(f(), 0.3)"),
        ("def f(): return {str(i) for i in range(9)}", "def test_it():\n    assert len(f()) == 9"),
        ("def f(x): return open if x else {}.keys()", "assert f(1) and not f(0)"),
    ],
)  # fmt: skip
def test_tests_meet_the_program_as_if_they_were_one(program: str, tests: str) -> None:
    assert run(Task(tests), program).why == "passed", run(Task(tests), program)


@in_sandbox
def test_tests_that_prove_nothing_do_not_pass() -> None:
    right = "def f(x): return x"
    assert run(Task("assert 1 == 1"), right).why == "tests"
    assert run(Task("assert f(lambda: 1)"), right).why == "tests"
    assert run(Task("assert f(1 == "), right).why == "tests"
    assert run(Task("import os\nf(1)\nos._exit(0)"), right).why == "tests"


HUMAN_EVAL = {
    "prompt": "import math\n\ndef half(x):\n    return x / 2\n\ndef quarter(x: float) -> float:\n    '''x / 4'''\n",
    "test": "def check(candidate):\n    assert candidate(8) == 2\n    assert half(candidate(8)) == 1\n",
    "entry_point": "quarter",
}
MBPP = {
    "text": "Write a function that adds two numbers.",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"],
    "test_setup_code": "",
}


@in_sandbox
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("    return half(half(x))", "passed"),  # the continuation of the prompt
        ("return half(half(x))\n", "passed"),  # the same without its spaces
        ("    return math.floor(x / 4)\n\nprint(quarter('x'))\nThat is it", "error"),
        ("Sure:\n```python\ndef quarter(x):\n    return x / 4\n```\nDone.", "passed"),
        ("def half(x):\n    return 1\ndef quarter(x):\n    return 2", "passed"),
        ("def half(x):\n    return 1\ndef quarter(x):\n    return 7", "wrong"),  # half is the prompt's, not its own
        ("I cannot do that.", "syntax"),
    ],
)
def test_rows_like_human_eval(answer: str, why: str) -> None:
    task = task_of(HUMAN_EVAL)
    assert task is not None
    assert run(task, answer).why == why


@in_sandbox
def test_each_answer_of_each_task_is_run() -> None:
    told = []
    good, bad = "def add(a, b): return a + b", "def add(a, b): return 3"
    rows = (MBPP, {**MBPP, "test_list": '["assert add(1, 2) == 3"]'})
    found = measure(
        [task for row in rows if (task := task_of(row))],
        [[good, bad, "add ="], [bad, bad, good]],
        lambda *each: told.append(each),
    )
    assert [[one.why for one in row] for row in found] == [["passed", "wrong", "syntax"], ["passed"] * 3]
    assert told[-1] == ("Running programs", 6, 6)


@in_sandbox
def test_whoever_asks_may_stop() -> None:
    class Enough(Exception):
        pass

    def tell(*_: object) -> None:
        raise Enough

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(Enough):
        measure([Task("f()")], [["import time\ntime.sleep(60)"] * 20], tell, Limits(wall=60.0))
    assert set(psutil.Process().children(recursive=True)) <= before


def test_pass_at_k_is_the_papers() -> None:
    """Chen et al.: c = 2 of n = 4 pass: pass@1 = 1/2, pass@2 = 1 - C(2,2)/C(4,2) = 5/6, then 1; none of the other."""
    one, none = ["passed", "wrong", "passed", "time"], ["error"] * 4
    found = [passing([one, none], k)[:, 0] for k in of_several(4)]
    assert [each.tolist() for each in found] == [[pytest.approx(1 / 2), 0], [pytest.approx(5 / 6), 0], [1, 0]]


def test_no_more_programs_run_at_once_than_memory_holds() -> None:
    assert at_once(Limits(memory=2**50)) == 1
    assert 1 <= at_once(Limits(memory=1)) <= 8


def test_rows_without_tests_are_no_tasks() -> None:
    for row in ({"prompt": "x"}, {"test_list": []}, {"test": "  ", "entry_point": "f"}, {"test": "a label"}):
        assert task_of(row) is None


def test_code_is_found_in_what_is_written_around_it() -> None:
    assert program_of("", "Here:\n\n  ```py\n  def f():\n      return 1\n  ```\nBye", "f").strip().endswith("return 1")
    assert "return 2" in program_of("", "```\nx\n```\nor\n```python\ndef f(): return 2\n```", "f")
    assert program_of("", "```python\ndef f():\n    return 1\n", "f").endswith("return 1")  # cut off before its end
    assert "Hope" not in program_of("", "Well.\ndef f():\n    return 1\nHope it helps!", "f")


def test_it_says_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    possible, why = available()
    if sys.platform == "linux":
        assert not possible
        assert "bubblewrap" in why
    with pytest.raises(SandboxError, match="only in a sandbox"):
        measure([Task("f()")], [["def f(): pass"]])


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_sandbox_that_does_not_start_is_no_failed_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    possible, why = available()
    assert not possible
    assert "No permissions" in why


@in_sandbox
def test_a_sandbox_that_lets_programs_do_harm_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PROVEN", set())
    monkeypatch.setattr(sandbox, "_REFUSED", {})
    possible, why = available()
    assert not possible
    assert "does not hold" in why


@in_sandbox
def test_nothing_is_left_of_what_is_ended_at_its_very_beginning() -> None:
    stop, began = threading.Event(), time.time()
    stop.set()
    for _ in range(10):
        assert run(Task("f()"), "while True: pass", stop=stop).why == "stopped"
    ends = time.monotonic() + 10
    while left := _orphans(began):  # what was killed is gone in a moment
        assert time.monotonic() < ends, left
        time.sleep(0.05)


def _orphans(began: float) -> list[psutil.Process]:
    """Sandboxes that nobody waits for and that live still."""
    found = psutil.process_iter(["name", "ppid", "create_time", "status"])
    told = [(each, each.info) for each in found]
    return [
        each
        for each, about in told
        if (about["name"], about["ppid"]) == ("bwrap", 1)
        and about["create_time"] >= began - 1
        and about["status"] != psutil.STATUS_ZOMBIE
    ]
