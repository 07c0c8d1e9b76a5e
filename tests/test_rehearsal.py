"""A run's first steps, taken for what they show, in a process that may run out of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest

from studio.child import Child, Died, Progress
from studio.cli import main
from studio.config import RunConfig
from studio.errors import RunError, StudioError, explain
from studio.pace import Found, Span, Trial
from studio.rehearsal import Rehearsal, Rehearser, Suited, device_now
from studio.stage import Stage, drawn
from studio.training.batching import EpochSampler
from studio.workspace import RunFolder, Workspace
from tabs import _rehearsal
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

Config = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def processes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def rehearser(workspace: Workspace) -> Iterator[Rehearser]:
    running = Rehearser(workspace)
    yield running
    running.close()


class Listening:
    """Takes events as a run's log does."""

    def append(self, event: Any) -> None:
        pass

    def read_from(self) -> tuple[list[Any], int]:
        return [], 0


@pytest.fixture
def stage(workspace: Workspace, tmp_path: Path) -> Callable[[RunConfig], Stage]:
    """What the process makes ready, here."""

    def make(config: RunConfig) -> Stage:
        return Stage(RunFolder(saved(config, tmp_path / "private")), workspace, 10**12, Listening())

    return make


def saved(config: RunConfig, folder: Path) -> Path:
    folder.mkdir()
    config.settled().save(RunFolder(folder).config)
    return folder


# -- in a process of its own ------------------------------------------------------------------------


def test_it_tells_what_a_run_will_take_and_leaves_nothing(
    rehearser: Rehearser, workspace: Workspace, tiny_config: Config
) -> None:
    config = tiny_config()
    before = config.to_dict()
    *progress, told = rehearser.rehearse(config)
    assert isinstance(told, Rehearsal)
    assert {each.doing for each in progress if isinstance(each, Progress)} >= {
        "Preparing data",
        "Taking steps over the largest batch",
        "Taking some steps of the run",
    }
    assert 50e6 < told.peak < told.free
    assert told.steps == 4
    assert 0 < told.seconds.low < told.seconds.likely < told.seconds.high
    assert told.tokens_per_second > 0
    assert told.disk > 1_000
    assert told.sentence().startswith("Peak ")
    assert list(workspace.runs.iterdir()) == []
    assert not list(workspace.cache.glob("rehearsal-*"))
    assert rehearser.child.pid is None  # its memory is free again
    assert config.to_dict() == before


