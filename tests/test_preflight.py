"""What is refused before a run touches anything."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.errors import ConfigError
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
