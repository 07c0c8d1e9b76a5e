"""LoRA's and QLoRA's own settings."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from studio.errors import ConfigError
from studio.methods._layers import linear_layers
from studio.methods.lora import Lora
from studio.methods.qlora import Qlora
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.tiny import tiny_model

TINY = Located(None, "Tiny", "tiny")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def adapted(model: Any) -> set[str]:
    """Last names of the layers that got an adapter."""
    return {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if ".lora_A" in name}


def test_all_linear_adapts_every_linear_layer_but_the_output() -> None:
    everything = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in linear_layers(tiny_model())} == everything
    assert adapted(Lora().attach(tiny_model())) == everything


def test_gpt2s_own_linear_layers_are_found() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64, n_positions=16))
    assert linear_layers(model)["transformer.h.0.attn.c_attn"] == (16, 48)
    assert "lm_head" not in linear_layers(model)


def test_named_layers_only() -> None:
    model = Lora(target_modules=" q_proj, 1.mlp.up_proj ").attach(tiny_model())
    names = {name.split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name}
    assert sorted(name.split("layers.")[1] for name in names) == [
        "0.self_attn.q_proj",
        "1.mlp.up_proj",
        "1.self_attn.q_proj",
    ]


@pytest.mark.parametrize("named", ["query", "q_proj, query", "lm_head", "proj", " , "])
def test_a_name_that_matches_nothing_is_refused_with_those_there_are(named: str) -> None:
    with pytest.raises(ConfigError, match=r"choose from: down_proj, gate_proj, k_proj") as caught:
        Lora(target_modules=named).attach(tiny_model())
    assert "lm_head" not in caught.value.remedy


def test_a_rank_above_the_narrowest_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'Rank' is 33, but .*k_proj is only 32 wide"):
        Lora(r=33).attach(tiny_model())
    assert Lora(r=33, target_modules="q_proj").attach(tiny_model()) is not None


def test_the_adapter_is_float32_on_a_bfloat16_base() -> None:
    model = Lora().attach(tiny_model().to(torch.bfloat16))
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}
    assert {each.dtype for each in model.parameters() if not each.requires_grad} == {torch.bfloat16}


@pytest.mark.parametrize(("rank_stabilised", "scale"), [(False, 8.0), (True, 16.0)])
def test_the_scale_is_alpha_over_rank_or_its_root(rank_stabilised: bool, scale: float) -> None:
    model = Lora(r=4, lora_alpha=32, use_rslora=rank_stabilised).attach(tiny_model())
    scales = {layer.scaling["default"] for layer in model.modules() if hasattr(layer, "lora_A")}
    assert scales == {scale}


def test_dora_learns_magnitudes_too() -> None:
    model = Lora(use_dora=True).attach(tiny_model())
    assert any("magnitude" in name for name, each in model.named_parameters() if each.requires_grad)


@pytest.mark.parametrize(
    "wrong", [{"r": 0}, {"r": 257}, {"lora_dropout": 1.0}, {"lora_alpha": 0}, {"target_modules": ""}, {"rank": 8}]
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Lora.parse(wrong)


@pytest.mark.parametrize(("bits", "share"), [("4", 0.35), ("8", 0.6)])
def test_qlora_keeps_the_frozen_weights_small(bits: str, share: float) -> None:
    method = Qlora.parse({"bits": bits})
    plain, packed = tiny_model().to(torch.bfloat16), load(TINY, placement("bfloat16"), method.quantization()).model
    layers = [name for name in linear_layers(plain) if "layers" in name]
    before = sum(plain.get_submodule(name).weight.nbytes for name in layers)
    after = sum(packed.get_submodule(name).weight.nbytes for name in layers)
    assert after < share * before
    assert adapted(method.attach(packed)) == adapted(Lora().attach(plain))


def test_parameters_are_counted_as_if_nothing_were_quantised() -> None:
    assert load(TINY, placement("float32"), Qlora().quantization()).parameters == tiny_model().num_parameters()


def test_qlora_refuses_a_base_that_is_not_quantised() -> None:
    with pytest.raises(ConfigError, match="quantised base"):
        Qlora().attach(tiny_model())


def test_dora_on_eight_bits_is_refused_where_it_cannot_run() -> None:
    method = Qlora(bits="8", use_dora=True)
    where = placement("float32")
    if where.device == "cuda":
        pytest.skip("works on NVIDIA GPUs")
    with pytest.raises(ConfigError, match="DoRA"):
        method.attach(load(TINY, where, method.quantization()).model)


def test_without_bitsandbytes_qlora_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what Python itself takes for "not importable"
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        Qlora().quantization()


def test_qlora_is_honest_about_cpus() -> None:
    assert any("0.65 nats" in note for note in Qlora().notes("cpu"))
    assert Qlora().notes("cuda") == []
