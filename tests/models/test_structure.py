"""What a model is made of, from its files' headers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from studio.errors import ConfigError
from studio.methods._layers import linear_layers
from studio.methods.lora import Lora
from studio.models.catalog import structure_of
from studio.models.structure import Structure, read_structure
from studio.models.tiny import tiny_model, tiny_shapes


def test_the_tiny_models_shapes_are_its_own() -> None:
    assert tiny_shapes() == {name: tuple(weight.shape) for name, weight in tiny_model().named_parameters()}


def test_headers_tell_what_the_model_itself_would(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    found = read_structure(tmp_path)
    assert found is not None
    assert found == Structure(tiny_shapes())
    assert found.linear().keys() == linear_layers(tiny_model()).keys()


@pytest.mark.parametrize("damaged", [b"", b"12", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"no{}"])
def test_a_damaged_header_tells_nothing(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(damaged)
    assert read_structure(tmp_path) is None


def test_a_model_that_is_not_here_yet_is_not_fetched_to_find_out(tmp_path: Path) -> None:
    assert structure_of("starter", tmp_path) is None
    assert structure_of("nobody/nothing", tmp_path) is None


def test_the_starters_layers_are_known_before_it_is_loaded(starter_model: Path) -> None:
    found = structure_of("starter", starter_model.parent)
    assert found is not None
    assert len(found.linear()) == 7 * 30
    with pytest.raises(ConfigError, match=r"'Rank' is 200, but .* is only 192 wide"):
        Lora(r=200).check(found)
    with pytest.raises(ConfigError, match="no linear layer named 'query'"):
        Lora(target_modules="query").check(found)
