"""Rewards previewed in a process of its own, and the handlers of the Rewards tab, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio.child import Progress
from studio.config import RunConfig
from studio.errors import ConfigError, DatasetError, ModelError
from studio.events import Saved
from studio.previewer import Asked, Draws, Previewer
from studio.rewards import Answered, Reward
from studio.store import Store
from studio.workspace import Workspace
from tabs.rewards import RUN, Form, _arrive, _preview, _score, _train


def rewards(**chosen: dict[str, Any]) -> dict[str, Reward]:
    return RunConfig.parse({"rewards": chosen}).rewards


@pytest.fixture(scope="module")
def previewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Previewer]:
    running = Previewer(Workspace(tmp_path_factory.mktemp("previewer") / "workspace").create())
    yield running
    running.close()


DRAWS = Draws(prompts=3, answers=2, max_completion_length=6)


def asked(**chosen: dict[str, Any]) -> Asked:
    return Asked("tiny", "", rewards(**chosen))


def previewed(previewer: Previewer, wanted: Asked, source: str = "preferences") -> tuple[list[str], dict[str, Any]]:
    """What it was busy with, and the report."""
    *parts, last = previewer.preview(wanted, source, DRAWS)
    assert isinstance(last, dict)
    return [part.doing for part in parts if isinstance(part, Progress)], last


def test_answers_are_drawn_once_and_scored_as_often_as_rewards_change(previewer: Previewer) -> None:
    doing, first = previewed(previewer, asked(length={"words": 3}))
    assert "Writing answers" in doing
    assert (first["prompts"], first["answers"], sum(first["distributions"][0]["counts"])) == (3, 2, 6)
    assert first["preferred"][0]["pairs"] == 64
    doing, second = previewed(previewer, asked(length={"words": 3, "weight": 2.0}, keywords={"present": "yes"}))
    assert "Writing answers" not in doing
    assert [each["answer"] for each in second["best"]] == [each["answer"] for each in first["best"]]
    assert second["bar"] == pytest.approx(2 * first["bar"])
    doing, _ = previewed(previewer, asked(length={}), "customer_messages")
    assert "Writing answers" in doing


def test_a_reward_may_ask_the_model_that_answers(previewer: Previewer) -> None:
    _, found = previewed(previewer, asked(perplexity={}))
    assert 0 < found["distributions"][1]["mean"] < 1


def test_an_answer_is_scored_as_it_is_typed(previewer: Previewer) -> None:
    scores = previewer.score(
        asked(length={"words": 4, "weight": 2}, similarity={}), Answered("say it", "one two", "one two")
    )
    assert scores.parts == {"length": [0.5], "similarity": [1.0]}
    assert scores.total == [2.0]


def test_what_cannot_be_previewed_is_refused_before_anything_starts(previewer: Previewer) -> None:
    for wanted, source, kind, problem in (
        (asked(), "preferences", ConfigError, "No reward"),
        (asked(length={"weight": 0}), "preferences", ConfigError, "No reward"),
        (asked(keywords={}), "preferences", ConfigError, "no words"),
        (asked(length={}), "old_tales", DatasetError, "plain text"),
        (asked(length={}), "nowhere", DatasetError, "no data set"),
        (Asked("minilm", "", rewards(length={})), "preferences", ModelError, "cannot write"),
        (Asked("not a model", "", rewards(length={})), "preferences", ModelError, "neither a folder"),
    ):
        with pytest.raises(kind, match=problem):
            next(iter(previewer.preview(wanted, source, DRAWS)))


def test_a_preview_that_nobody_waits_for_ends(previewer: Previewer) -> None:
    many = Draws(prompts=60, answers=8, max_completion_length=64, seed=5)
    parts = previewer.preview(asked(length={}), "preferences", many)
    while (part := next(parts)) and not (isinstance(part, Progress) and part.doing == "Writing answers"):
        pass
    parts.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator, whatever its type says
    again = previewer.preview(asked(length={}), "preferences", many)  # nothing of the first is kept
    assert any(isinstance(part, Progress) and part.doing == "Writing answers" for part in again)
    again.close()  # pyright: ignore[reportAttributeAccessIssue]


# -- the page ---------------------------------------------------------------------------------------


@pytest.fixture
def page(previewer: Previewer) -> Any:
    workspace = previewer._workspace
    return SimpleNamespace(workspace=workspace, store=Store(workspace), previewer=previewer)


@pytest.fixture
def form() -> Form:
    with gr.Blocks():
        return Form()


def filled(form: Form, **changes: Any) -> list[Any]:
    """The form's values, some of them changed: 'who', 'source', a setting of the draws or 'reward.setting'."""
    named: dict[str, Any] = {"who": form.who, "source": form.source, **form.draws.widgets}
    for key, group in form.rewards.groups.items():
        named |= {key: form.rewards.ticks[key], **{f"{key}.{name}": each for name, each in group.widgets.items()}}
    values: dict[Any, Any] = {named[name]: value for name, value in changes.items()}
    return [values.get(each, each.value) for each in form.components()]  # pyright: ignore[reportAttributeAccessIssue]


