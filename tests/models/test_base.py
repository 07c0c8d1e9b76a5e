"""Loading: places, number formats, padding, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.errors import ModelError
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.tiny import tiny_model, tiny_tokenizer

HERE = placement("float32")


@pytest.fixture
def located(tmp_path: Path) -> Located:
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return Located(tmp_path, "Mine", "folder")


def edit(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_the_placement_has_a_reason_in_a_sentence() -> None:
    for dtype in ("auto", "bfloat16", "float16", "float32"):
        place = placement(dtype)
        assert place.reason.endswith(".")
        assert place.dtype == dtype or dtype == "auto"


def test_a_folder_loads_as_it_was_saved(located: Located) -> None:
    loaded = load(located, HERE)
    assert loaded.parameters == tiny_model().num_parameters()
    assert not loaded.model.training
    assert loaded.model.config._attn_implementation == "sdpa"
    expected = tiny_model().state_dict()
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(weight.cpu(), expected[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_number_format_is_the_placements(located: Located, dtype: Any) -> None:
    for each in (located, Located(None, "Tiny", "tiny")):
        assert load(each, placement(dtype)).model.dtype == getattr(torch, dtype)


def test_the_base_is_named_so_that_others_can_find_it(located: Located) -> None:
    assert load(located, HERE).model.name_or_path == str(located.path)
    assert load(Located(located.path, "a/b", "hub"), HERE).model.name_or_path == "a/b"
    assert load(Located(None, "Tiny", "tiny"), HERE).model.name_or_path == "tiny"


@pytest.mark.parametrize("padding", [None, "<|im_end|>"])
def test_padding_is_told_apart_from_the_end(located: Located, padding: str | None) -> None:
    assert located.path is not None
    edit(located.path / "tokenizer_config.json", pad_token=padding)
    loaded = load(located, HERE)
    assert loaded.tokenizer.pad_token == "<|endoftext|>"
    assert loaded.model.config.pad_token_id == loaded.model.generation_config.pad_token_id == 0


def test_an_unknown_architecture_is_refused(located: Located) -> None:
    assert located.path is not None
    edit(located.path / "config.json", model_type="never_heard_of", architectures=["NeverForCausalLM"])
    with pytest.raises(ModelError, match="does not know"):
        load(located, HERE)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
    ],
)
def test_what_does_not_write_text_is_refused(located: Located, config: dict[str, Any]) -> None:
    assert located.path is not None
    (located.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"{config['architectures'][0]}, which does not write text"):
        load(located, HERE)


def test_damaged_weights_are_refused(located: Located) -> None:
    assert located.path is not None
    weights = located.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="weights of Mine are damaged"):
        load(located, HERE)


def test_missing_weights_are_not_made_up(located: Located) -> None:
    assert located.path is not None
    weights = load_file(located.path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, located.path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, such as model\.layers\.1\.mlp\.up_proj"):
        load(located, HERE)


def test_a_folder_without_a_tokenizer_is_refused(located: Located) -> None:
    assert located.path is not None
    for file in located.path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load(located, HERE)
