"""The search: every strategy finds what is better, within its budget, and goes on where it was left."""

from __future__ import annotations

import math
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.errors import DatasetError, RewardError, RunError
from studio.optimiser import AT_ONCE, Optimiser
from studio.parts import FINALISTS, Parts, parts
from studio.prompt import ROW, Demonstration
from studio.prompts import Spent, strategies
from studio.rewards import Answered, Scores
from studio.study import Study, StudySettings, begin, look_up
from studio.workspace import Workspace
from tests.coached import Coached, right, rows, write_rows

OWN = ["random_examples", "halving", "operators"]  # those that need no other model
SIZES = {"pool_rows": 40, "search_rows": 16, "select_rows": 12, "sealed_rows": 40}
RESERVE = FINALISTS * SIZES["select_rows"] + 2 * SIZES["sealed_rows"]


Goal = Callable[[Sequence[Answered]], Scores]


class Left(Exception):
    """Somebody closed the page."""


class Search:
    """A study, what it is about, and those who answer."""

    def __init__(self, workspace: Workspace, source: str, **changes: Any) -> None:
        chosen = {"model": "tiny", "dataset": {"source": source}, "rewards": {"exact": {}}, **SIZES, **changes}
        self.workspace = workspace
        self.study = begin(workspace, StudySettings.parse(chosen))
        self.rows: Parts = parts(workspace, self.study.settings)
        self.speaker = Coached(rows())

    def run(self, goal: Goal = right, **how: Any) -> Study:
        """From what is on disk."""
        self.study = look_up(self.workspace, self.study.binder.name)
        Optimiser(self.study, self.rows, self.speaker, goal, nobody, **how).run()
        return self.study

    def scored(self) -> list[dict[str, Any]]:
        """All that was told of prompts, times aside."""
        steps = [{key: each for key, each in step.items() if key != "took"} for step in self.study.binder]
        return [step for step in steps if "seconds" not in step]


Begin = Callable[..., Search]


def nobody(asked: Any, look: Any) -> str:
    raise AssertionError("no other model is there")


@pytest.fixture
def search(workspace: Workspace, tmp_path: Path) -> Begin:
    source = write_rows(tmp_path / "things.jsonl", rows())
    return lambda strategy="halving", **changes: Search(workspace, source, strategy=strategy, **changes)


def test_every_strategy_says_what_it_is() -> None:
    assert set(OWN) <= set(strategies())
    for each in strategies().values():
        assert each.title
        assert each.about
        assert each.__doc__


# -- what is found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", OWN)
def test_it_finds_a_prompt_that_is_better_on_rows_it_never_saw(search: Begin, strategy: str) -> None:
    found = search(strategy)
    study = found.run()
    assert study.end == "It tried all that its strategy had to try."
    assert study.verdict
    assert study.verdict.gained
    assert study.best
    shown = study.best.prompt.demonstrations
    assert sum("golden" in each.fields[ROW] for each in shown) >= 2


@pytest.mark.parametrize("strategy", OWN)
def test_the_same_seed_tries_the_same_and_another_something_else(search: Begin, strategy: str) -> None:
    tried = [search(strategy, seed=seed).run().tried.keys() for seed in (3, 3, 4)]
    assert tried[0] == tried[1] != tried[2]


@pytest.mark.parametrize("strategy", OWN)
def test_what_is_shown_comes_from_the_pool_alone(search: Begin, strategy: str) -> None:
    found = search(strategy)
    pool = [Demonstration(fields=each.fields, answer=each.answer) for each in found.rows.pool]
    tried = found.run().tried.values()
    assert any(each.prompt.demonstrations for each in tried)
    assert all(shown in pool for each in tried for shown in each.prompt.demonstrations)


