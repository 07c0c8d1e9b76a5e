"""Where the base's own weights learn: all of them, or those that are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.adapter import save
from studio.config import RunConfig
from studio.errors import ConfigError
from studio.methods.freeze import Freeze
from studio.methods.full import Full
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes
from studio.preflight import check
from studio.workspace import Workspace
from tests.methods.bases import BASES, learn, output, structure, tiny_bert


def untied() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    values: dict[str, Any] = {**tiny_model().config.to_diff_dict(), "tie_word_embeddings": False}
    return LlamaForCausalLM(LlamaConfig(**values)).eval()


# -- full --------------------------------------------------------------------------------------------


def test_full_learns_and_saves_every_weight_once(tmp_path: Path) -> None:
    save(Full().attach(tiny_model()), tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {name: tuple(each.shape) for name, each in saved.items()} == tiny_shapes()


def test_the_copy_of_the_base_takes_two_bytes_a_weight_where_nothing_is_lost() -> None:
    published = tiny_model().to(torch.bfloat16).float()
    assert {each.dtype for each in Full().attach(published).aside.values()} == {torch.bfloat16}
    exact = Full().attach(tiny_model())
    learn(exact)
    with exact.disable_adapter():
        for name, weight in tiny_model().named_parameters():
            assert torch.equal(exact.get_parameter(f"base_model.{name}"), weight)


def test_full_says_what_memory_it_takes() -> None:
    assert any("16 bytes" in note for note in Full().notes("cpu"))
    assert any("the GPU's memory" in note for note in Full().notes("cuda"))


# -- freeze ------------------------------------------------------------------------------------------


def modules(names: list[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


def test_the_last_blocks_learn_with_the_norm_behind_them() -> None:
    found = Freeze(last_blocks=1).matched(Structure(tiny_shapes()))
    assert set(found) == {name for name in tiny_shapes() if ".layers.1." in name} | {"model.norm.weight"}


@pytest.mark.parametrize("base", sorted(BASES))
def test_what_is_shown_is_what_learns(base: str) -> None:
    for settings in ({"last_blocks": 1}, {"norms": True, "embeddings": True, "last_blocks": 0}):
        method = Freeze.parse(settings)
        model = BASES[base]()
        shown = method.matched(structure(model))
        assert [
            name for name, each in method.attach(model).base_model.named_parameters() if each.requires_grad
        ] == shown


def test_a_shared_expert_is_no_embedding() -> None:
    names = ("model.embed_tokens", "model.layers.0.mlp.shared_expert.gate_proj", "lm_head")
    found = Freeze(last_blocks=0, embeddings=True).matched(Structure({f"{name}.weight": (8, 4) for name in names}))
    assert modules(found) == {"model.embed_tokens", "lm_head"}


@pytest.mark.parametrize("name", ["full", "freeze"])
def test_weights_of_16_bits_that_would_hardly_learn_are_refused_before_the_run(
    name: str, tiny_config: Callable[..., RunConfig], workspace: Workspace
) -> None:
    for dtype in ("bfloat16", "float16"):
        with pytest.raises(ConfigError, match=f"hardly learns in {dtype}"):
            check(tiny_config(method=name, training={"dtype": dtype}), workspace)
        check(tiny_config(method="lora", training={"dtype": dtype}), workspace)
    check(tiny_config(method=name, training={"dtype": "float32"}), workspace)


def test_an_encoders_embedding_norm_is_not_the_norm_behind_its_last_block() -> None:
    assert all(name.startswith("encoder.layer.1.") for name in Freeze(last_blocks=1).matched(structure(tiny_bert())))


def test_embeddings_and_norms() -> None:
    tied, bert = Structure(tiny_shapes()), structure(tiny_bert())
    assert modules(Freeze(last_blocks=0, embeddings=True).matched(tied)) == {"model.embed_tokens"}
    assert modules(Freeze(last_blocks=0, embeddings=True).matched(structure(untied()))) == {
        "model.embed_tokens",
        "lm_head",
    }
    assert "embeddings.LayerNorm" not in modules(Freeze(last_blocks=0, embeddings=True).matched(bert))
    assert modules(Freeze(last_blocks=0, norms=True).matched(bert)) == {
        "embeddings.LayerNorm",
        *(f"encoder.layer.{block}.{part}output.LayerNorm" for block in (0, 1) for part in ("", "attention.")),
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("down_proj", {"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"}),
        ("*.1.mlp.*_proj", {f"model.layers.1.mlp.{name}_proj" for name in ("gate", "up", "down")}),
        ("model.layers.0.self_attn.q_proj.weight", {"model.layers.0.self_attn.q_proj"}),
        ("norm, 0.self_attn.q_proj", {"model.norm", "model.layers.0.self_attn.q_proj"}),
    ],
)
def test_further_weights_are_named_in_full_by_their_ends_or_a_pattern(pattern: str, expected: set[str]) -> None:
    assert modules(Freeze(last_blocks=0, pattern=pattern).matched(Structure(tiny_shapes()))) == expected


@pytest.mark.parametrize(
    ("settings", "problem", "remedy"),
    [
        ({"pattern": "query"}, "named like 'query'", "down_proj, embed_tokens, gate_proj"),
        ({"pattern": "mlp, *.head.*"}, r"named like '\*\.head\.\*'", "name parts such as"),
        ({"last_blocks": 3}, "'Last blocks' is 3, but the model has 2", "Lower it to 2"),
        ({"last_blocks": 0}, "No weight of the model would learn", "Set 'Last blocks'"),
    ],
)
def test_what_fits_nothing_is_refused_before_the_model_is_loaded(
    settings: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        Freeze.parse(settings).check(Structure(tiny_shapes()))
    assert remedy in caught.value.remedy


def test_blocks_are_the_outermost_numbers() -> None:
    experts = {
        f"model.layers.{block}.mlp.experts.{expert}.w1.weight": (4, 4) for block in (0, 1) for expert in range(8)
    }
    assert Structure(experts).blocks() == ["model.layers.0.", "model.layers.1."]
    assert Structure({"h.10.w": (1,), "h.9.w": (1,), "head.0.w": (1,)}).blocks() == ["h.9.", "h.10."]
    assert Structure({"w": (1,)}).blocks() == []


def test_frozen_blocks_below_are_not_computed_backwards_even_with_checkpointing() -> None:
    model = Freeze(last_blocks=1).attach(tiny_model())
    model.activation_checkpointing_enable()
    model.train()
    seen = []
    model.base_model.model.layers[0].register_forward_hook(lambda *told: seen.append(told[2].requires_grad))
    output(model)
    assert seen == [False]
