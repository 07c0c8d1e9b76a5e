"""What is refused before a run touches anything."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.errors import ConfigError, DatasetError
from studio.methods.lora import Lora
from studio.models.base import load, placement
from studio.models.catalog import locate
from studio.preflight import check
from studio.workspace import Workspace

Make = Callable[..., RunConfig]

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.mark.parametrize(
    ("layer", "refused"), [("layers.0.self_attn.q_proj", False), ("model.layers.0.self_attn.q_proj", True)]
)
def test_full_names_of_layers_are_those_of_the_model_as_it_is_loaded(
    workspace: Workspace, tiny_config: Make, tmp_path: Path, layer: str, refused: bool
) -> None:
    rows = [{"text": f"this is {kind}", "label": kind} for kind in ("good", "bad") * 6]
    (tmp_path / "kinds.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    values = tiny_config(dataset={"source": str(tmp_path / "kinds.jsonl")}, method={"target_modules": layer}).to_dict()
    config = RunConfig.parse({**values, "objective": "classify"})
    body = load(locate("tiny", workspace.models, lambda *_: None), placement("float32"), writes=False).model
    method = Lora(target_modules=layer)
    if not refused:
        check(config, workspace)
        method.attach(body)
        return
    for wrong in (lambda: check(config, workspace), lambda: method.attach(body)):
        with pytest.raises(ConfigError, match="no linear layer named"):
            wrong()


def test_layers_that_a_model_not_fetched_yet_will_lack_are_refused(workspace: Workspace, tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match="no linear layer named 'c_attn'"):
        check(tiny_config(model="starter", method={"target_modules": "c_attn"}), workspace)
    assert not any(workspace.models.glob("*"))


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_8bit"])
def test_an_optimizer_in_8_bits_needs_its_package(
    workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch, optim: str
) -> None:
    find = importlib.util.find_spec
    hidden: Any = lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(ConfigError, match=f"{optim} needs bitsandbytes") as caught:
        check(tiny_config(training={"optim": optim}), workspace)
    assert "pip install bitsandbytes" in caught.value.remedy
    check(tiny_config(), workspace)


# -- rewards ----------------------------------------------------------------------------------------

POLICY = {"name": "ppo", "max_length": 64, "max_completion_length": 8}


@pytest.mark.parametrize(
    ("objective", "rewards", "problem"),
    [
        (POLICY, {}, "learns from rewards, and none is chosen"),
        (POLICY, {"length": {"weight": 0}}, "learns from rewards, and none with a weight is chosen"),
        (POLICY, {"length": {}, "keywords": {}}, "'Keywords' has no words to look for"),
        (POLICY, {"length": {}, "sentiment": {"run": "gone"}}, "'gone' is no run here that learnt labels"),
        ({"name": "next_token", "max_length": 64}, {"length": {}}, "learns from examples, so rewards (length)"),
        (POLICY, {"length": {}, "repetition": {"weight": -1}}, ""),
        (POLICY, {"similarity": {}}, ""),
    ],
)
def test_rewards_are_there_where_they_are_learnt_from_and_nowhere_else(
    workspace: Workspace, tiny_config: Make, objective: dict[str, Any], rewards: dict[str, Any], problem: str
) -> None:
    values = {**tiny_config().to_dict(), "objective": objective, "rewards": rewards}
    config = RunConfig.parse(values)
    if not problem:
        assert check(config, workspace).rewards == config.rewards
        return
    with pytest.raises(ConfigError) as caught:
        check(config, workspace)
    assert problem in caught.value.problem


def test_plain_text_has_no_right_answers_to_compare_with(
    workspace: Workspace, tiny_config: Make, tmp_path: Path
) -> None:
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": f"text {i}"}) for i in range(9)))
    values = tiny_config(dataset={"source": str(tmp_path / "texts.jsonl")}).to_dict()
    with pytest.raises(DatasetError, match="holds 'text' data"):
        check(RunConfig.parse({**values, "objective": POLICY, "rewards": {"similarity": {}}}), workspace)


def test_a_policy_learns_on_one_device(workspace: Workspace, tiny_config: Make) -> None:
    values = {**tiny_config(training={"num_processes": 2}).to_dict(), "objective": POLICY, "rewards": {"length": {}}}
    with pytest.raises(ConfigError, match="trains on one device"):
        check(RunConfig.parse(values), workspace)
