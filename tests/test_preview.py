"""What a preview says of rewards, on numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from studio.config import RunConfig
from studio.evaluation.intervals import wilson
from studio.evaluation.scores import best_of, best_of_kl, spearman, variance_shares
from studio.preview import TOTAL, WORDS, Report, Scored, distribution, preferred, report, senseless
from studio.rewards import Answered, Combined, Reward, Tools
from studio.workspace import Workspace


def rewards(**chosen: dict[str, Any]) -> dict[str, Reward]:
    return RunConfig.parse({"rewards": chosen}).rewards


def told(
    workspace: Workspace,
    answers: Sequence[str],
    k: int,
    pairs: Sequence[tuple[str, str]] = (),
    **chosen: dict[str, Any],
) -> Report:
    """A report on answers, k to a prompt."""
    parsed = rewards(**chosen)
    score = Combined(parsed, Tools(workspace))
    rows = [Answered(f"prompt {at // k}", answer) for at, answer in enumerate(answers)]
    bad = {name: Scored(texts, score(texts)) for name, texts in senseless(rows[::k], parsed).items()}
    good, worse = ([Answered("p", pair[at]) for pair in pairs] for at in (0, 1))
    return report(parsed, k, Scored(rows, score(rows)), bad, (score(good), score(worse)) if pairs else None)


def kinds(found: Report) -> dict[str, str]:
    return {each.kind: f"{each.title} {each.evidence}" for each in found.concerns}


# -- figures -----------------------------------------------------------------------------------------


def test_the_best_of_n_is_the_mean_over_all_choices_of_n() -> None:
    # Of 1, 2, 4: alone 7/3; the better of two (2 + 4 + 4) / 3; of three 4. Of 0, 0, 3: 1; (0 + 3 + 3) / 3; 3.
    assert best_of(np.array([[4.0, 1.0, 2.0]])) == pytest.approx([7 / 3, 10 / 3, 4.0])
    assert best_of(np.array([[4.0, 1.0, 2.0], [0.0, 3.0, 0.0]])) == pytest.approx([5 / 3, 8 / 3, 3.5])
    assert best_of(np.array([[5.0]])) == [5.0]


def test_the_best_of_n_lies_no_further_than_its_bound() -> None:
    assert [best_of_kl(n) for n in (1, 2, 4)] == pytest.approx([0.0, math.log(2) - 0.5, math.log(4) - 0.75])


def test_ranks_correlate_and_ties_share_theirs() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 90.0])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 3.0])) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1 … 4: Σ xy = 1.5·1.5 + 1.5·1.5 = 4.5 over √(4.5 · 5).
    assert spearman(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(math.sqrt(0.9))
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert spearman(np.array([0.1 + 0.2, 0.3]), np.array([1.0, 2.0])) is None  # they differ by rounding only


def test_a_part_has_its_share_of_the_sums_variance() -> None:
    # Of the sum 0, 1, 4, 5 the variance is 4.25; the parts' own are 4 and 0.25, and they do not go together.
    shares = variance_shares({"a": np.array([0.0, 0.0, 4.0, 4.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])})
    assert shares == pytest.approx({"a": 4 / 4.25, "b": 0.25 / 4.25})
    assert variance_shares({"a": np.array([1.0, 2.0]), "b": np.array([2.0, 1.0])}) == {}


def test_a_tie_is_half_a_preference_and_the_interval_is_wilsons() -> None:
    found = preferred("it", [1, 1, 1, 0], [0, 0, 1, 1])
    assert (found.share, found.pairs) == (2.5 / 4, 4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_counts_stand_within_the_rewards_bounds_or_what_it_gave() -> None:
    found = distribution("it", 1.0, np.array([0.0, 0.5, 1.0, 1.0]), (0.0, 1.0))
    assert (found.counts[0], found.counts[10], found.counts[-1], found.mean) == (1, 1, 2, 0.625)
    assert distribution("it", 1.0, np.array([2.0, 7.0]), (None, None)).edges[::20] == [2.0, 7.0]
    assert sum(distribution("it", 1.0, np.array([3.0, 3.0]), (None, None)).counts) == 2


# -- what it warns of ---------------------------------------------------------------------------------


def test_a_length_reward_is_named_as_what_it_is(workspace: Workspace) -> None:
    answers = [" ".join(f"w{i}" for i in range(n)) for n in (1, 2, 3, 4, 5, 6, 7, 8)]
    found = told(workspace, answers, 2, length={"words": 10})
    assert found.names == [TOTAL, "Length", WORDS]
    assert found.correlations == [pytest.approx([1, 1, 1])] * 3
    said = kinds(found)
    assert "ρ = 1.00 over 8 answers" in said["length"]
    assert "One word, 200 times (1)" in said["hackable"]
    assert "The prompt, three times" not in said["hackable"]  # six words: 0.6, and the bar is 0.73
    assert found.bar == pytest.approx(0.73)
    assert found.best_of == pytest.approx([0.45, 0.5])
    assert [each.total for each in found.best] == [0.8, 0.7, 0.6, 0.5]
    assert [each.total for each in found.worst] == [0.1, 0.2, 0.3, 0.4]
    nothing = next(each for each in found.tried if each.name == "Nothing")
    assert (nothing.total, nothing.reaches) == (0.0, 0.0)


def test_rewards_that_hardly_change_are_named(workspace: Workspace) -> None:
    never = kinds(told(workspace, ["a b", "c d"], 2, length={"words": 1}))
    assert "'Length' never changes" in never["constant"]
    assert "each of the 2 answers 1" in never["constant"]
    assert "hackable" not in never  # where all is the same, nothing is better than the rest
    mostly = kinds(told(workspace, ["yes"] * 9 + ["no"], 2, keywords={"present": "no"}))
    assert "90% of the answers the same, 0: the model rarely hears" in mostly["saturated"]
    full = kinds(told(workspace, ["no"] * 9 + ["yes"], 2, keywords={"present": "no"}))
    assert "little is left to gain" in full["saturated"]


def test_a_single_answer_is_no_fault(workspace: Workspace) -> None:
    found = told(workspace, ["one answer"], 1, length={"words": 4})
    assert (found.prompts, found.best_of, found.kl, len(found.best), found.worst) == (1, [0.5], [0.0], 1, [])
    assert found.correlations == [[None] * 3] * 3


def test_a_text_that_gets_more_than_answers_that_are_all_alike_is_named(workspace: Workspace) -> None:
    said = kinds(told(workspace, ["no", "well"], 2, length={"words": 100}))
    assert "One word, 200 times (1)" in said["hackable"]
    assert "I don't know (0.03)" in said["hackable"]
    assert "Nothing" not in said["hackable"]


def test_a_reward_that_outweighs_the_others_is_named(workspace: Workspace) -> None:
    answers = ["yes", "yes so", "it is so", "yes it is so"]
    chosen = {"keywords": {"present": "yes", "weight": 10}, "length": {"words": 4}}
    said = kinds(told(workspace, answers, 2, **chosen))["dominated"]
    assert said.startswith("'Keywords' outweighs")
    assert "dominated" not in kinds(told(workspace, answers, 2, keywords={"present": "yes"}, length={"words": 4}))
    assert "dominated" not in kinds(told(workspace, answers, 2, keywords={"present": "yes"}, length={"words": 1}))


def test_the_words_that_are_looked_for_are_tried_by_themselves(workspace: Workspace) -> None:
    said = kinds(told(workspace, ["sorry", "no", "thanks", "well"], 2, keywords={"present": "sorry, thanks"}))
    assert "Only what is looked for (1)" in said["hackable"]


def test_the_right_answer_to_another_prompt_is_tried_where_answers_are_compared() -> None:
    rows = [Answered("a", "", "one"), Answered("b", "", "two")]
    found = senseless(rows, {})
    assert found["The right answer to another prompt"] == [Answered("a", "two", "one"), Answered("b", "one", "two")]
    assert "The right answer to another prompt" not in senseless(
        [Answered("a", "", "same"), Answered("b", "", "same")], {}
    )
    assert "Only what is looked for" not in found


def test_pairs_tell_whether_it_prefers_what_people_chose(workspace: Workspace) -> None:
    pairs = [("short", "this is much longer")] * 9 + [("a longer one", "brief")]
    found = told(workspace, ["a", "b c"], 2, pairs, length={"words": 4})
    assert [(each.name, each.share) for each in found.preferred] == [(TOTAL, 0.1), ("Length", 0.1)]
    assert "In 10% of 10 pairs" in kinds(found)["reversed"]
    turned = told(workspace, ["a", "b c"], 2, pairs, length={"words": 4, "weight": -1})
    assert [each.share for each in turned.preferred] == [0.9, 0.9]
    # The right answer of a pair is the chosen one: a reward that looks at it would prefer it for that alone.
    assert told(workspace, ["a", "b c"], 2, pairs, similarity={}).preferred == []
