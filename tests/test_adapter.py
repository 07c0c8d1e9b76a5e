"""Adapters on disk. That a saved one gives the same logits is in the methods' contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from studio.adapter import attach_saved, save
from studio.errors import ModelError
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    save(Lora(r=4).attach(tiny_model()), tmp_path / "adapter")
    return tmp_path / "adapter"


def another_base(**changes: Any) -> Any:
    return LlamaForCausalLM(LlamaConfig(**{**tiny_model().config.to_diff_dict(), **changes}))


def test_it_is_small_and_holds_no_pickle(adapter: Path) -> None:
    assert {file.name for file in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert all(".lora_" in name for name in load_file(adapter / "adapter_model.safetensors"))


def test_saving_again_replaces_and_leaves_nothing_behind(adapter: Path) -> None:
    save(Lora(r=2).attach(tiny_model()), adapter)
    assert [path.name for path in adapter.parent.iterdir()] == ["adapter"]
    assert '"r": 2' in (adapter / "adapter_config.json").read_text()


def test_a_save_that_fails_leaves_the_earlier_one(adapter: Path) -> None:
    class Full:
        def save_pretrained(self, folder: str, **_: Any) -> None:
            Path(folder).mkdir()
            raise OSError(28, "No space left on device")

    before = (adapter / "adapter_model.safetensors").read_bytes()
    with pytest.raises(OSError, match="No space left"):
        save(Full(), adapter)
    assert (adapter / "adapter_model.safetensors").read_bytes() == before
    assert [path.name for path in adapter.parent.iterdir()] == ["adapter"]


def test_a_pickled_adapter_is_refused(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        attach_saved(tiny_model(), adapter)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hidden_size": 32, "head_dim": 8}, r"lora_[AB]\.weight is \d+ x \d+ in the adapter, \d+ x \d+ in the model"),
        ({"num_hidden_layers": 1}, r"weights have no counterpart, such as .*layers\.1"),
    ],
)
def test_the_adapter_of_another_base_is_refused(adapter: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError, match=f"another base model: .*{why}"):
        attach_saved(another_base(**changes), adapter)


def test_an_adapter_whose_layers_are_not_there_is_refused(adapter: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    base = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64, n_positions=16))
    with pytest.raises(ModelError, match="none of its layers are there"):
        attach_saved(base, adapter)


def test_a_damaged_adapter_is_refused(adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(ModelError, match="damaged"):
        attach_saved(tiny_model(), adapter)
    weights.write_bytes(whole)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        attach_saved(tiny_model(), adapter)
    save_file({}, weights)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match="no adapter"):
        attach_saved(tiny_model(), adapter)
