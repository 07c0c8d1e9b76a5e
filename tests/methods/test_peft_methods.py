"""What is special to single ones of peft's methods; what all keep is in the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.config import RunConfig
from studio.errors import ConfigError, ModelError
from studio.methods import Method
from studio.methods.adalora import Adalora
from studio.methods.c3a import C3a
from studio.methods.dora import Dora
from studio.methods.fourierft import Fourierft
from studio.methods.gralora import Gralora
from studio.methods.miss import Miss
from studio.methods.oft import Oft
from studio.methods.prefix import Prefix
from studio.methods.prompt import Prompt
from studio.methods.ptuning import Ptuning
from studio.methods.road import Road
from studio.methods.shira import Shira
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes
from studio.preflight import check
from studio.workspace import Workspace

TINY = Located(None, "Tiny", "tiny")
IDS = torch.tensor([[1, 87, 85, 71, 84, 201, 74, 75, 2, 201]] * 2)
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def step(model: Any, method: Method, optimizer: Any, at: int) -> tuple[float, dict[str, float]]:
    """One update; the method's own part of the loss and its curves."""
    loss = model(input_ids=IDS).logits.square().mean()
    added = sum((part(model) for part in method.parts().values()), start=torch.zeros(()))
    (loss + added).backward()
    optimizer.step()
    curves = method.after_step(model, at)
    optimizer.zero_grad()
    return float(added.detach()), curves


def ranks(method: Adalora, steps: int, planned: int) -> tuple[Any, list[float]]:
    """A tiny model trained for `steps` of `planned`, and its average rank after each."""
    torch.manual_seed(0)
    model = method.attach(tiny_model(), planned)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    return model, [step(model, method, optimizer, at)[1]["average_rank"] for at in range(1, steps + 1)]


def test_adalora_takes_ranks_between_warm_up_and_fine_tuning() -> None:
    _, found = ranks(Adalora(init_r=6, target_r=2, warm_up=0.2, fine_tuning=0.3), 20, 20)
    assert found[:4] == [6.0] * 4
    assert found == sorted(found, reverse=True)
    assert found[4] < 6.0
    assert found[14:] == [2.0] * 6


def test_adalora_has_all_its_ranks_while_nothing_was_learnt_or_taken_yet() -> None:
    method = Adalora()
    model = method.attach(tiny_model(), 20)
    at_rest = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.0)
    assert step(model, method, at_rest, 1)[1] == {"average_rank": 12.0}


@pytest.mark.parametrize("planned", [0, 1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("method", [Adalora(), Adalora(warm_up=0.0, fine_tuning=0.9), Adalora(warm_up=0.5)])
def test_adalora_runs_whatever_the_length(method: Adalora, planned: int) -> None:
    _, found = ranks(method, max(planned, 1), planned)
    assert found[-1] == (12.0 if planned < 4 else 8.0)


def test_adalora_loads_again_with_the_ranks_it_ended_with(tmp_path: Path) -> None:
    model, found = ranks(Adalora(init_r=6, target_r=2), 10, 10)
    save(model.eval(), tmp_path / "adapter")
    again = attach_saved(tiny_model(), tmp_path / "adapter", trainable=True)
    assert Adalora().after_step(again, 11)["average_rank"] == found[-1]
    with torch.no_grad():
        assert torch.equal(again.eval()(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_adalora_adds_what_overlaps_to_the_loss() -> None:
    method = Adalora(orth_reg_weight=0.5)
    model = method.attach(tiny_model())
    for name, weight in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            rows = weight if "lora_A" in name else weight.T
            torch.nn.init.orthogonal_(rows)
    assert float(method.parts()["orthogonality"](model).detach()) == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                weight.zero_()
    # |0 - 1| over 12 rows is the root of 12.
    assert float(method.parts()["orthogonality"](model).detach()) == pytest.approx(0.5 * 12**0.5)
    assert Adalora(orth_reg_weight=0).parts() == {}


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (Adalora(init_r=8, target_r=8), "none could be taken"),
        (Adalora(warm_up=0.5, fine_tuning=0.5), "leave no time"),
        (Adalora(init_r=33, target_r=8), "only 32 wide"),
        (Oft(oft_block_size=48), "'Block size' is 48, which does not divide"),
        (C3a(block_size=24), "'Block size' is 24, which does not divide"),
        (Road(group_size=64), "'Group size' is 64, which does not divide"),
        (Gralora(gralora_k=3), "does not divide 'Rank'"),
        (Gralora(r=21, gralora_k=3), "'Blocks' is 3, which does not divide the width"),
        (Fourierft(n_frequency=2049), "2,049 entries of .*k_proj learn, which has only 2,048"),
        (Shira(r=22), "2,112 entries of .*k_proj learn, which has only 2,048"),
        (Miss(r=33), "only 32 wide"),
        (Miss(target_modules="query"), "no linear layer named 'query'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_loaded(method: Method, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        method.check(Structure(tiny_shapes()))
    with pytest.raises(ConfigError, match=why):
        method.attach(tiny_model(), 10)


def test_layers_that_peft_cannot_change_so_are_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=64, n_positions=16))
    with pytest.raises(ConfigError, match="MiSS cannot change the layers of this model"):
        Miss().attach(model)


def test_dora_is_loras_doras_twin() -> None:
    assert Dora().use_dora is True
    with pytest.raises(ConfigError):
        Dora.parse({"use_dora": False})


def test_a_prefix_with_gradient_checkpointing_is_refused_before_the_run(
    tiny_config: Callable[..., RunConfig], workspace: Workspace
) -> None:
    with pytest.raises(ConfigError, match="Prefix tuning does not work with gradient checkpointing"):
        check(tiny_config(method="prefix", training={"gradient_checkpointing": True}), workspace)


@pytest.fixture
def loaded() -> Any:
    return load(TINY, placement("float32"))


def test_a_prompt_can_begin_as_a_text_and_needs_none_when_it_is_loaded(loaded: Any, tmp_path: Path) -> None:
    words = loaded.model.get_input_embeddings().weight.detach().clone()
    ids = loaded.tokenizer("Be kind.")["input_ids"]
    model = Prompt(num_virtual_tokens=10, prompt_tuning_init_text="Be kind.").attach(loaded.model)
    rows = model.prompt_encoder["default"].embedding.weight
    assert torch.equal(rows, words[torch.tensor((ids * 2)[:10])])
    assert rows.requires_grad
    save(model, tmp_path / "adapter")
    again = attach_saved(tiny_model(), tmp_path / "adapter")
    assert torch.equal(again.prompt_encoder["default"].embedding.weight, rows)


def test_a_prompt_without_a_text_begins_as_tokens_of_the_vocabulary(loaded: Any) -> None:
    words = loaded.model.get_input_embeddings().weight.detach()
    rows = Prompt().attach(loaded.model).prompt_encoder["default"].embedding.weight
    assert all((row == words).all(dim=1).any() for row in rows)


@pytest.mark.parametrize("method", [Ptuning(), Prefix(prefix_projection=True)])
def test_a_prompt_that_a_network_made_loads_but_cannot_be_trained_on(method: Method, tmp_path: Path) -> None:
    model = method.attach(tiny_model()).eval()
    save(model, tmp_path / "adapter")
    with torch.no_grad():
        again = attach_saved(tiny_model(), tmp_path / "adapter")
        torch.testing.assert_close(again(input_ids=IDS).logits, model(input_ids=IDS).logits)
    with pytest.raises(ModelError, match="cannot be trained on"):
        attach_saved(tiny_model(), tmp_path / "adapter", trainable=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
