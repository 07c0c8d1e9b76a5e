"""Sizes and ranks of updates: known matrices, then each way a method may change a weight."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor

from studio.adapter import save
from studio.evaluation.spectrum import (
    Layer,
    anatomy,
    effective_rank,
    factored_values,
    measured,
    place,
    rank_holding,
    singular_values,
    stable_rank,
)
from studio.evaluation.updates import updates
from studio.methods.bottleneck import Bottleneck
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.methods.lora_scratch import LoraScratch
from studio.models.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def values(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


# -- known matrices ---------------------------------------------------------------------------------


def test_a_diagonal_matrix_shows_its_diagonal() -> None:
    assert singular_values(torch.diag(torch.tensor([3.0, -4.0, 0.0]))).tolist() == pytest.approx([4, 3, 0])
    assert singular_values(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([5])  # a norm's scales


def test_what_is_below_the_rounding_error_counts_as_nothing() -> None:
    assert singular_values(torch.diag(torch.tensor([2.0, 1e-6])), floor=1e-5).tolist() == [2, 0]


@pytest.mark.parametrize("shape", [(40, 5, 30), (30, 5, 40), (4, 6, 30)])
def test_factors_have_the_values_of_their_product(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    rows, rank, columns = shape
    up, down = torch.randn(rows, rank), torch.randn(rank, columns)
    whole = torch.linalg.svdvals(up.double() @ down.double())[:rank]
    assert factored_values(up, down)[: len(whole)].tolist() == pytest.approx(whole.tolist())


def test_effective_rank_counts_equal_directions() -> None:
    assert effective_rank(values(2, 2, 2, 2, 0)) == pytest.approx(4)
    assert effective_rank(values(7, 0, 0)) == pytest.approx(1)
    assert effective_rank(values(0, 0)) == 0
    shares = (0.75, 0.25)
    assert effective_rank(values(3, 1)) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_stable_rank_is_the_squared_norms_ratio() -> None:
    assert stable_rank(values(2, 1, 1)) == pytest.approx(6 / 4)
    assert stable_rank(values(0, 0)) == 0


def test_the_rank_that_holds_a_share() -> None:
    spectrum = values(3, 1, 0)  # energies 9 and 1
    assert [rank_holding(spectrum, share) for share in (0.5, 0.9, 0.91, 0.99, 1.0)] == [1, 1, 2, 2, 2]
    assert rank_holding(values(0, 0), 0.9) == 0


def test_a_layers_place_is_read_from_its_name() -> None:
    assert place("model.layers.29.self_attn.o_proj") == (29, "self_attn.o_proj")
    assert place("encoder.layer.3.attention.output.dense") == (3, "attention.output.dense")
    assert place("layers.0.mlp.up_proj") == (0, "mlp.up_proj")
    assert place("model.norm") == (None, "model.norm")


# -- the whole run ----------------------------------------------------------------------------------


def layers(*spectra: Tensor) -> list[Layer]:
    return [measured(f"model.layers.{i}.mlp.up_proj", (64, 64), each, 100.0) for i, each in enumerate(spectra)]


def test_a_rank_with_room_to_spare_is_called_so() -> None:
    told = anatomy(layers(*[values(1, *[0] * 15)] * 9, values(5, *[1] * 15)), 16)
    assert told.sentence == (
        "Rank 1 would have held 99 % of the update in 9 of 10 layers. "
        "Most changed: layer 9's up_proj, by 6.3 % of its weight's norm."
    )
    assert told.advice.startswith("The rank was 16: lower it to 1 ")


def test_a_rank_used_to_the_full_is_called_so() -> None:
    told = anatomy(layers(values(*[1] * 8)), 8)
    assert told.sentence.startswith("In more than 10 % of the layers, 99 % of the update takes the whole rank of 8.")
    assert "try a higher one" in told.advice
    assert "it suits" in anatomy(layers(values(9, 4, 3, 2, 1, 1, 0.5, 0.1)), 8).advice


def test_without_a_limit_a_lora_is_compared() -> None:
    assert anatomy(layers(values(5, 4, *[0] * 62)), None).advice.startswith("A LoRA of rank 2 could")
    assert "many directions" in anatomy(layers(values(*[1] * 200)), None).advice


def test_nothing_changed_is_said() -> None:
    assert anatomy(layers(values(0, 0)), 8).sentence == "Training changed no weight."


# -- the ways a weight changes ------------------------------------------------------------------------


def stirred(model: Any, scale: float = 0.1) -> Any:
    """Every learnt weight moved, as training would."""
    torch.manual_seed(1)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += scale * torch.randn_like(weight)
    return model


def found(model: Any, folder: Path, name: str) -> tuple[Any, Tensor]:
    """(what is said of one layer, the true update by merging the whole model)."""
    save(model, folder)
    told = updates(tiny_model(), folder)
    merged = dict(model.merge_and_unload().named_parameters())
    return told[name](), merged[f"{name}.weight"].detach() - tiny_model().get_parameter(f"{name}.weight").detach()


def peft_model(config: Any) -> Any:
    return stirred(peft.get_peft_model(tiny_model(), config))


TARGETS: Any = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "down_proj"]}
WAYS: dict[str, Any] = {
    "lora": lambda: stirred(Lora(r=4).attach(tiny_model())),
    "rslora": lambda: stirred(Lora(r=4, use_rslora=True).attach(tiny_model())),
    "dora": lambda: stirred(Lora(r=4, use_dora=True).attach(tiny_model())),
    "pissa": lambda: stirred(Lora(r=4, init_lora_weights="pissa").attach(tiny_model())),
    "adalora": lambda: peft_model(peft.AdaLoraConfig(init_r=4, total_step=10, **TARGETS)),
    "ia3": lambda: peft_model(peft.IA3Config(feedforward_modules=["down_proj"], **TARGETS)),
    "loha": lambda: peft_model(peft.LoHaConfig(r=2, **TARGETS)),
    "full": lambda: stirred(Full().attach(tiny_model())),
    "lora_scratch": lambda: stirred(LoraScratch(r=4).attach(tiny_model())),
    "oft": lambda: peft_model(peft.OFTConfig(r=0, oft_block_size=4, **TARGETS)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layer", ["model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"])
def test_the_update_is_what_merging_changes(way: str, layer: str, tmp_path: Path) -> None:
    told, true = found(WAYS[way](), tmp_path / "adapter", layer)
    expected = torch.linalg.svdvals(true.float()).double()
    assert told.shape == tuple(true.shape)
    assert told.values[:4].tolist() == pytest.approx(expected[:4].tolist(), rel=1e-3)
    assert float(told.values.square().sum().sqrt()) == pytest.approx(float(true.norm()), rel=1e-3)
    assert told.weight_norm == pytest.approx(float(tiny_model().get_parameter(f"{layer}.weight").detach().norm()))


def test_only_a_plain_low_rank_update_has_a_limit(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    assert {
        way: found(WAYS[way](), tmp_path / way, name)[0].rank for way in ("lora", "lora_scratch", "dora", "pissa")
    } == {
        "lora": 4,
        "lora_scratch": 4,
        "dora": None,
        "pissa": 8,  # what it began with is taken off again
    }


def test_a_small_update_of_a_bfloat16_base_is_not_lost_in_rounding(tmp_path: Path) -> None:
    model = peft.get_peft_model(tiny_model(), peft.IA3Config(feedforward_modules=["down_proj"], **TARGETS))
    save(stirred(model, 1e-4), tmp_path / "adapter")
    told = updates(tiny_model().to(torch.bfloat16), tmp_path / "adapter")
    each: Any = told["model.layers.0.mlp.down_proj"]()
    assert float(each.values.square().sum().sqrt()) == pytest.approx(1e-4 * each.weight_norm, rel=0.3)


@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")
def test_layer_norms_are_vectors(tmp_path: Path) -> None:
    model = peft_model(peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]))
    save(model, tmp_path / "adapter")
    told: Any = updates(tiny_model(), tmp_path / "adapter")
    assert told
    assert all(len(each().values) == 1 for each in told.values())


def test_what_changes_no_weights_has_no_update(tmp_path: Path) -> None:
    model = peft.get_peft_model(tiny_model(), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    save(model, tmp_path / "prompt")
    assert updates(tiny_model(), tmp_path / "prompt") == {}
    save(stirred(Bottleneck().attach(tiny_model())), tmp_path / "bottleneck")
    assert {each() for each in updates(tiny_model(), tmp_path / "bottleneck").values()} == {None}
