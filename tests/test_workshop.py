"""People on one machine: their names and words, their limits, and whose turn it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from studio.child import Child
from studio.config import RunConfig
from studio.errors import ConfigError, RunError
from studio.events import Note, Started
from studio.jobs import Jobs
from studio.seats import SEATS, seat
from studio.store import Store, wait_for_end
from studio.turns import Stand, Turns, stands
from studio.within import WITHIN, may_name
from studio.workshop import Limits, Workshop, check_limits, limits_of, too_much
from studio.workspace import Workspace
from tabs._live import payload

Make = Callable[..., RunConfig]


@pytest.fixture
def workshop(workspace: Workspace) -> Workshop:
    return Workshop(workspace).create()


def join(workshop: Workshop, name: str) -> Workspace:
    return workshop.workspace_of(workshop.enter(name, f"word of {name}", workshop.code))


# -- who comes in -----------------------------------------------------------------------------------


def test_a_newcomer_needs_the_code_and_comes_back_with_the_word_alone(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="code"):
        workshop.enter("Ada", "secret", "wrong")
    ada = workshop.enter("  Ada  Lovelace ", "secret", f" {workshop.code.upper()} ")
    assert ada.name == "Ada Lovelace"
    assert workshop.enter("ada lovelace", "secret") == ada
    assert workshop.enter("ＡＤＡ Lovelace", "secret") == ada  # another way to write the same letters
    with pytest.raises(ConfigError, match="taken"):
        workshop.enter("Ada Lovelace", "secret2", workshop.code)
    assert workshop.people() == [ada]


@pytest.mark.parametrize("name", ["", "   ", "presenter", "Presenter", "x" * 41, "a\x00b", "a‮b"])
def test_names_that_would_mislead_are_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        workshop.enter(name, "secret", workshop.code)


@pytest.mark.parametrize("name", ["../../etc", "CON", "a/b", "<img src=x>", "名前", "…"])
def test_any_other_name_becomes_a_plain_folder_within_the_workshop(workshop: Workshop, name: str) -> None:
    own = join(workshop, name)
    assert own.root.parent == workshop.workspace.people
    assert own.root.name.replace("-", "").isalnum()


def test_a_short_word_and_a_full_workshop_are_refused(workspace: Workspace) -> None:
    workshop = Workshop(workspace).create({"people": "1"})
    with pytest.raises(ConfigError, match="too short"):
        workshop.enter("Ada", "12345", workshop.code)
    join(workshop, "Ada")
    with pytest.raises(ConfigError, match="full"):
        join(workshop, "Bob")
    assert [each.name for each in workshop.people()] == ["Ada"]


def test_no_word_lies_on_the_disk_and_nobody_else_reads_the_file(workshop: Workshop) -> None:
    workshop.enter("Ada", "canary-word", workshop.code)
    told = b"".join(path.read_bytes() for path in workshop.workspace.root.rglob("*") if path.is_file())
    assert b"canary-word" not in told
    assert workshop.workspace.workshop.stat().st_mode & 0o077 == 0


def test_taking_it_up_again_keeps_people_and_code_and_changes_limits(workshop: Workshop) -> None:
    ada = workshop.enter("Ada", "secret", workshop.code)
    again = Workshop(workshop.workspace).create({"max_steps": "7"})
    assert (again.code, again.people(), again.limits.max_steps) == (workshop.code, [ada], 7)
    with pytest.raises(ConfigError, match="not a setting"):
        again.create({"steps": "7"})


def test_models_that_the_workshop_has_need_not_be_fetched_by_each(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workshop.workspace.models / "large").mkdir()
    (workshop.workspace.models / "large" / "config.json").write_text("{}")
    own = join(workshop, "Ada")
    assert (own.models / "large" / "config.json").is_file()
    assert (own.models / "large").is_symlink()
    monkeypatch.setenv(WITHIN, os.pathsep.join(map(str, (own.root, workshop.workspace.models))))  # as its page says
    assert may_name(own.models / "large")
    assert not may_name(join(workshop, "Bob").root / "rows.csv")
    assert not may_name(workshop.workspace.workshop)


def test_reset_moves_everybody_aside_and_leaves_models(workshop: Workshop) -> None:
    root = workshop.workspace.root
    (workshop.workspace.models / "kept").mkdir()
    own = join(workshop, "Ada")
    (own.root / "work.txt").write_text("mine")
    with workshop.workspace.claim(), pytest.raises(RunError, match="already works"):
        Workshop(Workspace(root)).reset()
    aside = workshop.reset()
    assert aside is not None
    assert (aside / "people" / own.root.name / "work.txt").read_text() == "mine"
    assert (workshop.workspace.models / "kept").is_dir()
    assert workshop.reset() is None
    assert workshop.create().people() == []


# -- limits -----------------------------------------------------------------------------------------


def test_limits_hold_for_people_of_a_workshop_alone(workspace: Workspace, tiny_config: Make) -> None:
    assert limits_of(workspace) is None
    check_limits(workspace, tiny_config(training={"max_steps": 1_000_000}))
    own = join(Workshop(workspace).create({"max_steps": "3", "disk_gb": "0.001"}), "Ada")
    assert limits_of(own) == Limits(max_steps=3, disk_gb=0.001)
    check_limits(own, tiny_config(training={"max_steps": 3}))
    with pytest.raises(ConfigError, match="at most 3 steps; this one asks for 4"):
        check_limits(own, tiny_config(training={"max_steps": 4}))
    (own.root / "large").write_bytes(bytes(1_000_001))
    with pytest.raises(ConfigError, match="full"):
        check_limits(own)


def test_a_folder_that_is_only_called_people_is_no_workshop(tmp_path: Path) -> None:
    own = Workspace(tmp_path / "people" / "bob").create()
    assert limits_of(own) is None
    assert Turns.of(own) is None
    assert own.device_lock("0").parent == own.root


def test_what_is_too_much() -> None:
    limits = Limits(max_steps=10, minutes=1)
    assert too_much(limits, 9, 59) == ""
    assert "10 steps" in too_much(limits, 10, 0)
    assert "1 minutes" in too_much(limits, 0, 60)


def test_a_run_without_an_end_of_its_own_is_ended_by_the_limit_and_keeps_what_it_learnt(
    workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.jobs.WATCH_SECONDS", 0.2)
    own = join(Workshop(workspace).create({"max_steps": "5"}), "Ada")
    jobs = Jobs(own, Store(own), keep_warm=False)
    jobs.start()
    try:
        run = jobs.submit(tiny_config(training={"max_steps": None, "num_train_epochs": 500}))
        state = wait_for_end(jobs.store, run, 120)
    finally:
        jobs.close()
    assert state.status == "stopped"
    assert 5 <= state.step < 4000
    assert state.saved
    assert any("5 steps a run are up" in note for note in state.notes)
    assert not isinstance(own.run(run).events.read_from()[0][-1], Note)


# -- whose turn it is -------------------------------------------------------------------------------


def test_who_has_had_least_comes_first_and_the_dead_do_not_count(workshop: Workshop) -> None:
    ada, bob, eve = (Turns.of(join(workshop, name)) for name in ("Ada", "Bob", "Eve"))
    assert ada
    assert bob
    assert eve
    ada.tell(True, [])
    bob.tell(True, [])
    assert (ada.ahead(), bob.ahead()) == (0, 1)  # who waits longer
    ada.tell(True, ["0"])
    assert bob.held() == {"0"}
    assert ada.held() == set()
    time.sleep(0.01)
    ada.tell(True, [])
    assert (ada.ahead(), bob.ahead()) == (1, 0)  # who has had less
    bob.tell(False, [])
    assert ada.ahead() == 0
    eve.tell(True, ["1"])
    path = workshop.workspace.turns / next(name for name in os.listdir(workshop.workspace.turns) if "eve" in name)
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "pid": 2**22 - 7}))
    assert ada.held() == set()
    assert len(stands(workshop.workspace)) == 2


def test_a_device_is_promised_once_though_two_queues_look_at_once(
    workshop: Workshop, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = []
    for name in ("Ada", "Bob"):
        own = join(workshop, name)
        queues.append(Jobs(own, Store(own), keep_warm=False, devices=["0"]))
    (ada, a), (bob, b) = ((each, each.submit(tiny_config())) for each in queues)
    assert ada._turns is not None
    assert bob._turns is not None
    ada._turns.tell(True, [])
    assert ada._won(a) == "0"  # Bob has written nothing yet, though he began to wait before Ada
    monkeypatch.setattr("studio.turns.time.time", lambda: 1.0)
    bob._turns.tell(True, [])
    monkeypatch.undo()
    assert bob.ahead() == 0
    assert bob._won(b) == ""
    for each in queues:
        each.close()


def test_what_somebody_had_is_known_to_their_next_studio(workshop: Workshop) -> None:
    own = join(workshop, "Ada")
    first = Turns(own)
    first.tell(False, ["0"])
    time.sleep(0.05)
    first.tell(False, [])
    again = Turns(own)
    again.tell(True, [])
    (stand,) = stands(workshop.workspace).values()
    assert stand.spent >= 0.05
    assert stand.waits


def test_a_damaged_file_of_one_queue_harms_nobody(workshop: Workshop) -> None:
    own = Turns(join(workshop, "Ada"))
    for at, text in enumerate(("", "[]", '{"pid": 1}', '{"pid": 1, "born": 2, "boot": "", "held": 3}')):
        (workshop.workspace.turns / f"x{at}.json").write_text(text)
    own.tell(True, [])
    assert own.ahead() == 0
    assert stands(workshop.workspace).keys() == {own._name}
    assert Stand().had() == 0


def test_one_persons_many_runs_let_anothers_single_one_pass(workshop: Workshop, tiny_config: Make) -> None:
    queues = []
    for name in ("Ada", "Bob"):
        own = join(workshop, name)
        queues.append(Jobs(own, Store(own), keep_warm=False, devices=["0"]))
    ada, bob = queues
    try:
        for each in queues:
            each.start()
        many = [ada.submit(tiny_config(training={"answer_rows": 0, "max_steps": most})) for most in (900, 4, 4)]
        deadline = time.monotonic() + 120
        while ada.store.state(many[0]).status != "training":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        one = bob.submit(tiny_config(training={"answer_rows": 0}))
        while ada.ahead() != 1:  # its first run has begun, so Bob comes before its second
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert payload(ada.store, ada, many[1], 0)["ahead"] == 1
        ada.stop(many[0])
        ended = [wait_for_end(ada.store, run, 120).status for run in many]
        assert ended == ["stopped", "done", "done"]
        assert wait_for_end(bob.store, one, 120).status == "done"
    finally:
        for each in queues:
            each.close()

    def began(queue: Jobs, run: str) -> float:
        events, _ = queue.workspace.run(run).events.read_from()
        return next(event.time for event in events if isinstance(event, Started))

    began_at = [began(ada, run) for run in many]
    assert began_at[0] < began(bob, one) < began_at[1] < began_at[2]
    ends = sorted(
        (began(queue, run), queue.store.state(run).ended) for queue, run in [(bob, one), *((ada, r) for r in many)]
    )
    assert all(end <= begin + 0.5 for (_, end), (begin, _) in pairwise(ends))  # one at a time


# -- seats ------------------------------------------------------------------------------------------


def test_with_one_seat_one_process_answers_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEATS, f"{tmp_path}:1")
    first, second = (Child("tests.holder", tmp_path / f"{each}.log", "It ended.", "Ask again.") for each in "ab")
    answering = first.ask({"slow": True})
    got = threading.Event()

    def other() -> None:
        with seat():
            got.set()

    try:
        next(answering)
        waiting = threading.Thread(target=other)
        waiting.start()
        assert not got.wait(0.5)
        answering.close()
        assert got.wait(20)
        waiting.join()
    finally:
        first.close()
        second.close()


def test_without_seats_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEATS, raising=False)
    with seat(), seat():
        pass


# -- the command line -------------------------------------------------------------------------------


def studio(*arguments: str, word: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tabs._main", "--no-browser", "--port", "0", *arguments],
        capture_output=True, text=True, timeout=60, env={**os.environ, "FINETUNE_STUDIO_WORD": word},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "word", "told"),
    [
        (["--host", "0.0.0.0"], "", "Whoever reaches 0.0.0.0 could use this studio"),
        (["--auth", "me"], "short", "fewer than 6 letters"),
        (["--limit", "max_steps=5"], "", "belongs to --workshop"),
        (["--workshop", "--limit", "max_steps=none"], "", "max_steps"),
        (["--workshop", "--limit", "walls=5"], "", "'walls' is not a setting"),
    ],
)
def test_a_door_that_would_not_close_is_refused(tmp_path: Path, arguments: list[str], word: str, told: str) -> None:
    done = studio(*arguments, "--workspace", str(tmp_path / "w"), word=word)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_reset_from_the_command_line(workshop: Workshop) -> None:
    join(workshop, "Ada")
    root = str(workshop.workspace.root)
    first = studio("reset-workshop", "--workspace", root)
    assert "Everything is in" in first.stdout, first.stderr
    assert "no workshop" in studio("reset-workshop", "--workspace", root).stdout