def test_while_a_run_trains_it_is_refused_and_nobody_waits(
    rehearser: Rehearser, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    with filelock.FileLock(str(workspace.device_lock("0"))):  # as a run that trains holds it
        for replies in (rehearser.rehearse(tiny_config()), rehearser.suit(tiny_config())):
            with pytest.raises(RunError, match="A run is training"):
                list(replies)
        assert rehearser.child.pid is None
        with pytest.raises(RunError, match="A run is training"):  # one that began while the process started
            Stage(RunFolder(saved(tiny_config(), tmp_path / "private")), workspace, 10**12, Listening())
    with device_now(workspace), pytest.raises(filelock.Timeout):
        filelock.FileLock(str(workspace.device_lock("0"))).acquire(timeout=0)
    with device_now(workspace):  # given back
        pass


def test_what_a_run_would_refuse_is_refused(rehearser: Rehearser, tiny_config: Config) -> None:
    with pytest.raises(StudioError, match=r"nowhere\.csv"):
        list(rehearser.rehearse(tiny_config(dataset={"source": "nowhere.csv"})))
    assert rehearser.child.pid is None


def test_the_command_refuses_as_a_run_does(
    workspace: Workspace, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(tiny_config(dataset={"source": "nowhere.csv"}).to_yaml(), encoding="utf-8")
    command = ["--workspace", str(workspace.root), "rehearse", str(path)]
    assert main(lambda *_: None, [*command, "--json"]) == 1
    assert "nowhere.csv" in json.loads(capsys.readouterr().out)["problem"]
    assert main(lambda *_: None, [*command, "--use-machine"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err


@pytest.mark.slow
def test_a_batch_beyond_the_memory_is_caught_and_said(tmp_path: Path, tiny_config: Config) -> None:
    """With a limit of the kernel's, met by torch's own allocator."""
    rows = tmp_path / "long.jsonl"
    rows.write_text("\n".join(json.dumps({"text": "word " * (150 + 3 * i)}) for i in range(8)), encoding="utf-8")
    config = tiny_config(
        dataset={"source": str(rows), "validation_share": 0.0},
        objective={"max_length": 1_000, "packing": False},
        training={"per_device_train_batch_size": 8},
    )
    config.settled().save(tmp_path / "config.json")
    code = f"""
import json, resource
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from studio.errors import StudioError
from studio.stage import Stage
from studio.workspace import RunFolder, Workspace
workspace = Workspace(Path({str(tmp_path / "w")!r})).create()
log = SimpleNamespace(append=lambda event: None, read_from=lambda: ([], 0))
stage = Stage(RunFolder(Path({str(tmp_path)!r})), workspace, 10**12, log)
one = stage.trial(1)
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 10_000_000, -1))
trials = [asdict(each) for each in (one, stage.trial(8), stage.trial(1))]
try:
    stage.rehearse()
except StudioError as error:
    print(json.dumps([trials, error.problem, error.remedy]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    trials, problem, remedy = json.loads(done.stdout.splitlines()[-1])
    assert [Trial(**each).fits for each in trials] == [True, False, True]
    assert problem.startswith("A batch of 8 rows with ")
    assert "Lower 'Batch size'" in remedy
    assert "would cut" not in remedy  # rows are much alike


@pytest.fixture
def dying(workspace: Workspace) -> Iterator[Rehearser]:
    """One whose process is killed over four rows, as Linux does where there is no memory left."""
    rehearser = Rehearser(workspace)
    rehearser.child = Child("tests.dying", workspace.root / "dying.log", "It died.", "Too bad.")
    yield rehearser
    rehearser.close()


def test_a_process_that_is_killed_over_a_batch_counts_as_one_that_does_not_fit(
    dying: Rehearser, tiny_config: Config
) -> None:
    *told, outcome = dying.suit(tiny_config(training={"per_device_train_batch_size": 8}), limit=10**9)
    assert isinstance(outcome, Suited)
    assert [(each.rows, each.fits) for each in told if isinstance(each, Trial)] == [(1, True), (2, True), (4, False)]
    assert (outcome.rows, outcome.accumulation, outcome.found.why) == (2, 4, "memory")
    assert "Batches of 2, 4 of them an update" in outcome.sentence()


def test_cancelling_ends_it_whatever_it_is_about(dying: Rehearser, workspace: Workspace, tiny_config: Config) -> None:
    replies = dying.suit(tiny_config(training={"per_device_train_batch_size": 3}), limit=10**9, token="mine")
    while not isinstance(next(replies), Trial):
        pass  # of one row
    next(replies)  # three rows, over which it takes for ever
    with pytest.raises(RunError, match="Another run is being rehearsed"):
        next(dying.rehearse(tiny_config(), token="yours"))
    dying.cancel("yours")
    assert dying.child.pid is not None
    threading.Timer(0.2, dying.cancel, ["mine"]).start()
    asked = time.monotonic()
    assert list(replies) == []
    assert time.monotonic() - asked < 10
    assert dying.child.pid is None
    assert not list(workspace.cache.glob("rehearsal-*"))


def test_a_cancel_before_there_is_a_process_is_not_lost(dying: Rehearser, tiny_config: Config) -> None:
    replies = dying.suit(tiny_config(), limit=10**9, token="mine")
    next(replies)
    dying.cancel("mine")
    assert list(replies) == []
    assert dying.child.pid is None
    *_, outcome = dying.suit(tiny_config(), limit=10**9, token="next")
    assert isinstance(outcome, Suited)


def test_where_larger_updates_are_welcome_more_sizes_are_tried(dying: Rehearser, tiny_config: Config) -> None:
    replies = dying.suit(tiny_config(training={"per_device_train_batch_size": 2}), larger=True, limit=10**9)
    tried = list(islice((each for each in replies if isinstance(each, Trial)), 3))
    assert [(each.rows, each.fits) for each in tried] == [(1, True), (2, True), (4, False)]  # two were all of an update


def test_a_rehearsal_whose_process_is_killed_says_so(dying: Rehearser, tiny_config: Config) -> None:
    with pytest.raises(Died, match="It died"):
        list(dying.rehearse(tiny_config()))
    *_, outcome = dying.suit(tiny_config(), limit=10**9)  # and the next is answered
    assert isinstance(outcome, Suited)


# -- what it is made of -----------------------------------------------------------------------------


def test_torch_without_memory_is_explained() -> None:
    told = explain(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."))
    assert told.problem == "The machine ran out of memory."


def test_batches_are_those_that_the_run_will_draw() -> None:
    lengths = [5, 1, 9, 2, 8, 3]
    sampler = EpochSampler(lengths, 2, 7, grouped=False)
    batches = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        order = list(sampler)
        batches += [order[at : at + 2] for at in range(0, 6, 2)]
    weights = [sum(lengths[row] for row in batch) for batch in batches]
    assert drawn(sampler, lengths, 2, 6, padded=False) == (batches[weights.index(max(weights))], sum(weights))
    assert drawn(sampler, lengths, 2, 4, padded=False)[1] == sum(weights[:4])
    heaviest, _ = drawn(sampler, lengths, 2, 6, padded=True)
    assert 2 in heaviest  # padding makes a batch as heavy as its longest row


@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # of prompts that are learnt
@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"gradient_accumulation_steps": 3}},
        {"objective": {"name": "next_token", "max_length": 32, "loss_on": "everything"}},
        {"method": "prompt"},
    ],
    ids=["accumulation", "packed", "padded"],
)
def test_runs_of_many_kinds_are_rehearsed(
    stage: Callable[[RunConfig], Stage], tiny_config: Config, changes: dict[str, Any]
) -> None:
    told = stage(tiny_config(**changes)).rehearse()
    assert 0 < told["seconds"]["low"] <= told["seconds"]["likely"]
    assert told["peak"] > 0


def test_a_batch_that_took_more_than_it_may_does_not_fit_even_if_nothing_failed(
    stage: Callable[[RunConfig], Stage], tiny_config: Config
) -> None:
    ready = stage(tiny_config())
    assert ready.trial(1).fits
    ready.limit = 10**6
    over = ready.trial(1)
    assert not over.fits
    assert over.memory > 10**6


# -- the page ---------------------------------------------------------------------------------------


def test_the_page_shows_it_and_takes_the_batch(dying: Rehearser, tiny_config: Config) -> None:
    page: Any = SimpleNamespace(rehearser=dying)
    config = tiny_config(training={"per_device_train_batch_size": 8})
    *_, (html, batch) = _rehearsal.suited(page, config, "mine", larger=False)
    assert batch is not None
    assert batch == (2, 4)
    assert "does not fit" in html
    taken = _rehearsal.with_batch(config, batch).training
    assert (taken.per_device_train_batch_size, taken.gradient_accumulation_steps) == (2, 4)
    *_, (html, again) = _rehearsal.suited(page, _rehearsal.with_batch(config, batch), "mine", larger=False)
    assert again is None
    assert "what the form says already" in html


def test_after_a_fault_the_buttons_are_there_again(dying: Rehearser, tiny_config: Config) -> None:
    page: Any = SimpleNamespace(rehearser=dying)
    seen, config = [], tiny_config()
    told = ((html, None) for html in _rehearsal.rehearsed(page, config, "mine"))
    with pytest.raises(Died):
        seen.extend(_rehearsal._framed(config, "mine", told))
    assert seen[0][2] == "mine"  # what Cancel, which appears then, will name
    assert seen[0][5].visible
    html, outcome, token, once, suit, cancel, take, undo = seen[-1]
    assert (html, outcome, token) == ("", None, None)
    assert (once.interactive, suit.interactive) == (True, True)
    assert (cancel.visible, take.visible, undo.visible) == (False, False, False)


def test_an_outcome_is_seen_beside_the_form_it_belongs_to(tiny_config: Config) -> None:
    asked, other = tiny_config(training={"per_device_train_batch_size": 8}), tiny_config(method="dora")

    def seen(config: RunConfig | None, batch: tuple[int, int] | None = (2, 4)) -> tuple[str, bool, bool]:
        html, take, undo = _rehearsal.following(_rehearsal.Outcome(asked, "fast", batch), config)
        return html, take.visible, undo.visible

    taken = _rehearsal.with_batch(asked, (2, 4))
    assert seen(asked) == ("fast", True, False)
    assert seen(taken) == ("fast", False, True)
    assert seen(other) == seen(_rehearsal.with_batch(other, (2, 4))) == seen(None) == ("", False, False)
    assert seen(asked, None) == ("fast", False, False)
    assert _rehearsal.with_batch(taken, _rehearsal.batch_of(asked)) == asked  # as undo does, the rest left alone
    assert all(isinstance(each, dict) for each in _rehearsal.following(None, asked))  # nothing is touched


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ((17.2, 18, 19.1), "17–19 s"),
        ((1020, 1080, 1140), "17–19 min"),
        ((5, 6, 7.25), "5.0–7.2 s"),
        ((9e3, 1e4, 1.1e4), "2.5–3.1 h"),
    ],
)
def test_it_is_said_in_words(span: tuple[float, float, float], said: str) -> None:
    told = Rehearsal("cpu", 2_100_000_000, 23_000_000_000, 3.4, 350.2, 300, Span(*span), 12_300_000)
    assert told.sentence() == (
        f"Peak 2.1 GB of 23.0 GB free; 3.4 s a step, 350 tokens/s; 300 steps take {said}; 12 MB on disk."
    )


def test_what_stopped_the_growth_is_said() -> None:
    best = Trial(4, 900, 2_000_000_000, 2.0)
    told = Suited(Found([best], best, "speed"), 4, 2, 10**10, "update").sentence()
    assert told.startswith("Batches of 4, 2 of them an update: 450 tokens/s at 2.0 GB; larger ones learn no more")
    ends: dict[Any, str] = {"update": "what an update sees", "data": "have no rows", "most": "were not tried"}
    for end, said in ends.items():
        assert said in Suited(Found([best], best, "rows"), 4, 2, 10**10, end).sentence()
