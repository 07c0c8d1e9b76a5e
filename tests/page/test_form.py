"""Settings as widgets."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from studio.benchmarks.variants import BenchSettings
from studio.config import RunConfig
from studio.errors import ConfigError
from studio.events import Done, Failed
from studio.methods import methods
from studio.rewards import rewards
from studio.store import Store
from studio.workspace import Workspace
from tabs._form import Choices, ConfigForm, Group


@pytest.mark.parametrize("name", sorted(methods()))
def test_which_layers_is_asked_after_a_methods_own_usual_settings(name: str) -> None:
    cls = methods()[name]
    with gr.Blocks():
        group = Group(cls)
    advanced = {fact.name for fact in group.facts if fact.advanced}
    usual = [field for field in group.widgets if field not in advanced]
    assert cls.picks not in usual[:-1]


def test_a_list_is_written_with_commas_and_read_back() -> None:
    with gr.Blocks():
        group = Group(BenchSettings)
    values = [part.value for part in group.components()]  # pyright: ignore[reportAttributeAccessIssue]
    assert BenchSettings.parse(group.parse(values)) == BenchSettings()
    place = [fact.name for fact in group.facts].index("batch_size")
    assert values[place] == "1, 8"
    read = BenchSettings.parse(group.parse([*values[:place], "16,2 ", *values[place + 1 :]]))
    assert read.batch_size == (16, 2)
    assert group.values(read)[place] == "16, 2"
    with pytest.raises(ConfigError, match="batch_size"):
        BenchSettings.parse(group.parse([*values[:place], "many", *values[place + 1 :]]))


def shown(components: list[Any], values: list[Any]) -> list[Any]:
    """What the widgets hold once they were given `values`: a skipped one keeps its own."""
    return [part.value if isinstance(value, dict) else value for part, value in zip(components, values, strict=True)]


def test_any_number_of_rewards_can_be_chosen_and_come_back() -> None:
    with gr.Blocks():
        choices = Choices(rewards(), "some")
    parts = choices.components()
    assert choices.parse([part.value for part in parts]) == {}  # pyright: ignore[reportAttributeAccessIssue]
    wanted = {"length": {"words": 30, "weight": 0.5}, "repetition": {}, "sentiment": {"run": "a", "label": "good"}}
    config = RunConfig.parse({"rewards": wanted})
    read = choices.parse(shown(parts, choices.values(config.rewards)))
    assert list(read) == list(wanted)
    assert RunConfig.parse({"rewards": read}) == config


def test_what_is_ticked_counts_only_where_the_objective_learns_from_rewards() -> None:
    with gr.Blocks():
        form = ConfigForm(lambda _: "", lambda: None, gr.Textbox(render=False))
    config = RunConfig.parse({"objective": "ppo", "rewards": {"length": {"words": 7}}})
    raw = shown(form.components(), form.values(config))
    assert form.config(config.model, config.dataset.source, raw) == config
    raw[form.components().index(form.objective.name)] = "next_token"
    assert form.config(config.model, config.dataset.source, raw).rewards == {}


def test_runs_that_can_score_are_listed_whenever_the_tab_is_opened(workspace: Workspace) -> None:
    for name, ends in (
        ("classify", Done()),
        ("next_token", Done()),
        ("classify", Failed(problem="It failed.", remedy="")),
    ):
        folder = workspace.new_run(name)
        RunConfig.parse({"model": "tiny", "objective": name}).save(folder.config)
        folder.events.append(ends)
    with gr.Blocks() as page:
        with gr.Tab("Somewhere") as tab:
            choices = Choices(rewards(), "some")
        choices.offer_runs(tab, Store(workspace))
    (offer,) = [each.fn for each in page.fns.values() if each.targets == [(tab._id, "select")]]
    listed = offer()[choices.groups["sentiment"].widgets["run"]]  # pyright: ignore[reportOptionalCall]
    (choice,) = listed.choices
    assert RunConfig.parse(json.loads(workspace.run(choice[1]).config.read_text())).objective.title == "Classification"
