"""Methods of our own on every kind of base. What all methods keep is in the contract."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.catalog import Chosen
from studio.errors import ModelError
from studio.methods import Method, methods
from studio.methods.bottleneck import Bottleneck
from studio.models.tiny import tiny_model
from tests.methods.bases import BASES, learn, output, structure, tiny_bert

OURS = ("bottleneck", "freeze", "full", "lora_scratch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),  # peft sets it itself
]


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
