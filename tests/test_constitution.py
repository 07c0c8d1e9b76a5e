"""Principles, what verdicts add up to, how far to trust them, and the data sets that come of a critique."""

from __future__ import annotations

from typing import Any

import pytest

from studio.binder import create, find, listed
from studio.constitution import (
    PRINCIPLES,
    Asked,
    Critique,
    begin,
    improved,
    keep_principles,
    kept_principles,
    pairs,
    principles_of,
    rows_of,
    sentence,
    supervised,
    with_itself,
    with_person,
)
from studio.data import collection
from studio.data.library import open_source
from studio.data.templates import Mapping
from studio.errors import ConfigError, DatasetError, RunError
from studio.evaluation.agreement import in_words, kappa
from studio.workspace import Workspace
from studio.writer import Voice

ONE = [{"role": "user", "content": "one?"}]
SEVERAL = [*ONE, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and two?"}]


def critique(workspace: Workspace, *rows: tuple[Any, Any], threshold: float = 0.5) -> Critique:
    asked = Asked("Rows, by Tiny", Voice("tiny"), ("Be kind.", "Be brief."), threshold, 8)
    return begin(workspace, asked, rows)


@pytest.fixture
def judged(workspace: Workspace) -> Critique:
    """Three answers: one that is fine, one made better, one made worse by its revision."""
    found = critique(workspace, (ONE, "fine"), (ONE, "rude"), (ONE, "long"))
    found.keep({0: {"verdicts": [[0.1, 0.3], [0.2, 0.7]]}})  # of the second the wordings disagree
    found.keep({1: {"verdicts": [[0.9, 0.8], [0.1, 0.1]]}, 2: {"verdicts": [[0.2, 0.1], [0.6, 0.6]]}})
    found.keep({1: {"critiques": {0: "It is rude."}}, 2: {"critiques": {1: "It is long."}}})
    found.keep({1: {"revision": "kind"}, 2: {"revision": "longer"}})
    found.keep({1: {"after": {0: [0.2, 0.2]}}, 2: {"after": {1: [0.9, 0.9]}}})
    return found


def test_kappa_is_agreement_beyond_chance() -> None:
    """Both agree on 3 of 4; chance alone would give 1/2 · 1/4 + 1/2 · 3/4 = 1/2."""
    assert kappa([True, True, False, False], [True, False, False, False]) == pytest.approx((0.75 - 0.5) / 0.5)
    assert kappa([True, False], [True, False]) == 1
    assert kappa([True, False], [False, True]) == -1
    assert kappa([True, True], [True, True]) is None
    assert kappa([], []) is None
    assert [in_words(value) for value in (-0.3, 0.1, 0.5, 1.0)] == ["none", "slight", "moderate", "near perfect"]


def test_principles_are_one_a_line_and_stay_with_the_workspace(workspace: Workspace) -> None:
    assert kept_principles(workspace).splitlines() == list(PRINCIPLES)
    assert keep_principles(workspace, "  Be kind. \n\nBe brief.\nBe kind.") == ("Be kind.", "Be brief.")
    assert kept_principles(workspace) == "Be kind.\nBe brief."
    for text, problem in (("\n ", "no principles"), ("x\n" * 1 + "y" * 501, "501 letters")):
        with pytest.raises(ConfigError, match=problem):
            keep_principles(workspace, text)
    with pytest.raises(ConfigError, match="21 principles"):
        principles_of("\n".join(map(str, range(21))))
    assert kept_principles(workspace) == "Be kind.\nBe brief."


def test_a_principle_is_violated_where_both_wordings_say_so(judged: Critique) -> None:
    rows = judged.rows()
    assert [judged.verdict(each) for each in rows[0].verdicts or []] == [False, None]
    assert [judged.violated(row) for row in rows] == [[], [0], [1]]
    assert all(judged.done(row) for row in rows)
    assert [improved(judged, row) for row in rows] == [False, True, False]


def test_how_the_critic_agrees_with_itself_and_with_a_person(judged: Critique) -> None:
    """Wordings: no no, no yes, yes yes, no no, no no, yes yes: 5 of 6 alike; chance gives 1/3 · 1/2 + 2/3 · 1/2."""
    own = with_itself(judged, judged.rows())
    assert (own.of, own.share) == (6, pytest.approx(5 / 6))
    assert own.kappa == pytest.approx((5 / 6 - 1 / 2) / (1 / 2))
    assert sentence(own, "itself") == (
        "The critic agrees with itself in 5 of 6 verdicts (83%; kappa 0.67, agreement beyond chance: substantial)."
    )
    assert sentence(with_person(judged, judged.rows()), "you") == ""
    for row, number, right in ((0, 0, True), (1, 0, False), (1, 0, True), (2, 1, False), (1, 1, True)):
        judged.mark(row, number, right)  # a later word counts
    yours = with_person(judged, judged.rows())
    assert (yours.of, yours.share) == (4, 0.75)
    assert yours.kappa == pytest.approx(0.5)  # critic no yes no yes, person no yes no no
    for row, number in ((3, 0), (-1, 0), (0, 2), (0, 1)):
        with pytest.raises(ConfigError, match="no such verdict"):
            judged.mark(row, number, True)


def test_what_comes_of_it_is_told_apart_as_instructions_and_preferences(judged: Critique, workspace: Workspace) -> None:
    assert [row["output"] for row in supervised(judged)] == ["fine", "kind", "longer"]
    assert [row["output"] for row in supervised(judged, better_only=True)] == ["fine", "kind"]
    assert pairs(judged) == [
        {"prompt": "one?", "chosen": "kind", "rejected": "rude"},
        {"prompt": "one?", "chosen": "longer", "rejected": "long"},
    ]
    for made_of, expected in ((supervised, "instruction"), (pairs, "preference")):
        name = collection.add_rows(workspace, "Made", made_of(judged, better_only=True), mapping=None, by="me")
        assert open_source(name, workspace).mapping.format == expected


def test_conversations_stay_whole(workspace: Workspace) -> None:
    found = critique(workspace, (SEVERAL, "no"))
    for make in (supervised, pairs):
        with pytest.raises(DatasetError):
            make(found)
    found.keep({0: {"verdicts": [[0.9, 0.9], [0, 0]], "critiques": {0: "c"}, "revision": "maybe", "after": {}}})
    for made_of, expected in ((supervised, "messages"), (pairs, "preference")):
        opened = open_source(collection.add_rows(workspace, "Made", made_of(found), mapping=None, by="me"), workspace)
        assert opened.mapping.format == expected
    assert supervised(found)[0]["messages"][-1] == {"role": "assistant", "content": "maybe"}
    assert pairs(found)[0]["prompt"] == SEVERAL


def test_bad_answers_are_worth_a_critique_too() -> None:
    mapping = Mapping("unpaired", {"prompt": "p", "completion": "c", "label": "l"})
    rows = [{"p": "a", "c": "x", "l": False}, {"p": "", "c": "x", "l": True}, {"p": "b", "c": "y", "l": True}]
    asked = [(messages[0]["content"], answer) for messages, answer in rows_of(iter(rows), mapping, 9, own=True)]
    assert asked == [("a", "x"), ("b", "y")]
    assert [answer for _, answer in rows_of(iter(rows), mapping, 1, own=False)] == [None]
    with pytest.raises(DatasetError, match="asks nothing"):
        rows_of(iter([{"t": "x"}]), Mapping("text", {"text": "t"}), 9, own=True)


def test_steps_outlive_a_line_that_was_cut_and_names_lead_nowhere_else(workspace: Workspace) -> None:
    binder = create(workspace.critiques, "Ärger / mit ../ Namen", {"title": "t"})
    binder.append({"a": 1})
    with binder.steps.open("ab") as file:
        file.write(b'{"a": 2')  # as a full disk or a power cut leaves it
    binder.append({"a": 3})
    assert list(find(workspace.critiques, binder.name)) == [{"a": 1}, {"a": 3}]
    assert [each.name for each in listed(workspace.critiques)] == [binder.name]
    for name in ("", "..", f"../critiques/{binder.name}", "20200101-000000-none-0000"):
        with pytest.raises(RunError):
            find(workspace.critiques, name)
    binder.delete()
    with pytest.raises(RunError, match="cannot be written"):
        binder.append({"a": 4})
    assert listed(workspace.critiques) == []


def test_one_at_a_time_goes_on_with_a_binder(workspace: Workspace) -> None:
    binder = create(workspace.critiques, "one", {"title": "t"})
    under_way = ("critique", "Wait.")
    with (
        binder.alone(*under_way),
        pytest.raises(RunError, match="This critique is under way"),
        binder.alone(*under_way),
    ):
        pass
    with binder.alone(*under_way):
        pass
