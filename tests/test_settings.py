"""A setting is declared once; everything else must follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig, read_config
from studio.errors import ConfigError
from studio.methods import methods
from studio.objectives import objectives
from studio.settings import facts
from studio.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[1]


def test_every_field_in_the_form_explains_itself() -> None:
    for cls in (RunConfig, TrainingSettings, *methods().values(), *objectives().values()):
        for fact in facts(cls):
            assert fact.label, (cls, fact.name)
            assert fact.help.endswith((".", "?", ":")), (cls, fact.name)


def test_the_readme_example_is_accepted_as_it_stands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = readme.split("```yaml\nmodel:")[1].split("```")[0]
    path = ROOT / ".pytest_cache" / "readme.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("model:" + example, encoding="utf-8")
    config = read_config(path)
    assert config.training.max_steps == 60
    assert config.method_name == "lora"


def test_yaml_goes_both_ways(tmp_path: Path) -> None:
    config = RunConfig.parse({"method": {"name": "qlora", "bits": "8"}, "training": {"learning_rate": 3e-5}, "seed": 7})
    for short in (True, False):
        path = tmp_path / f"{short}.yaml"
        path.write_text(config.to_yaml(short=short), encoding="utf-8")
        assert read_config(path) == config
    assert "weight_decay" not in config.to_yaml(short=True)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"training": {"learning_rate": -1}}, "training.learning_rate"),
        ({"training": {"learning_rat": 1e-4}}, "learning_rat"),
        ({"method": {"name": "lore"}}, "lora"),
        ({"method": {"name": ["a"]}}, "lora"),
        ({"method": 3}, "lora"),
        ({"method": {"name": "lora", "r": 0}}, "method.r"),
        ({"objective": {"name": "next_token", "max_length": "long"}}, "objective.max_length"),
        ({"seed": 1.5}, "seed"),
        ({"modle": "tiny"}, "modle"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RunConfig.parse(values)
    assert named in str(refused.value)
    assert refused.value.remedy
    assert "validation error" not in str(refused.value)


@pytest.mark.parametrize(
    "content", ["a: [1", "- 1", "", "\x00", "model: !!python/object:os.system ls", "model: 2024-13-01"]
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(path)
