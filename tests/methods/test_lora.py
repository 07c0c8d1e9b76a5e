"""LoRA's and QLoRA's own settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.errors import ConfigError
from studio.methods import qlora
from studio.methods._layers import linear_layers
from studio.methods.dora import Dora
from studio.methods.lora import Lora
from studio.methods.qlora import Qlora
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes

TINY = Located(None, "Tiny", "tiny")
IDS = torch.tensor([[1, 87, 85, 71, 84, 201, 74, 75, 2, 201]] * 2)
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize("driver", [False, True])
def test_it_is_refused_before_anything_is_loaded_only_where_no_gpu_can_be(
    driver: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(qlora, "_SIGNS_OF_A_GPU", (str(tmp_path / "none"), *([str(tmp_path)] * driver)))
    Qlora(bits="8").check_machine()
    Qlora(bits="4", use_dora=True).check_machine()
    if driver or sys.platform == "win32":
        Qlora(bits="8", use_dora=True).check_machine()
    else:
        with pytest.raises(ConfigError, match="DoRA cannot read 8-bit weights"):
            Qlora(bits="8", use_dora=True).check_machine()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_unpacked_is_computed_in_the_runs_number_format(dtype: str) -> None:
    assert Qlora().quantization(dtype).bnb_4bit_compute_dtype == getattr(torch, dtype)


def test_without_bitsandbytes_qlora_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what Python itself takes for "not importable"
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        Qlora().quantization()


def test_qlora_is_honest_about_cpus() -> None:
    assert any("0.65 nats" in note for note in Qlora().notes("cpu"))
    assert not any("4 bits" in note for note in Qlora(bits="8").notes("cpu"))
    assert any("Choose the optimizer paged_adamw_8bit" in note for note in Qlora().notes("cuda"))


# -- starts, ranks by layer, LoRA+ ------------------------------------------------------------------------


def tuned(method: Lora, base: Any, steps: int = 4, weight_decay: float = 0.0) -> tuple[Any, list[float]]:
    """`base` with `method` attached and trained a little, and its losses."""
    torch.manual_seed(0)
    return trained(method.attach(base), method, steps, weight_decay)


@torch.enable_grad()
def trained(model: Any, method: Lora, steps: int = 4, weight_decay: float = 0.0) -> tuple[Any, list[float]]:
    rates = method.rates(model)
    groups = [
        {"params": [each], "lr": 1e-3 * rates.get(name, 1.0)}
        for name, each in model.named_parameters()
        if each.requires_grad
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
    losses = []
    for _ in range(steps):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model.eval(), losses


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "pissa", "olora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_whatever_the_start_the_base_stays_whole_and_it_loads_again(start: Any, dtype: Any, tmp_path: Path) -> None:
    def base() -> Any:
        return tiny_model().to(dtype)

    with torch.no_grad():
        expected = base()(input_ids=IDS).logits
        first = Lora(r=8, init_lora_weights=start).attach(base()).eval()(input_ids=IDS).logits
        torch.testing.assert_close(first, expected, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.5)
        model, losses = tuned(Lora(r=8, init_lora_weights=start), base())
        assert losses[-1] < losses[0]
        after = model(input_ids=IDS).logits
        with model.disable_adapter():
            torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=0, atol=0)
        save(model, tmp_path / "adapter")
        again = attach_saved(base(), tmp_path / "adapter")
        torch.testing.assert_close(again(input_ids=IDS).logits, after, rtol=0, atol=0)


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_it_learns_just_as_where_peft_takes_the_start_off_the_base(start: Any, rank_stabilised: bool) -> None:
    ours = Lora(r=8, init_lora_weights=start, use_rslora=rank_stabilised)
    _, losses = tuned(ours, tiny_model())

    class Theirs(Lora):
        def attach(self, model: Any, steps: int = 0) -> Any:
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(
                task_type="CAUSAL_LM", r=8, lora_alpha=32, init_lora_weights=start, use_rslora=rank_stabilised,
                target_modules="all-linear",
            )  # fmt: skip
            return get_peft_model(model, config)

    _, expected = tuned(Theirs(), tiny_model())
    assert losses == pytest.approx(expected, rel=2e-2)


def factors(model: Any) -> list[torch.Tensor]:
    """A and B', which both hold what learns above what stays, of one layer."""
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    return [layer.lora_A["default"].weight.detach().clone(), layer.lora_B["default"].weight.detach().T.clone()]


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_what_a_start_takes_off_again_stays_even_where_weights_decay_and_learning_goes_on(
    start: Any, tmp_path: Path
) -> None:
    method = Lora(r=4, init_lora_weights=start)
    model, _ = tuned(method, tiny_model(), steps=0)
    before = factors(model)
    trained(model, method, weight_decay=10)
    middle = factors(model)
    save(model, tmp_path / "adapter")
    again = attach_saved(tiny_model(), tmp_path / "adapter", trainable=True)
    for each, kept in zip(factors(again), middle, strict=True):
        assert torch.equal(each, kept)
    trained(again, method, weight_decay=10)
    for was, then, now, sign in zip(before, middle, factors(again), (1, -1), strict=True):
        assert torch.equal(was[:4], sign * was[4:])
        assert torch.equal(was[4:], then[4:])
        assert torch.equal(was[4:], now[4:])
        assert not torch.equal(was[:4], then[:4])
        assert not torch.equal(then[:4], now[:4])


