"""Votes between two models: who leads, how sure that is, and what is saved of them."""

from __future__ import annotations

from typing import Any

import pytest

from studio.arena import Arena, Score, begin, leaning, pairs, score, verdict
from studio.errors import ConfigError, DatasetError
from studio.workspace import Workspace
from studio.writer import Voice

NAMES = ["First", "Second"]


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def arena(workspace: Workspace) -> Arena:
    """Six prompts; the answers to the last two are equal, or one of them is missing."""
    voices = [(Voice("tiny"), "First"), (Voice("starter"), "Second")]
    made = begin(workspace, "An arena", voices, [asked(f"p{i}") for i in range(6)], 8)
    for i in range(6):
        made.binder.append({"row": i, "of": 0, "answer": f"a{i}" if i < 5 else None})
        made.binder.append({"row": i, "of": 1, "answer": f"b{i}" if i != 4 else "a4"})
    return made


def prefer(arena: Arena, row: int, model: int) -> None:
    """Vote for a model's answer, wherever it stands."""
    side = next(side for side in ("left", "right") if arena.rounds()[row].on(side) == model)
    assert arena.vote(row, side).winner == model


def test_votes_are_counted_for_models_whatever_their_side(arena: Arena) -> None:
    prefer(arena, 0, 1)
    prefer(arena, 1, 1)
    prefer(arena, 2, 0)
    arena.vote(3, "tie")
    found = score(arena.rounds())
    assert (found.wins, found.ties, found.bad, found.decided, found.votes) == ((1, 2), 1, 0, 3, 4)
    assert found.left == sum(each.vote == "left" for each in arena.rounds())
    assert pairs(arena) == [
        {"prompt": "p0", "chosen": "b0", "rejected": "a0"},
        {"prompt": "p1", "chosen": "b1", "rejected": "a1"},
        {"prompt": "p2", "chosen": "a2", "rejected": "b2"},
    ]


def test_only_the_first_vote_was_blind(arena: Arena) -> None:
    prefer(arena, 0, 0)
    arena.vote(0, "bad")
    assert score(arena.rounds()).wins == (1, 0)


def test_there_is_nothing_to_vote_on_where_answers_are_equal_or_missing(arena: Arena) -> None:
    for row, vote in ((4, "left"), (5, "left"), (6, "left"), (-1, "left"), (0, "both")):
        with pytest.raises(ConfigError, match="nothing to vote on"):
            arena.vote(row, vote)
    with pytest.raises(DatasetError, match="no pair"):
        pairs(arena)


def test_sides_are_drawn_and_stay(workspace: Workspace) -> None:
    voices = [(Voice("tiny"), "First"), (Voice("starter"), "Second")]
    made = begin(workspace, "Many", voices, [asked(str(i)) for i in range(64)], 8)
    sides = [each.first_left for each in made.rounds()]
    assert 8 < sum(sides) < 56
    again = Arena(made.binder).rounds()
    assert [each.on("left") == 0 for each in again] == [each.on("right") == 1 for each in again] == sides


def test_an_arena_needs_two_models_and_a_prompt(workspace: Workspace) -> None:
    one: Any = (Voice("tiny"), "First")
    with pytest.raises(ConfigError, match="from itself"):
        begin(workspace, "x", [one, one], [asked("p")], 8)
    with pytest.raises(DatasetError, match="no prompts"):
        begin(workspace, "x", [one, (Voice("starter"), "Second")], [], 8)


def counted(first: int, second: int, left: int = 0) -> Score:
    from studio.evaluation.intervals import wilson

    return Score((first, second), 0, 0, left, wilson(first, first + second))


def test_a_winner_is_named_only_where_chance_is_unlikely() -> None:
    """Wilson's 95 % interval of 8 in 10 is 0.490 to 0.943, that of 16 in 20 is 0.584 to 0.919."""
    assert verdict(counted(0, 0), NAMES) == "No vote has decided anything yet."
    assert verdict(counted(8, 2), NAMES).startswith("No clear winner yet: 'First' was preferred in 80%")
    assert "49%–94%" in verdict(counted(8, 2), NAMES)
    assert verdict(counted(16, 4), NAMES).startswith("'First' wins: ")
    assert verdict(counted(4, 16), NAMES) == (
        "'Second' wins: 'Second' was preferred in 80% of 20 decided votes (95 % interval 58%–92%)."
    )


def test_a_leaning_to_one_side_is_said() -> None:
    assert leaning(counted(0, 0)) == ""
    assert "nothing says" in leaning(counted(5, 5, left=6))
    assert "lean to the left" in leaning(counted(10, 10, left=16))
    assert "lean to the right" in leaning(counted(10, 10, left=4))