def small(form: Form, **changes: Any) -> list[Any]:
    few = {"prompts": 2, "answers": 2, "max_completion_length": 4}
    return filled(form, **{"who": "tiny", "source": "preferences", **few, **changes})


def test_what_cannot_be_previewed_is_said_and_the_button_comes_back(page: Any, form: Form) -> None:
    *_, (told, report, preview, cancel) = _preview(page, form, *small(form, length=False))
    assert "No reward is chosen" in told
    assert report == gr.skip()  # what was shown stays
    assert (preview.interactive, cancel.visible) == (True, False)
    *_, (told, *_) = _preview(page, form, *small(form, prompts="<b>"))
    assert "prompts" in told
    assert "<b>" not in told


def test_a_preview_says_what_it_is_about_and_an_answer_gets_its_parts(page: Any, form: Form) -> None:
    raw = small(form, keywords=True, **{"keywords.present": "yes", "keywords.weight": "2"})
    first, *_, (told, report, preview, cancel) = _preview(page, form, *raw)
    assert (first[2].interactive, first[3].visible) == (False, True)
    about = "4 answers of tiny to 2 prompts of Preferences: Keywords × 2, Length × 1."
    assert about in told.replace("\N{NO-BREAK SPACE}", " ")
    assert len(report["distributions"]) == 3
    assert (preview.interactive, cancel.visible) == (True, False)
    scored = _score(page, form, "is it?", "yes", "", *raw)
    assert "<td>1</td><td>× 2</td><td>2</td>" in scored
    assert "<strong>2.02</strong>" in scored  # and one of fifty words


def test_the_same_rewards_go_to_the_train_tab(page: Any, form: Form) -> None:
    config, source, tabs = _train(page, form, *small(form, temperature="0.7", **{"length.words": 9}))
    wanted = RunConfig.parse(config)
    assert (wanted.model, wanted.dataset.source, source, tabs.selected) == (
        "tiny",
        "preferences",
        "preferences",
        "train",
    )
    assert config["objective"]["name"] == "ppo"
    assert (config["objective"]["temperature"], config["objective"]["max_completion_length"]) == (0.7, 4)
    assert config["rewards"] == {"length": {"weight": 1.0, "words": 9}}


def test_runs_may_answer_and_the_newest_that_learns_from_rewards_is_named(page: Any, form: Form) -> None:
    _, _, running, newest = _arrive(page, "starter", None, "", "")
    assert (running["visible"], newest) == (False, "")
    folder = page.workspace.new_run("ppo")
    RunConfig.parse({"model": "tiny", "objective": "ppo", "rewards": {"length": {}}}).save(folder.config)
    folder.events.append(Saved(step=1, size=1))
    who, source, running, newest = _arrive(page, "starter", "gone", "reviews", "")
    names = [value for _, value in who.choices]
    assert RUN + folder.id in names
    assert "starter" in names
    assert "minilm" not in names  # it writes nothing
    assert source.value == "reviews"
    assert (running["visible"], newest) == (True, folder.id)
    assert "has learnt from rewards" in running["label"]
    assert running["open"] is False
    assert "open" not in _arrive(page, "starter", None, "", newest)[2]  # as a person left it
    config, _, _ = _train(page, form, *small(form, who=RUN + folder.id))
    assert config["model"] == "tiny"
