"""Searches: ranges follow from the settings, each run is proposed from how those before it did, the budget is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio import bakeoff, search
from studio.config import RunConfig
from studio.errors import ConfigError, RunError
from studio.events import Done, EvalDone, Failed, Paused, Phase, Queued, Started, StepDone
from studio.jobs import Jobs
from studio.methods import methods
from studio.processes import Identity
from studio.search import Budget, Search, Trial
from studio.searcher import Searches
from studio.space import Dimension, Space, dimensions, offered, with_values
from studio.store import Store
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]
RATE = "training.learning_rate"
QUICK = {"max_steps": 4, "eval_steps": 1, "eval_rows": 4}


class Clock:
    """Tells the time it was told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def waiting(workspace: Workspace) -> Searches:
    """Searches whose runs never start."""
    return Searches(Jobs(workspace, Store(workspace), keep_warm=False))


def members(searches: Searches, search_id: str) -> list[Trial]:
    return search.trials(searches.store, search.find(searches.workspace, search_id))


def pretend(folder: RunFolder, losses: list[float], *, done: bool = True) -> None:
    """What a worker tells of a run whose held-out losses are these."""
    folder.events.append(Phase(name="Training", total=9))
    for step, loss in enumerate(losses, 1):
        folder.events.append(StepDone(step=step, total_steps=9, seconds=1.0, tokens=1, metrics={"loss": loss}))
        folder.events.append(EvalDone(step=step, metrics={"eval_loss": loss}))
    if done:
        folder.events.append(Done())
    folder.events.close()


def through(searches: Searches, search_id: str, until: Callable[[Search], bool], seconds: float = 120) -> Search:
    """Look again and again, as the thread does, until the search is as wanted."""
    deadline = time.monotonic() + seconds
    while not until(found := search.find(searches.workspace, search_id)):
        assert time.monotonic() < deadline, members(searches, search_id)
        searches.look()
        time.sleep(0.05)
    return found


# -- what can be searched --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_range_offered_is_one_its_setting_allows(name: str) -> None:
    base = RunConfig.parse({"method": name})
    found = offered(base)
    for key, dimension in found.items():
        assert dimension.choices or dimension.low < dimension.high, key
        for value in dimension.choices or (dimension.low, dimension.high):
            with_values(base.to_dict(), {key: value})
        dimension.distribution()
    assert RATE in found
    assert not found.keys() & {"training.max_steps", "training.eval_rows", "training.save_steps", "method.rank_pattern"}


