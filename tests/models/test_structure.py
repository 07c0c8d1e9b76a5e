"""What a model is made of, from its files' headers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ConfigError
from studio.methods._layers import linear_layers
from studio.methods.lora import Lora
from studio.models.catalog import is_here, structure_of
from studio.models.minilm import MINILM
from studio.models.structure import Structure, read_structure
from studio.models.tiny import tiny_model, tiny_shapes
from tests.models.test_heads import tiny_bert


def test_the_tiny_models_shapes_are_its_own() -> None:
    assert tiny_shapes() == {name: tuple(weight.shape) for name, weight in tiny_model().named_parameters()}


def test_headers_tell_what_the_model_itself_would(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    found = read_structure(tmp_path)
    assert found is not None
    assert found == Structure(tiny_shapes())
    assert found.linear().keys() == linear_layers(tiny_model()).keys()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_shared_experts_are_linear_layers_and_the_fused_ones_are_not(tmp_path: Path) -> None:
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "moe_intermediate_size": 8, "num_experts": 4}
    heads: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = Qwen2MoeForCausalLM(
        Qwen2MoeConfig(vocab_size=32, shared_expert_intermediate_size=8, pad_token_id=0, **sizes, **heads)
    )
    model.save_pretrained(tmp_path)
    found = read_structure(tmp_path)
    assert found is not None
    assert any(".experts.3." in name for name in found.weights)
    assert found.linear().keys() == linear_layers(model).keys()
    assert "model.layers.0.mlp.shared_expert.gate_proj" in found.linear()
    method = Lora(r=4, target_modules="shared_expert.gate_proj, q_proj")
    method.check(found)
    learning = {name for name, each in method.attach(model).named_parameters() if each.requires_grad}
    assert {name.partition(".lora_")[0].rpartition(".")[2] for name in learning} == {"gate_proj", "q_proj"}
    Lora(r=4).check(found)  # whatever the width of the shared expert's gate
    assert method.trainable(found) is None


@pytest.mark.parametrize("damaged", [b"", b"12", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"no{}"])
def test_a_damaged_header_tells_nothing(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(damaged)
    assert read_structure(tmp_path) is None


def test_a_model_that_is_not_here_yet_is_not_fetched_to_find_out(tmp_path: Path) -> None:
    assert structure_of("nobody/nothing", tmp_path) is None
    assert not is_here("starter", tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["starter", "minilm"])
def test_layers_of_bundled_models_are_known_before_they_are_fetched(tmp_path: Path, model: str) -> None:
    found = structure_of(model, tmp_path)
    assert found is not None
    with pytest.raises(ConfigError, match="no linear layer named 'c_attn'"):
        Lora(target_modules="c_attn").check(found)


def test_the_encoders_shapes_are_its_own() -> None:
    import torch
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        bert = BertModel(BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6))
    assert MINILM.shapes == {name: tuple(weight.shape) for name, weight in bert.named_parameters()}


def test_a_body_is_named_as_it_is_loaded_to_read_only(tmp_path: Path) -> None:
    from transformers import AutoModel, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=4, n_layer=2, n_head=2))
    for at, whole in enumerate((tiny_model(), gpt2, BertForMaskedLM(tiny_bert().config), tiny_bert())):
        folder = tmp_path / str(at)
        whole.save_pretrained(folder)
        found = structure_of(str(folder), tmp_path, writes=False)
        body = AutoModel.from_pretrained(folder)
        named = {name: tuple(weight.shape) for name, weight in body.named_parameters()}
        assert found is not None
        assert found.weights == {name: shape for name, shape in named.items() if name in found.weights}
        assert all(name.startswith("pooler.") for name in named.keys() - found.weights.keys())
    output = Structure({"wte.weight": (8, 4), "h.0.w.weight": (4, 4), "lm_head.weight": (8, 4)})
    assert output.body().weights.keys() == {"wte.weight", "h.0.w.weight"}


def test_the_starters_layers_are_known_before_it_is_loaded(starter_model: Path) -> None:
    found = structure_of("starter", starter_model.parent)
    assert found is not None
    assert found == read_structure(starter_model)
    assert len(found.linear()) == 7 * 30
    with pytest.raises(ConfigError, match=r"'Rank' is 200, but .* is only 192 wide"):
        Lora(r=200).check(found)
    with pytest.raises(ConfigError, match="no linear layer named 'query'"):
        Lora(target_modules="query").check(found)