@pytest.mark.parametrize("start", ["default", "pissa", "olora"])
def test_only_what_learns_is_counted_as_learning(start: Any, tmp_path: Path) -> None:
    method = Lora(r=4, init_lora_weights=start)
    model = method.attach(tiny_model())
    save(model, tmp_path / "adapter")
    for each in (model, attach_saved(tiny_model(), tmp_path / "adapter", trainable=True)):
        assert sum(weight.numel() for weight in each.parameters() if weight.requires_grad) == 8192
    assert method.trainable(Structure(tiny_shapes())) == 8192


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_merged_a_start_is_taken_off_again(start: Any) -> None:
    model, _ = tuned(Lora(r=4, init_lora_weights=start), tiny_model())
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
        torch.testing.assert_close(model.merge_and_unload()(input_ids=IDS).logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_dora_and_packed_weights_take_no_such_start(start: Any) -> None:
    with pytest.raises(ConfigError, match="DoRA cannot begin with"):
        Lora(init_lora_weights=start, use_dora=True).attach(tiny_model())
    with pytest.raises(ConfigError, match="kept in 4 bits"):
        Qlora(init_lora_weights=start).check(Structure(tiny_shapes()))


def test_an_orthogonal_start_wants_an_even_rank() -> None:
    with pytest.raises(ConfigError, match="even rank"):
        Lora(r=7, init_lora_weights="orthogonal").check(Structure(tiny_shapes()))


@pytest.mark.parametrize("start", ["default", "pissa"])
def test_ranks_by_layer_keep_the_scale(start: Any) -> None:
    method = Lora(r=4, lora_alpha=8, rank_pattern="q_proj=2, 1.mlp.up_proj = 16", init_lora_weights=start)
    model = method.attach(tiny_model())
    halves = 2 if start == "pissa" else 1
    ranks = {
        name.split("layers.")[1]: layer.r["default"] // halves
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A")
    }
    assert ranks["0.self_attn.q_proj"] == ranks["1.self_attn.q_proj"] == 2
    assert ranks["1.mlp.up_proj"] == 16
    assert {rank for name, rank in ranks.items() if not name.endswith(("q_proj", "1.mlp.up_proj"))} == {4}
    assert {layer.scaling["default"] for layer in model.modules() if hasattr(layer, "lora_A")} == {2.0}
    told = method.trainable(Structure(tiny_shapes()))
    assert told == sum(each.numel() for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize("start", ["default", "pissa"])
def test_rank_stabilised_each_rank_has_its_own_scale(start: Any) -> None:
    method = Lora(r=4, lora_alpha=8, rank_pattern="q_proj=16", use_rslora=True, init_lora_weights=start)
    named = method.attach(tiny_model()).named_modules()
    scales = {name.rpartition(".")[2]: layer.scaling["default"] for name, layer in named if hasattr(layer, "lora_A")}
    assert scales.pop("q_proj") == pytest.approx(8 / 16**0.5)
    assert list(scales.values()) == pytest.approx([8 / 4**0.5] * len(scales))


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("query=8", "no linear layer named 'query'"),
        ("k_proj=33", r"'Rank' is 33, but .*k_proj is only 32 wide"),
        ("q_proj", "no 'name=rank'"),
        ("q_proj=0", "no 'name=rank'"),
        ("q_proj=x", "no 'name=rank'"),
        ("all-linear=4", "no 'name=rank'"),
    ],
)
def test_ranks_by_layer_that_cannot_be_are_refused_before_anything_is_loaded(pattern: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Lora(rank_pattern=pattern).check(Structure(tiny_shapes()))


def test_in_lora_plus_b_learns_faster() -> None:
    model = Lora().attach(tiny_model())
    assert Lora().rates(model) == {}
    rates = Lora(loraplus_lr_ratio=16).rates(model)
    assert set(rates.values()) == {16.0}
    assert rates.keys() == {name for name, each in model.named_parameters() if each.requires_grad and "lora_B" in name}


@pytest.mark.parametrize("method", [Lora(), Dora()])
def test_rows_of_new_tokens_learn_with_it_and_are_saved(method: Lora, tmp_path: Path) -> None:
    def base() -> Any:
        model = tiny_model()
        model.resize_token_embeddings(262, mean_resizing=False)
        model.get_input_embeddings().weight.data[259:] = 0.1
        model.new_token_ids = [259, 260, 261]
        return model

    ids = torch.cat((IDS, torch.tensor([[259, 260, 261]] * 2)), dim=1)
    model = method.attach(base())
    before = model(input_ids=ids).logits
    assert sum("token_adapter" in name for name, each in model.named_parameters() if each.requires_grad) == 1
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    with torch.no_grad():
        after = model.eval()(input_ids=ids).logits
        assert not torch.allclose(before, after)
        with model.disable_adapter():
            torch.testing.assert_close(model(input_ids=ids).logits, base()(input_ids=ids).logits)
        save(model, tmp_path / "adapter")
        torch.testing.assert_close(attach_saved(base(), tmp_path / "adapter")(input_ids=ids).logits, after)
        torch.testing.assert_close(model.merge_and_unload()(input_ids=ids).logits, after, rtol=1e-3, atol=1e-3)