def test_ranges_of_more_than_two_decades_are_searched_by_their_logarithm() -> None:
    found = offered(RunConfig.parse({}))
    assert {key for key, each in found.items() if each.log} == {RATE, "method.r", "method.lora_alpha",
                                                                "method.loraplus_lr_ratio"}  # fmt: skip
    [narrow] = dimensions(RunConfig.parse({}), {RATE: [1e-4, 2e-4]}).values()
    assert narrow.log  # whatever is left of it


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "No setting"),
        ({"training.max_steps": [1, 2]}, "cannot be searched"),
        ({"seed": [1, 2]}, "cannot be searched"),
        ({RATE: [1e-3, 1e-4]}, "lower one first"),
        ({RATE: [1e-3]}, "two numbers"),
        ({RATE: ["a", "b"]}, "two numbers"),
        ({RATE: [float("nan"), 1]}, "two numbers"),
        ({RATE: [1e-3, 7]}, "less than or equal to 1"),
        ({RATE: [0, 0.1]}, "greater than 0"),
        ({"method.r": [1.5, 4]}, "whole numbers"),
        ({"method.r": [4, 200]}, "only 32 wide"),  # of the model's layers
        ({"method.use_dora": [True]}, "nothing to choose between"),
        ({"training.lr_scheduler_type": ["linear", "wrong"]}, "nothing to choose between"),
    ],
)
def test_a_wrong_range_is_refused_in_a_sentence(waiting: Searches, tiny_config: Make, space: Space, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        waiting.begin(tiny_config(), space, Budget())
    assert search.searches(waiting.workspace) == []


def test_a_search_without_held_out_rows_or_answers_is_refused(waiting: Searches, tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match="No rows are held out"):
        waiting.begin(tiny_config(dataset={"validation_share": 0}), {RATE: [1e-4, 1e-3]}, Budget())
    unanswered = tiny_config(training={"answer_rows": 0})
    with pytest.raises(ConfigError, match="needs answers"):
        waiting.begin(unanswered, {RATE: [1e-4, 1e-3]}, Budget(goal="score"))


# -- what is tried next ----------------------------------------------------------------------------------


def trial(rate: float, losses: list[float], *, status: str = "done") -> Trial:
    value = losses[-1] if status == "done" else None
    return Trial("run", {RATE: rate}, status, value, tuple(losses), "", 1.0, 0.0)


def asked(tiny_config: Make, **budget: Any) -> Search:
    base = tiny_config(training={"learning_rate": 1e-3}).to_dict()
    return Search(id="search-x", base=base, space={RATE: [1e-5, 1e-1]}, budget=Budget(**budget))


def test_the_first_is_the_base_and_the_rest_follow_from_what_came_of_it(tiny_config: Make) -> None:
    wanted = asked(tiny_config)
    assert search.propose(wanted, []) == {RATE: 1e-3}
    found = [trial(10.0**-power, [abs(power - 2.0)]) for power in (1, 1.5, 2, 2.2, 3, 3.5, 4, 5)]  # best at 1e-2
    again = [search.propose(wanted, found) for _ in range(2)]
    assert again[0] == again[1]
    near = [search.propose(asked(tiny_config, seed=seed), found) for seed in range(20)]
    assert sum(3e-3 < each[RATE] < 4e-2 for each in near if each) > 12  # of four decades, one


def test_nothing_is_tried_twice(tiny_config: Make) -> None:
    wanted = asked(tiny_config).model_copy(update={"space": {"method.use_dora": [False, True]}})
    one = Trial("a", {"method.use_dora": False}, "done", 1.0, (1.0,), "", 1.0, 0.0)
    other = Trial("b", {"method.use_dora": True}, "done", 2.0, (2.0,), "", 1.0, 1.0)
    assert search.propose(wanted, [one]) == {"method.use_dora": True}
    assert search.propose(wanted, [one, other]) is None


@pytest.mark.parametrize("goal", ["eval_loss", "score"])
def test_what_is_worse_than_the_median_at_the_same_evaluation_is_hopeless(tiny_config: Make, goal: str) -> None:
    wanted = asked(tiny_config, goal=goal)
    done = [trial(0.01, [3, 1]), trial(0.02, [4, 2]), trial(0.03, [5, 3])]
    bad, fair = trial(0.04, [4.5], status="training"), trial(0.04, [3.5], status="training")
    assert "4.5 at best, is above 4" in search.hopeless(wanted, bad, [*done, bad])
    assert search.hopeless(wanted, fair, [*done, fair]) == ""
    assert search.hopeless(wanted, bad, [*done[:2], bad]) == ""  # too few to tell
    assert search.hopeless(wanted, trial(0.04, [9], status="finishing"), done) == ""  # saved at any moment


def test_the_setting_that_decides_is_told_from_the_one_that_does_not(tiny_config: Make) -> None:
    space: Space = {RATE: [1e-5, 1e-1], "method.r": [1, 64]}
    wanted = asked(tiny_config).model_copy(update={"space": space})
    found = [
        Trial("", {RATE: 10.0**-power, "method.r": rank}, "done", power, (power,), "", 1.0, 0.0)
        for power in (1.0, 2.0, 3.0, 4.0)
        for rank in (2, 8, 32)
    ]
    told = search.importances(wanted, found)
    assert told[RATE] > 0.8
    assert sum(told.values()) == pytest.approx(1)
    assert search.importances(wanted, found[:5]) == {}


# -- how it goes on --------------------------------------------------------------------------------------


def test_a_search_finds_the_better_rate_with_real_runs(jobs: Jobs, tiny_config: Make) -> None:
    searches = Searches(jobs)
    base = tiny_config(training={**QUICK, "learning_rate": 1e-5})
    search_id = searches.begin(base, {RATE: [1e-5, 1e-2]}, Budget(runs=2))
    with pytest.raises(RunError, match="under way already"):
        searches.begin(base, {RATE: [1e-5, 1e-2]}, Budget(runs=2))
    ended = through(searches, search_id, lambda each: not each.active)
    found = members(searches, search_id)
    assert [each.status for each in found] == ["done"] * 2, found
    assert ended.why == "All 2 runs have ended."
    assert found[0].params == {RATE: 1e-5}  # as the form has it
    top = search.best(ended, found)
    assert top
    assert top.value == min(each.losses[-1] for each in found)
    assert top.params[RATE] > 1e-5
    titles = [state.title for state in bakeoff.members(jobs.store, search_id)]
    assert [title.rpartition(" · ")[2] for title in titles] == [f"search {at} of 2" for at in (1, 2)]
    assert bakeoff.comparisons(jobs.store) == []  # it is none
    assert search.find(jobs.workspace, search_id).base == base.settled().to_dict() | {
        "dataset": ended.base["dataset"]
    }  # nothing of the search is in it
    searches.begin(base, {RATE: [1e-5, 1e-2]}, Budget(runs=3))  # its place is free


def test_a_hopeless_run_is_ended_and_says_why(jobs: Jobs, tiny_config: Make) -> None:
    searches = Searches(jobs)
    base = tiny_config(training={**QUICK, "max_steps": 20_000, "learning_rate": 0.5})
    search_id = searches.begin(base, {RATE: [0.5, 1]}, Budget(runs=4))
    for losses in ([0.1] * 4, [0.2] * 4, [0.3] * 4):  # of three good runs that were before it
        folder = jobs.workspace.new_run("lora")
        RunConfig.parse({**base.to_dict(), "comparison": search_id}).save(folder.config)
        folder.events.append(Queued())
        pretend(folder, losses)
    ended = through(searches, search_id, lambda each: not each.active)
    [pruned] = [each for each in members(searches, search_id) if each.status == "pruned"]
    assert "the median of the runs before it" in pruned.reason
    assert pruned.reason in jobs.store.state(pruned.run).notes
    assert jobs.store.state(pruned.run).step < 20_000
    assert ended.why == "All 4 runs have ended."


def test_a_new_server_goes_on_with_what_the_old_one_began(waiting: Searches, tiny_config: Make) -> None:
    search_id = waiting.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget(runs=3, seed=5))
    waiting.look()
    [first] = members(waiting, search_id)
    pretend(waiting.workspace.run(first.run), [2.0, 1.0])
    waiting.look()
    second = members(waiting, search_id)[1]

    fresh = Searches(Jobs(waiting.workspace, Store(waiting.workspace), keep_warm=False))
    fresh.recover()
    fresh.look()
    assert [each.run for each in members(fresh, search_id)] == [first.run, second.run]  # no third beside the second
    with pytest.raises(RunError, match="under way already"):
        fresh.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget())
    pretend(fresh.workspace.run(second.run), [2.0, 1.5])
    fresh.look()
    third = members(fresh, search_id)[2]
    wanted = search.find(fresh.workspace, search_id)
    assert third.params == search.propose(wanted, members(fresh, search_id)[:2])  # as the old one would have


