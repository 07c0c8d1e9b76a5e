"""Where a wrapper sits on each layer: bottleneck adapters, LoRA from scratch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from studio.errors import ConfigError
from studio.methods.bottleneck import Bottleneck
from studio.methods.lora import Lora
from studio.methods.lora_scratch import LoraScratch
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes
from tests.methods.bases import BASES, output, tiny_gpt2

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),  # peft sets it itself
]


# -- bottleneck --------------------------------------------------------------------------------------


def wrapped(model: Any) -> set[str]:
    return {name.partition(".down.")[0] for name, _ in model.base_model.named_parameters() if ".down." in name}


@pytest.mark.parametrize(
    ("base", "attention", "feed_forward"),
    [
        ("llama", "model.layers.{}.self_attn.o_proj", "model.layers.{}.mlp.down_proj"),
        ("gpt2", "transformer.h.{}.attn.c_proj", "transformer.h.{}.mlp.c_proj"),
        ("bert", "encoder.layer.{}.attention.output.dense", "encoder.layer.{}.output.dense"),
    ],
)
def test_an_adapter_is_behind_attention_and_feed_forward_of_each_block(
    base: str, attention: str, feed_forward: str
) -> None:
    def named(*places: str) -> set[str]:
        return {place.format(block) for place in places for block in (0, 1)}

    assert wrapped(Bottleneck().attach(BASES[base]())) == named(attention, feed_forward)
    assert wrapped(Bottleneck(where="attention").attach(BASES[base]())) == named(attention)
    assert wrapped(Bottleneck(where="feed_forward").attach(BASES[base]())) == named(feed_forward)


def test_the_bottleneck_adds_what_the_paper_says() -> None:
    model = Bottleneck(reduction_factor=8, non_linearity="relu").attach(tiny_model())
    adapter: Any = model.get_submodule("base_model.model.layers.0.mlp.down_proj")
    assert adapter.down.weight.shape == (64 // 8, 64)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(2, 3, 128)
    h = adapter.base_layer(x)
    inner = torch.clamp(h @ adapter.down.weight.T + adapter.down.bias, min=0)
    torch.testing.assert_close(adapter(x), h + inner @ adapter.up.weight.T + adapter.up.bias)


def test_where_there_is_no_such_layer_the_bottleneck_is_refused() -> None:
    shapes = {f"h.{block}.{name}.weight": (4, 4) for block in (0, 1) for name in ("attn.o_proj", "mlp.mystery")}
    with pytest.raises(ConfigError, match=r"behind the feed-forward part of h\.0 was found"):
        Bottleneck().check(Structure(shapes))
    Bottleneck(where="attention").check(Structure(shapes))
    with pytest.raises(ConfigError, match="behind the attention of the model"):
        Bottleneck().check(Structure({"weight": (4, 4)}))
    Bottleneck().check(Structure(tiny_shapes()))


# -- LoRA from scratch -------------------------------------------------------------------------------


def twins(base: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Ours and peft's with the same A and a B that is no longer zero."""
    ours, theirs = LoraScratch.parse(settings).attach(base()), Lora.parse(settings).attach(base())
    torch.manual_seed(1)
    weights = dict(theirs.named_parameters())
    for name, weight in ours.learnt_weights().items():
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape) * 0.05)
            weights[peft_name(name)].copy_(weight)
    assert len(ours.learnt) == sum(each.requires_grad for each in theirs.parameters())
    return ours, theirs


def peft_name(name: str) -> str:
    return f"base_model.model.{name}".replace(".weight", ".default.weight")


SETTINGS = [
    {},
    {"r": 1, "lora_alpha": 7},
    {"r": 8, "lora_alpha": 4, "target_modules": "q_proj, down_proj"},
    {"r": 4, "lora_dropout": 0.3},
]


@pytest.mark.parametrize(
    ("base", "settings"),
    [*(("llama", each) for each in SETTINGS), ("gpt2", {"target_modules": "c_attn, c_proj"}), ("bert", {})],
)
def test_outputs_gradients_and_updates_are_pefts(base: str, settings: dict[str, Any]) -> None:
    ours, theirs = (each.train() for each in twins(BASES[base], settings))
    optimizers = [
        torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)
        for model in (ours, theirs)
    ]
    for step in range(3):
        told = []
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            torch.manual_seed(step)  # the same dropout
            optimizer.zero_grad()
            told.append(output(model))
            told[-1].logsumexp(-1).mean().backward()
        torch.testing.assert_close(told[0], told[1], rtol=1e-6, atol=1e-6)
        weights = dict(theirs.named_parameters())
        for name, weight in ours.learnt_weights().items():
            torch.testing.assert_close(weight.grad, weights[peft_name(name)].grad, rtol=1e-5, atol=1e-7)
        for optimizer in optimizers:
            optimizer.step()
        for name, weight in ours.learnt_weights().items():
            torch.testing.assert_close(weight, weights[peft_name(name)], rtol=1e-4, atol=1e-6)


def test_merging_writes_what_peft_would() -> None:
    ours, theirs = twins(tiny_gpt2, {"target_modules": "c_attn, c_fc", "r": 4})
    merged = dict(theirs.merge_and_unload().named_parameters())
    for name, weight in ours.merge_and_unload().named_parameters():
        torch.testing.assert_close(weight, merged[name], rtol=1e-6, atol=1e-6)


def test_it_reads_at_random_and_writes_nothing_at_first() -> None:
    model = LoraScratch(r=8).attach(tiny_model())
    for name, weight in model.learnt_weights().items():
        if "lora_B" in name:
            assert not weight.any()
        else:
            assert weight.std().item() == pytest.approx(weight.shape[1] ** -0.5, rel=0.2)


def test_a_rank_or_a_layer_that_does_not_fit_is_refused_before_the_model_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"'Rank' is 33, but .*k_proj is only 32 wide"):
        LoraScratch(r=33).check(Structure(tiny_shapes()))
    with pytest.raises(ConfigError, match="no linear layer named 'query'"):
        LoraScratch(target_modules="query").check(Structure(tiny_shapes()))