def test_rows_that_are_far_longer_than_others_are_not_shown(search: Begin, tmp_path: Path) -> None:
    long = [{**each, "prompt": each["prompt"] * (1 if place % 3 else 20)} for place, each in enumerate(rows())]
    found = search(dataset={"source": write_rows(tmp_path / "long.jsonl", long)})
    pool = [len(each.fields[ROW]) for each in found.rows.pool]
    shown = [len(each.fields[ROW]) for one in found.run().tried.values() for each in one.prompt.demonstrations]
    assert max(shown) <= 2 * sorted(pool)[len(pool) // 2]


def test_halving_asks_all_the_same_few_rows_and_the_better_half_more(search: Begin) -> None:
    found = search({"name": "halving", "sets": 12, "shots": 4, "few": 4}, guide="goal")
    study = found.run()
    seen = [frozenset(each.on("search", "goal")) for key, each in study.tried.items() if key != study.start.key]
    assert Counter(map(len, seen)) == {4: 6, 8: 3, 16: 3}
    assert len(set(seen)) == 3
    few, more, every = sorted(set(seen), key=len)
    assert few < more < every


def test_an_instruction_is_changed_while_that_helps(search: Begin) -> None:
    found = search({"name": "operators", "sets": 0})
    found.speaker = Coached(rows(), tells=["Read carefully", "as briefly as"])
    best = found.run().best
    assert best
    assert not best.prompt.demonstrations
    assert "Read carefully" in best.prompt.system
    assert "as briefly as" in best.prompt.system


def test_a_change_that_would_be_too_long_is_left_out(search: Begin) -> None:
    system, asked = (" ".join(f"{words} {place}." for place in range(1_000)) for words in ("Be brief", "So it is"))
    long = {"system": system, "template": f"{{row}} {asked}"}
    found = search({"name": "operators", "sets": 0}, prompt=long)
    found.speaker = Coached(rows(), window=10**6)
    study = found.run()
    assert 2 < len(study.tried) < 40  # and not each of 2,000 sentences is tried
    assert look_up(found.workspace, study.binder.name).tried.keys() == study.tried.keys()


def test_a_sentence_that_harms_is_left_out(search: Begin) -> None:
    found = search({"name": "operators", "sets": 0}, prompt={"system": "You are wise. Be silly. Be kind."})
    skill = found.speaker._skill
    found.speaker._skill = lambda messages: skill(messages) + 0.5 * ("silly" not in messages[0]["content"])
    best = found.run().best
    assert best
    assert best.prompt.system.startswith("You are wise.")
    assert "silly" not in best.prompt.system
    assert best.prompt.system.count("Be kind.") == 1


@pytest.mark.parametrize("strategy", OWN)
def test_where_nothing_helps_the_first_prompt_stays(search: Begin, strategy: str) -> None:
    found = search(strategy)
    found.speaker = Coached([{**each, "completion": "no idea"} for each in rows()])
    found.speaker._skill = lambda messages: 0.5 - 0.01 * len(messages)  # pyright: ignore
    study = found.run()
    assert study.best
    assert study.best.prompt == study.start
    assert study.verdict
    assert not study.verdict.changed


# -- sealed rows -------------------------------------------------------------------------------------------


def test_sealed_rows_are_asked_last_and_only_by_the_first_and_the_best_prompt(search: Begin) -> None:
    found = search()
    study = found.run()
    sealed = {each.fields[ROW] for each in found.rows.sealed}
    asked = [said[-1] in sealed for _, said in found.speaker.asked]
    assert sum(asked) == 2 * len(sealed)
    assert all(asked[asked.index(True) :])
    assert {key for key, each in study.tried.items() if each.on("sealed", "goal")} == {
        study.start.key,
        study.best.prompt.key if study.best else "",
    }


# -- going on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", OWN)
def test_left_again_and_again_it_comes_to_the_same_and_asks_nothing_twice(search: Begin, strategy: str) -> None:
    straight = search(strategy)
    straight.run()
    found, times = search(strategy), 0
    while not found.study.end:
        told: Iterator[int] = iter(range(5))

        def leave(*_: Any, told: Iterator[int] = told) -> None:
            if next(told, None) is None:
                raise Left

        try:
            found.run(tell=leave)
        except Left:
            times += 1
    assert times > 5
    assert found.scored() == straight.scored()
    assert found.speaker.asked == straight.speaker.asked
    assert max(Counter(found.speaker.asked).values()) == 1
    found.run()
    assert len(found.speaker.asked) == len(straight.speaker.asked)  # what has ended asks no more


def test_stopped_it_goes_on_to_decide_and_never_searches_again(search: Begin) -> None:
    """Else a search could go on with what the sealed rows said."""
    found = search()
    calls = SIZES["search_rows"] + SIZES["select_rows"] + 3 * 4

    def leave(doing: str, *_: Any) -> None:
        if doing == "Opening the sealed rows":
            raise Left

    with pytest.raises(Left):
        found.run(tell=leave, stop=lambda: found.study.calls >= calls)
    tried = len(found.study.tried)
    study = found.run()
    assert study.end == "It was stopped."
    assert len(study.tried) == tried
    assert study.verdict


def test_other_rows_than_those_it_began_with_are_refused(search: Begin, tmp_path: Path) -> None:
    found = search()
    write_rows(tmp_path / "things.jsonl", rows(seed=1))
    found.rows = parts(found.workspace, found.study.settings)
    with pytest.raises(DatasetError, match="not those that the search began with"):
        found.run()


# -- the budget --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", OWN)
@pytest.mark.parametrize("calls", [145, 150, 200, 301])
def test_its_calls_are_never_exceeded_and_enough_are_kept_for_the_end(search: Begin, strategy: str, calls: int) -> None:
    found = search(strategy, calls=calls)
    study = found.run()
    assert len(found.speaker.asked) == study.calls <= calls
    assert study.end == f"Its {calls} calls are used up."
    assert study.verdict
    assert study.verdict.rows == SIZES["sealed_rows"]
    assert study.calls >= calls - RESERVE - AT_ONCE


def test_its_minutes_end_it_with_what_it_has(search: Begin) -> None:
    study = search(minutes=1e-6).run()
    assert study.end.startswith("Of its 1e-06 minutes none are left to search in")
    assert study.verdict
    assert not study.verdict.changed


def test_a_stop_keeps_the_best_so_far(search: Begin) -> None:
    """After one look at a few rows by some of the sets."""
    found = search()
    calls = SIZES["search_rows"] + SIZES["select_rows"] + 10 * 4
    study = found.run(stop=lambda: found.study.calls >= calls)
    assert study.end == "It was stopped."
    assert len(study.tried) == 1 + 10
    assert study.best
    assert len(study.best.prompt.demonstrations) > 1
    assert study.verdict
    assert study.verdict.gained


def test_a_strategy_may_say_that_it_is_enough(search: Begin) -> None:
    class Weary(Coached):
        def likelihoods(self, asked: Any, answers: Any) -> Any:
            if len(self.asked) > 60:
                raise Spent("It is weary.")
            return super().likelihoods(asked, answers)

    found = search()
    found.speaker = Weary(rows())
    assert found.run().end == "It is weary."


# -- what goes wrong ---------------------------------------------------------------------------------------


def test_a_prompt_that_does_not_fit_counts_as_bad_and_the_search_goes_on(search: Begin) -> None:
    found = search()
    found.speaker = Coached(rows(), window=220)  # of characters: three examples
    study = found.run()
    assert study.verdict
    assert study.best
    assert 1 <= len(study.best.prompt.demonstrations) <= 3
    assert any(
        one.prompt_tokens == 0 for each in study.tried.values() for one in each.on("search", "likelihood").values()
    )


def test_where_no_row_fits_it_says_so_at_once(search: Begin) -> None:
    found = search()
    found.speaker = Coached(rows(), window=20)
    with pytest.raises(DatasetError, match="None of the 16 rows to search on fits into what tiny reads"):
        found.run()
    assert len(found.speaker.asked) == SIZES["search_rows"]


class Fussy:
    """A reward that fails once it has scored so many rows, for so many times."""

    def __init__(self, after: int, times: int) -> None:
        self.after, self.times = after, times

    def __call__(self, answers: Sequence[Answered]) -> Scores:
        self.after -= len(answers)
        if self.after < 0 < self.times:
            self.times -= 1
            raise RewardError("The pattern took over 2 seconds.", remedy="Write another.")
        return right(answers)


def test_a_reward_that_fails_ends_the_search_with_what_it_has(search: Begin) -> None:
    found = search(guide="goal")
    study = found.run(goal=Fussy(SIZES["search_rows"] + SIZES["select_rows"] + 10 * 4, 1))
    assert study.end.startswith("The pattern took over 2 seconds.")
    assert len(study.tried) == 1 + 10
    assert study.verdict
    assert study.verdict.gained


def test_a_finalist_whose_answers_cannot_be_scored_is_not_chosen(search: Begin) -> None:
    whole = search()
    favourite = whole.run().finalists()[0]
    study = search().run(goal=Fussy(SIZES["select_rows"], 1))
    assert study.finalists()[0].prompt == favourite.prompt
    assert not study.finalists()[0].on("select", "goal")
    assert study.best
    assert study.best.prompt in [each.prompt for each in study.finalists()[1:]]


def test_where_no_finalist_can_be_scored_the_first_prompt_stays(search: Begin) -> None:
    study = search().run(goal=Fussy(SIZES["select_rows"], 3))
    assert study.end
    assert study.best
    assert study.best.prompt == study.start
    assert study.verdict
    assert not study.verdict.changed


def test_a_reward_that_fails_on_sealed_rows_ends_it_without_a_verdict(search: Begin) -> None:
    goal = Fussy(SIZES["select_rows"] * (1 + FINALISTS), 2)
    study = search().run(goal=goal)
    assert study.end
    assert study.verdict is None


def test_a_reward_that_fails_on_the_first_prompt_ends_it_at_once(search: Begin) -> None:
    found = search()
    with pytest.raises(RewardError, match="over 2 seconds"):
        found.run(goal=Fussy(0, 1))
    assert not found.study.end


def test_a_likelihood_that_is_no_number_is_a_bad_one(search: Begin) -> None:
    found = search()
    good = found.speaker._likely
    found.speaker._likely = lambda messages: (good(messages)[0] if len(messages) == 1 else float("nan"), 10)
    study = found.run()
    scores = [one.score for each in study.tried.values() for one in each.on("search", "likelihood").values()]
    assert all(map(math.isfinite, scores))
    assert study.best
    assert study.best.prompt == study.start


def test_a_full_disk_ends_it_in_a_sentence_and_it_goes_on_later(search: Begin) -> None:
    straight = search()
    straight.run()
    found = search()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))  # bytes in a file
    try:
        with pytest.raises(RunError, match=r"steps\.jsonl cannot be written"):
            found.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.path.getsize(found.study.binder.steps) == 30_000
    study = found.run()
    assert study.tried.keys() == straight.study.tried.keys()
    assert study.verdict == straight.study.verdict
