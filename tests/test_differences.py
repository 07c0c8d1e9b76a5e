"""In what runs differ, and what they are called for it."""

from __future__ import annotations

from typing import Any

from studio.config import RunConfig
from studio.differences import differences, flattened, names


def config(**changes: Any) -> dict[str, Any]:
    return RunConfig.parse({"model": "tiny", **changes}).to_dict()


def test_only_what_differs_is_listed_unless_all_is_asked_for() -> None:
    runs = [config(method={"name": "lora", "r": 4}), config(method={"name": "lora", "r": 8}, comparison="c")]
    assert differences(runs) == [("method.r", ["4", "8"])]
    assert ("model", ["tiny", "tiny"]) in differences(runs, everything=True)


def test_a_setting_of_one_method_only_is_missing_in_the_other() -> None:
    found = dict(differences([config(method="lora"), config(method="full")]))
    assert found["method.name"] == ["lora", "full"]
    assert found["method.r"][1] == "–"


def test_an_older_config_is_read_with_its_defaults() -> None:
    assert flattened({"model": "tiny"}) == flattened(config())


def test_a_config_that_cannot_be_read_is_shown_as_it_is() -> None:
    assert flattened({"model": "tiny", "future": {"knob": None, "list": [1]}}) == {
        "model": "tiny", "future.knob": "–", "future.list": "[1]",
    }  # fmt: skip


def test_runs_are_named_by_what_differs() -> None:
    assert names([config(method="lora"), config(method="full")]) == ["LoRA", "Full fine-tuning"]
    assert names([config(method={"name": "lora", "r": r}) for r in (4, 8)]) == ["r 4", "r 8"]
    mixed = [config(method={"name": "lora", "r": r}) for r in (4, 8)] + [config(method="full")]
    assert names(mixed) == ["LoRA · r 4", "LoRA · r 8", "Full fine-tuning"]
    assert names([config(), config()]) == ["LoRA (1)", "LoRA (2)"]
