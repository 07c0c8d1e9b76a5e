"""Critiques and arenas by a real model in its process: to the end, stopped half way, and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio import arena, constitution
from studio.constitution import Asked, Critique
from studio.critic import WORDINGS, WORDS, _Chunk, go_on
from studio.errors import ModelError
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.store import Store
from studio.workspace import Workspace
from studio.writer import Voice, Writer
from tabs import arena as arena_tab
from tabs import critique as critique_tab
from tabs._form import Group

TINY = Voice("tiny")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("writer")).create()


@pytest.fixture(scope="module")
def writer(shared: Workspace) -> Iterator[Writer]:
    running = Writer(shared)
    yield running
    running.close()


@pytest.fixture(scope="module")
def other(shared: Workspace) -> Voice:
    """Another tiny model, which says other things."""
    folder = shared.models / "other"
    tiny_model(seed=1).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return Voice(str(folder))


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def critique(workspace: Workspace, threshold: float = 0.05) -> Critique:
    """Of four rows the model writes one itself, and one is longer than it reads."""
    rows = [(asked("say 1"), "one"), (asked("say 2"), None), (asked("x" * 3000), None), (asked("say 3"), "three")]
    return constitution.begin(workspace, Asked("Rows", TINY, ("Be kind.", "Be brief."), threshold, 6), rows)


def test_every_answer_goes_through_all_steps(shared: Workspace, writer: Writer) -> None:
    found = critique(shared)
    told = list(go_on(found, writer))
    assert told[-1][1] == 4
    rows = found.rows()
    assert rows[2].skipped == "It is longer than the model reads."
    assert rows[2].verdicts is None
    for row in (rows[0], rows[1], rows[3]):
        assert row.answer
        assert row.verdicts
        assert all(0 < share < 1 for both in row.verdicts for share in both)
        assert set(row.critiques or {}) == set(found.violated(row)) != set()
        assert row.revision
        assert set(row.after or {}) == set(found.violated(row))
    assert list(go_on(found, writer)) == []  # nothing is left to do


def test_the_two_wordings_ask_the_opposite(shared: Workspace, writer: Writer) -> None:
    """A yes to the first, and a no to the second, say that the principle is violated."""
    found = critique(shared)
    list(go_on(found, writer))
    row = found.rows()[0]
    asked = [_Chunk(found, writer, {0: row})._about(0, "one", 1, question) for question, _ in WORDINGS]
    (first, second) = [each for part in writer.choose(TINY, asked, WORDS) if isinstance(part, list) for each in part]
    assert (first.place, second.place) in ((0, 1), (1, 0))
    said = {each.place: dict(zip(WORDS, each.value, strict=True)) for each in (first, second)}
    assert "against" in asked[0][0]["content"]
    assert "keep to" in asked[1][0]["content"]
    assert (row.verdicts or [])[1] == pytest.approx([said[0]["Yes"], said[1]["No"]], abs=0.02)


def test_what_violates_nothing_is_left_as_it_is(shared: Workspace, writer: Writer) -> None:
    found = critique(shared, threshold=0.95)
    assert not any("Revising" in doing for doing, _ in go_on(found, writer))
    assert [row.revision for row in found.rows()] == [None] * 4
    assert all(found.done(row) for row in found.rows())


def test_a_stopped_critique_goes_on_where_it_was(shared: Workspace, writer: Writer) -> None:
    whole, halved = critique(shared), critique(shared)
    list(go_on(whole, writer))
    for stage in ("Answering", "Holding answers", "Criticising", "Holding revisions"):
        work = go_on(halved, writer)
        assert any(doing.startswith(stage) for doing, _ in work)
        work.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator, whatever its type says
    assert all(row.revision and row.after is None for row in halved.rows() if not row.skipped)
    doing = [what for what, _ in go_on(Critique(halved.binder), writer)]
    assert doing[0].startswith("Holding revisions")
    assert halved.rows() == whole.rows()


def test_no_time_is_no_work(shared: Workspace, writer: Writer) -> None:
    found = critique(shared)
    assert list(go_on(found, writer, seconds=0)) == []
    assert not found.binder.steps.read_text().count("verdicts")


def test_two_models_answer_one_after_the_other(shared: Workspace, writer: Writer, other: Voice) -> None:
    prompts = [asked(f"say {i}") for i in range(10)]
    made = arena.begin(shared, "Both", [(TINY, "Tiny"), (other, "Other")], prompts, 6)
    work = made.go_on(writer)
    assert any(done for _, done, _ in work)
    work.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator, whatever its type says
    kept = [each.answers[0] for each in made.rounds()]
    assert 0 < sum(answer is not None for answer in kept) < 10
    told = list(made.go_on(writer))
    assert told[0][0] == "Tiny: Answering"  # the model is still awake
    assert told[-1][1:] == (20, 20)
    rounds = made.rounds()
    assert all(each.asked == [True, True] and None not in each.answers for each in rounds)
    assert all(answer in (None, each.answers[0]) for answer, each in zip(kept, rounds, strict=True))
    assert any(each.votable for each in rounds)


def test_a_model_that_is_not_there_is_said(shared: Workspace, writer: Writer) -> None:
    with pytest.raises(ModelError):
        list(writer.write(Voice("no/such folder"), [asked("x")], 4))


# -- in the page ---------------------------------------------------------------------------------------


@pytest.fixture
def page(shared: Workspace, writer: Writer) -> Any:
    return SimpleNamespace(workspace=shared, writer=writer, store=Store(shared))


def test_the_page_criticises_one_prompt_and_keeps_a_mark(page: Any) -> None:
    with gr.Blocks():
        form = Group(critique_tab.Bounds)
    values = form.values(critique_tab.Bounds(threshold=0.05, max_new_tokens=6))
    raw = ("model:tiny", None, "say <b>1</b>", "one", "Be kind.", *values)
    *_, (_, _, told, panel, trust, more) = critique_tab._begin(page, form, raw)
    assert (told, more.visible) == ("", False)
    (row,) = panel["rows"]
    assert row["done"]
    assert row["verdicts"][0]["critique"]
    assert "Mark verdicts" in trust
    click: Any = SimpleNamespace(_data={"name": panel["name"], "at": 0, "row": 0, "number": 0, "right": True})
    panel, trust, _ = critique_tab._act(page, click)
    assert panel["rows"][0]["verdicts"][0]["mark"] is True
    assert "agrees with your marks in 1 of 1" in trust
    note = critique_tab._save(page, constitution.pairs, "pairs", panel["name"], False, None)  # pyright: ignore[reportArgumentType]
    assert "1 row of preference pairs" in note


def test_the_page_tells_no_names_before_the_vote(page: Any, other: Voice, rows_file: Path) -> None:
    with gr.Blocks():
        form = Group(arena_tab.Bounds)
    values = form.values(arena_tab.Bounds(rows=3, max_new_tokens=6))
    raw = ("model:tiny", f"model:{other.model}", str(rows_file), "", *values)
    steps = list(arena_tab._begin(page, form, raw))
    *_, standing, more = steps[-1]
    panel = next(panel for _, _, _, panel, _, _ in steps if "row" in panel)
    assert more.visible is False
    assert standing == ""
    assert panel["last"] is None
    assert not [name for name in ("Tiny", other.model) if name in str(panel)]
    click: Any = SimpleNamespace(_data={"name": panel["name"], "row": panel["row"], "vote": "left"})
    panel, standing, _ = arena_tab._vote(page, click)
    assert "Tiny (random weights)" in (panel["last"]["left"], panel["last"]["right"])
    assert "No clear winner yet" in standing
    assert "1 row of preference pairs" in arena_tab._save(page, panel["name"], None)  # pyright: ignore[reportArgumentType]
