"""What a report is taken to mean: a case for each thing that can be said."""

from __future__ import annotations

import random
from typing import Any

import pytest

from studio.evaluation.facts import unfounded
from studio.prompt import Prompt
from studio.recommend import gain, lasting, recommend
from studio.worth import KEYS, Key, Line, Report, Side, Training

PLAIN, FOUND = Prompt(), Prompt(system="Found.")


def scores(mean: float, seed: int, rows: int = 60) -> tuple[float, ...]:
    """As rows differ, and exactly that mean."""
    away = [0.2 * (2 * place / (rows - 1) - 1) for place in range(rows)]
    random.Random(seed).shuffle(away)
    return tuple(mean + each for each in away)


def report(means: dict[Key, float | None], tokens: dict[Key, float] | None = None, **told: Any) -> Report:
    """Of lines with these means, None or left out: not measured."""
    lines = []
    for place, key in enumerate(KEYS):
        mean = means.get(key)
        side = None
        if mean is not None:
            count = (tokens or {}).get(key, 100.0)
            side = Side(
                scores=scores(mean, place), prompt_tokens=count - 10, answer_tokens=10, seconds=count / 100, memory=1.0
            )
        prompt = PLAIN if key in ("base", "tuned") else FOUND
        lines.append(
            Line(key=key, prompt=prompt if side else None, seconds=300, study="s" * key.endswith("t"), side=side)
        )
    values = {"title": "run", "rows": 60, "rewards": {"exact": {}}, "training": Training(seconds=720, tokens=9)}
    return Report.parse(values | {"lines": tuple(lines)} | told)


@pytest.mark.parametrize(
    ("means", "outcome"),
    [
        ({"base": 0.2, "base_prompt": 0.5, "tuned": 0.9}, "worth"),
        ({"base": 0.2, "base_prompt": 0.5, "tuned": 0.5, "tuned_prompt": 0.9}, "worth"),
        ({"base": 0.5, "base_prompt": 0.2, "tuned": 0.9}, "worth"),
        ({"base": 0.2, "tuned": 0.9}, "untried"),
        ({"base": 0.2, "base_prompt": 0.9, "tuned": 0.9}, "prompt"),
        ({"base": 0.2, "base_prompt": 0.9, "tuned": 0.92}, "prompt"),  # more, but it may be chance
        ({"base": 0.2, "base_prompt": 0.9, "tuned": 0.5}, "prompt"),
        ({"base": 0.2, "base_prompt": 0.9, "tuned": 0.2, "tuned_prompt": 0.9}, "prompt"),
        ({"base": 0.5, "base_prompt": 0.9, "tuned": 0.2}, "harmed"),
        ({"base": 0.5, "tuned": 0.2}, "harmed"),
        ({"base": 0.5, "base_prompt": 0.5, "tuned": 0.5}, "neither"),
        ({"base": 0.5, "tuned": 0.52}, "unchanged"),
    ],
)
def test_each_outcome_has_its_rule(means: dict[Key, float | None], outcome: str) -> None:
    assert recommend(report(means)).outcome == outcome


def test_a_worthwhile_run_is_told_with_its_gain_its_cost_and_what_it_saves() -> None:
    found = recommend(report({"base": 0.2, "base_prompt": 0.5, "tuned": 0.9}, {"base_prompt": 600.0, "tuned": 100.0}))
    quality, prompts, cost, savings = found.because
    assert quality.startswith("The tuned model with the plain prompt gets 0.9")
    assert "the base model with the optimised prompt 0.5" in quality
    assert "+0.4" in quality
    assert prompts.startswith("The optimised prompt helps the base model: +0.3")
    assert cost == "The training took 12 min, the search for the base model with the optimised prompt 5 min."
    assert savings.startswith("A request to the tuned model takes 100 tokens, 500 fewer, and 1.0 s instead of 6.0 s.")
    assert savings.endswith("back after 140 requests.")  # 720 s / 5 s, to two digits


def test_a_slower_tuned_model_gives_no_time_back() -> None:
    found = recommend(report({"base": 0.2, "tuned": 0.9}, {"tuned": 300.0}))
    assert "takes 300 tokens, 200 more" in found.because[-1]
    assert "back after" not in found.because[-1]


def test_differences_are_those_of_the_same_rows() -> None:
    """Rows differ far more from one another than the two models do on each of them."""
    hard = scores(0.5, 1)
    sides = (hard, tuple(each + 0.01 for each in hard))
    lines = tuple(
        Line(key=key, prompt=PLAIN, side=Side(scores=side, prompt_tokens=1, answer_tokens=1, seconds=1, memory=0))
        for key, side in zip(("base", "tuned"), sides, strict=True)
    )
    both = report({}).model_copy(update={"lines": lines + report({}).lines[1::2]})
    found = gain(both, "tuned", "base")
    assert found
    assert found.sure
    assert found.mean == pytest.approx(0.01)
    assert gain(both, "tuned_prompt", "base") is None
    assert lines[0].side
    assert lines[1].side
    assert lines[0].side.interval[1] > lines[1].side.interval[0]  # apart, they could not be told from each other


def test_few_rows_and_a_search_that_found_nothing_are_said() -> None:
    made = report({"base": 0.2, "base_prompt": 0.2, "tuned": 0.9}, rows=8)
    lines = tuple(
        each.model_copy(update={"prompt": PLAIN}) if each.key == "base_prompt" else each for each in made.lines
    )
    said = " ".join(recommend(made.model_copy(update={"lines": lines})).because)
    assert "8 rows are few" in said
    assert "For the base model the search found nothing better than the plain prompt." in said


def test_facts_that_no_question_holds_hint_at_retrieval() -> None:
    prices = [
        (f"What does item {name} cost?", f"It costs {19 + at}.95 at present.") for at, name in enumerate("abcdefghijkl")
    ]
    found = unfounded(prices)
    assert found
    assert found.share == 1
    said = recommend(report({"base": 0.2, "tuned": 0.3}, unfounded=found)).because[-1]
    assert said.startswith("Retrieval may be the better tool: 100% of the right answers hold facts")
    assert "“19.95”" in said


@pytest.mark.parametrize(
    "pairs",
    [
        [(f"Order {at}00 please", f"Order {at}00 it is.") for at in range(1, 20)],  # the question says it
        [(f"Item {at}?", "Call 0800 1234.") for at in range(20)],  # every answer says it
        [(f"What is {at} + 17?", f"{at} + 17 = {at + 17}") for at in range(20)],  # worked out
        [("What is it?", "It is 1234.")],  # one row shows nothing
        [],
    ],
)
def test_answers_that_follow_from_their_questions_do_not(pairs: list[tuple[str, str]]) -> None:
    assert unfounded(pairs) is None


def test_time_is_said_as_people_say_it() -> None:
    assert [lasting(each) for each in (12.4, 600, 9000)] == ["12 s", "10 min", "2.5 h"]
