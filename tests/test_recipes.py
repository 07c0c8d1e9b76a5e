"""Recipes: each is a config that can be trained as it stands, gives a reason for its values, and prints as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.config import RunConfig, read_config
from studio.data.library import open_source
from studio.errors import ConfigError
from studio.jobs import Jobs
from studio.preflight import check
from studio.recipes import RECIPES, Recipe, as_yaml, reasons, recipe, recipes
from studio.store import wait_for_end
from studio.workspace import Workspace

every = pytest.mark.parametrize("name", sorted(recipes()))
WANTED = {"instruction_tuning", "sentiment", "medical_triage", "legal_long_text", "code_generation"}


def on_tiny(found: Recipe) -> RunConfig:
    """The recipe's config with a model that trains in seconds, for three steps.

    Its alphabet of a few hundred tokens makes texts some four times as long as the starter's does.
    """
    brief: dict[str, Any] = {"max_steps": 3, "answer_rows": 2, "sample_rows": 0, "max_new_tokens": 4, "eval_rows": 4}
    rows = min(2, found.config.training.per_device_train_batch_size)
    training = {**found.values.get("training", {}), **brief, "per_device_train_batch_size": rows, "eval_steps": 3}
    objective = {**found.values["objective"], "max_length": 4 * found.config.objective.max_length}
    return RunConfig.parse({**found.values, "model": "tiny", "objective": objective, "training": training})


def test_there_is_one_for_each_usual_task() -> None:
    assert set(recipes()) >= {*WANTED, "domain_vocabulary", "alignment_ppo"}
    assert len(recipes()) == len(list(RECIPES.glob("*.yaml")))


@every
def test_it_passes_what_is_checked_before_a_run(name: str, workspace: Workspace) -> None:
    found = recipes()[name]
    settled = check(found.config, workspace)
    assert settled.dataset.format == found.sample.mapping.format
    assert found.config.to_dict() != RunConfig().to_dict()


@every
def test_it_gives_reasons_for_values_that_it_sets(name: str) -> None:
    """A reason for a setting that the file does not hold raises KeyError."""
    found = recipes()[name]
    told = reasons(found)
    assert len(told) >= 3
    assert all(value and why.endswith(".") for _, value, why in told)
    assert found.columns.endswith(".")
    assert found.then.endswith(".")


@every
def test_what_is_printed_trains_the_same(name: str, tmp_path: Path) -> None:
    found = recipes()[name]
    file = tmp_path / "run.yaml"
    file.write_text(as_yaml(found), encoding="utf-8")
    assert read_config(file).to_dict() == found.config.to_dict()
    assert all(why.split()[0] in as_yaml(found) for why in found.why.values())


def test_the_triage_recipe_weighs_classes_that_are_uneven(workspace: Workspace) -> None:
    config = recipe("medical_triage").config
    opened = open_source(config.dataset.source, workspace)
    head, _ = config.objective.head("urgency", _counts(opened.train.load().rows))  # pyright: ignore
    weights = dict(zip(head.labels, head.balance, strict=True))
    assert weights["emergency"] > weights["soon"] > weights["routine"]


def _counts(rows: list[dict[str, Any]]) -> Any:
    from collections import Counter

    return Counter(row["urgency"] for row in rows)


def test_an_unknown_one_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(ConfigError, match="no recipe 'sentimnt'") as refused:
        recipe("sentimnt")
    assert "Did you mean 'sentiment'?" in refused.value.remedy
    with pytest.raises(ConfigError, match="no recipe") as refused:
        recipe("../../etc/passwd")
    assert "Did you mean" not in refused.value.remedy


def test_the_command_lists_them_and_prints_one(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*arguments: str) -> int:
        return cli.main(lambda *_: None, ["--workspace", str(workspace.root), "recipes", *arguments])

    assert command() == 0
    listed = capsys.readouterr().out
    assert all(name in listed and found.title in listed for name, found in recipes().items())
    assert command("code_generation") == 0
    assert capsys.readouterr().out == as_yaml(recipe("code_generation"))
    assert command("nothing") == 1
    assert "There is no recipe 'nothing'." in capsys.readouterr().err


def test_one_is_trained_and_its_classes_are_scored(jobs: Jobs) -> None:
    state = wait_for_end(jobs.store, jobs.submit(on_tiny(recipe("medical_triage"))), 120)
    assert state.status == "done", state.problem
    assert state.labels
    assert set(state.labels.heads[0]["labels"]) == {"routine", "soon", "emergency"}
    used = json.loads(jobs.workspace.run(state.id).config.read_text())
    assert used["objective"]["class_weights"] == "balanced"


@pytest.mark.slow
@every
def test_it_trains(name: str, jobs: Jobs) -> None:
    found = recipes()[name]
    state = wait_for_end(jobs.store, jobs.submit(on_tiny(found)), 300)
    assert state.status == "done", f"{state.problem} {state.remedy}"
    assert state.saved
    assert state.step == 3
