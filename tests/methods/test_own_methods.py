"""Methods of our own: full, partial, bottleneck adapters, LoRA from scratch. What all keep is in the contract."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from studio.adapter import attach_saved, save
from studio.catalog import Chosen
from studio.config import RunConfig
from studio.errors import ConfigError, ModelError
from studio.methods import Method, methods
from studio.methods.bottleneck import Bottleneck
from studio.methods.freeze import Freeze
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.methods.lora_scratch import LoraScratch
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes
from studio.preflight import check
from studio.workspace import Workspace

OURS = ("bottleneck", "freeze", "full", "lora_scratch")
BATCH = torch.tensor([[1, 87, 85, 71, 84, 20, 74, 75, 2, 21], [1, 67, 85, 85, 75, 20, 70, 71, 2, 21]])
BERT: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),  # peft sets it itself
]


def tiny_bert() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    return BertModel(BertConfig(**BERT), add_pooling_layer=False).eval()


def tiny_gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=259, n_positions=16)).eval()


def untied() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    values: dict[str, Any] = {**tiny_model().config.to_diff_dict(), "tie_word_embeddings": False}
    return LlamaForCausalLM(LlamaConfig(**values)).eval()


BASES = {"llama": tiny_model, "gpt2": tiny_gpt2, "bert": tiny_bert}


def structure(model: Any) -> Structure:
    return Structure({name: tuple(weight.shape) for name, weight in model.named_parameters()})


def output(model: Any) -> torch.Tensor:
    """What a model tells: logits, or where it only reads its last hidden states."""
    told = model(input_ids=BATCH)
    return told.logits if hasattr(told, "logits") else told.last_hidden_state


def learn(model: Any, steps: int = 3, rate: float = 5e-3) -> None:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=rate)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        output(model).float().logsumexp(-1).mean().backward()
        optimizer.step()
    model.eval()


# -- on every kind of base ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("base", sorted(BASES))
def test_they_learn_and_come_back_from_disk_on_models_that_write_or_only_read(
    name: str, base: str, tmp_path: Path
) -> None:
    method = methods()[name]()
    expected = output(BASES[base]()).detach()
    model = method.attach(BASES[base]()).eval()
    torch.testing.assert_close(output(model), expected)
    learn(model)
    tuned = output(model).detach()
    assert not torch.allclose(tuned, expected, atol=1e-3)
    with model.disable_adapter():
        torch.testing.assert_close(output(model), expected)
    torch.testing.assert_close(output(model), tuned, rtol=0, atol=0)
    save(model, tmp_path / "adapter")
    torch.testing.assert_close(output(attach_saved(BASES[base](), tmp_path / "adapter")), tuned, rtol=0, atol=0)


@pytest.mark.parametrize("name", OURS)
def test_they_learn_on_a_bfloat16_base(name: str, tmp_path: Path) -> None:
    model = methods()[name]().attach(tiny_model().to(torch.bfloat16))
    expected = output(tiny_model().to(torch.bfloat16))
    learn(model)
    tuned = output(model)
    assert tuned.dtype == torch.bfloat16
    assert not torch.equal(tuned, expected)
    with model.disable_adapter():
        torch.testing.assert_close(output(model), expected, rtol=0, atol=0)
    save(model, tmp_path / "adapter")
    again = attach_saved(tiny_model().to(torch.bfloat16), tmp_path / "adapter")
    torch.testing.assert_close(output(again), tuned, rtol=0, atol=0)


@pytest.mark.parametrize("name", OURS)
def test_how_many_weights_learn_is_known_from_names_and_shapes(name: str) -> None:
    for base in BASES.values():
        method, model = methods()[name](), base()
        expected = method.trainable(structure(model))
        assert sum(each.numel() for each in method.attach(model).parameters() if each.requires_grad) == expected


@pytest.mark.parametrize("name", ["bottleneck", "lora_scratch"])
def test_what_lies_beside_a_bfloat16_base_is_float32(name: str) -> None:
    model = methods()[name]().attach(tiny_model().to(torch.bfloat16))
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}


@pytest.mark.parametrize("name", OURS)
def test_switching_off_may_be_nested_and_happen_while_answering(name: str) -> None:
    model = methods()[name]().attach(tiny_model())
    learn(model)
    tuned = output(model).detach()
    with torch.inference_mode(), model.disable_adapter():
        off = output(model).clone()
        with model.disable_adapter():
            assert torch.equal(output(model), off)
        assert torch.equal(output(model), off)
    assert torch.equal(output(model), tuned)
    learn(model, 1)  # nothing made in inference mode is left in it


@pytest.mark.parametrize("name", OURS)
def test_a_copy_is_a_model_of_its_own(name: str) -> None:
    model = methods()[name]().attach(tiny_model()).eval()
    before = output(model).detach()
    other = copy.deepcopy(model)
    learn(other)
    assert torch.equal(output(model), before)
    assert not torch.allclose(output(other), before)
    with other.disable_adapter():
        torch.testing.assert_close(output(other), before)


@pytest.mark.parametrize("name", OURS)
def test_the_adapter_says_which_method_it_belongs_to(name: str, tmp_path: Path) -> None:
    method = methods()[name]()
    save(method.attach(tiny_model()), tmp_path / "adapter")
    about = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert about["peft_type"] == "STUDIO"
    import studio.methods

    assert Chosen(studio.methods, Method).parse(about["method"]) == method


@pytest.mark.parametrize("name", OURS)
def test_an_adapter_of_another_base_is_refused(name: str, tmp_path: Path) -> None:
    save(methods()[name]().attach(tiny_bert()), tmp_path / "adapter")
    with pytest.raises(ModelError, match="another base model"):
        attach_saved(tiny_model(), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("name", "base"),
    [("full", "llama"), ("freeze", "gpt2"), *(("lora_scratch", base) for base in BASES)],
)
def test_merged_it_is_a_plain_model_that_tells_the_same(name: str, base: str) -> None:
    model = methods()[name]().attach(BASES[base]())
    learn(model)
    tuned = output(model).detach()
    merged = model.merge_and_unload()
    assert type(merged) is type(BASES[base]())
    assert structure(merged) == structure(BASES[base]())
    torch.testing.assert_close(output(merged), tuned, rtol=1e-4, atol=1e-5)


def test_a_bottleneck_cannot_be_merged() -> None:
    assert not Bottleneck.merges
    with pytest.raises(NotImplementedError, match="no update of a weight"):
        Bottleneck().attach(tiny_model()).merge_and_unload()


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