def test_the_minutes_are_kept_and_rest_with_the_search(workspace: Workspace, tiny_config: Make) -> None:
    clock = Clock()
    searches = Searches(Jobs(workspace, Store(workspace), keep_warm=False), clock)
    search_id = searches.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget(runs=9, minutes=2))
    clock.seconds = 60
    searches.look()
    searches.stop(search_id)
    [first] = members(searches, search_id)
    assert first.status == "paused"
    clock.seconds = 100_000
    searches.look()  # which does nothing
    searches.resume(search_id)
    searches.look()
    assert members(searches, search_id)[0].status == "queued"
    clock.seconds += 59
    searches.look()
    assert search.find(workspace, search_id).active
    clock.seconds += 1
    searches.look()
    ended = search.find(workspace, search_id)
    assert (ended.active, ended.why) == (False, "Its 2 minutes are over.")
    [late] = members(searches, search_id)
    assert late.status == "pruned"
    assert "2 minutes were over" in late.reason
    with pytest.raises(ConfigError, match="spent its budget"):
        searches.resume(search_id)


def test_failures_count_and_three_in_a_row_end_it(waiting: Searches, tiny_config: Make) -> None:
    search_id = waiting.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget(runs=9))
    for broken in (True, True, False, True, True, True):
        assert search.find(waiting.workspace, search_id).active
        waiting.look()
        folder = waiting.workspace.run(members(waiting, search_id)[-1].run)
        pretend(folder, [] if broken else [1.0], done=not broken)
        if broken:
            folder.events.append(Failed(problem="It broke.", remedy="Mend it."))
    waiting.look()
    ended = search.find(waiting.workspace, search_id)
    assert (ended.active, ended.why) == (False, "3 runs in a row could not be done. It broke.")
    assert len(members(waiting, search_id)) == 6


def test_what_cannot_be_started_counts_as_a_failure(waiting: Searches, tiny_config: Make, rows_file: Path) -> None:
    search_id = waiting.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget(runs=9))
    rows_file.unlink()
    for _ in range(4):
        waiting.look()
    found = members(waiting, search_id)
    assert [each.status for each in found] == ["refused"] * 3
    assert "There is no data set or file" in found[0].reason
    assert search.find(waiting.workspace, search_id).why.startswith("3 runs in a row could not be done. ")
    assert waiting.store.states() == []


def test_a_damaged_file_is_passed_over(waiting: Searches, tiny_config: Make) -> None:
    search_id = waiting.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget())
    path = waiting.workspace.searches / f"{search_id}.json"
    (path.parent / "search-00000000-000000-0000.json").write_text("{")
    assert [key for _, key in search.searches(waiting.workspace)] == [search_id]
    for hostile in ("search-00000000-000000-0000", "../../etc/passwd", ""):
        with pytest.raises(RunError, match="no such search"):
            search.find(waiting.workspace, hostile)
    assert json.loads(path.read_text())["active"] is True
    assert isinstance(offered(tiny_config())[RATE], Dimension)


def test_a_run_that_is_still_coming_to_rest_goes_on_with_its_search(waiting: Searches, tiny_config: Make) -> None:
    search_id = waiting.begin(tiny_config(), {RATE: [1e-5, 1e-2]}, Budget(runs=2))
    waiting.look()
    waiting = Searches(Jobs(waiting.workspace, Store(waiting.workspace), keep_warm=False))  # whose run is at work
    waiting.recover()
    [first] = members(waiting, search_id)
    folder, me = waiting.workspace.run(first.run), Identity.of(psutil.Process())
    waiting.stop(search_id)
    waiting.resume(search_id)
    waiting.look()
    folder.events.append(Started(**asdict(me)))
    assert members(waiting, search_id)[0].status == "pausing"
    waiting.look()
    folder.events.append(Paused(step=0))
    waiting.look()
    assert members(waiting, search_id)[0].status == "queued"
    assert len(members(waiting, search_id)) == 1
    assert not folder.pause_flag.exists()
