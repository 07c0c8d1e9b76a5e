"""Memory by formula: worked by hand on the tiny model, and compared with what autograd keeps."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.estimate import Batch, Needs, Part, kept_per_token, learning, needs
from studio.events import DataReady
from studio.methods import methods
from studio.models import machine
from studio.models.base import load, placement
from studio.models.catalog import locate
from studio.models.flow import Flow
from studio.models.machine import Room
from studio.models.structure import Structure, llama_shapes
from studio.models.tiny import tiny_shapes
from studio.plan import Plan, look_ahead
from studio.preflight import check
from studio.store import State
from studio.training.route import choose
from studio.workspace import Workspace

TINY = Structure(tiny_shapes())  # 2 blocks; widths: stream 64, q 64, k and v 32, feed-forward 128; 259 tokens
ROOM = Room(gpu=False, free=10**10, total=10**10, halves=True)
GPU = Room(gpu=True, free=10**10, total=10**10, halves=True)
BATCH = Batch(rows=4, tokens=400, longest=100)

Make = Callable[..., RunConfig]

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def config(**changes: Any) -> RunConfig:
    return RunConfig.parse({"model": "tiny", "training": {"answer_rows": 0, **changes.pop("training", {})}, **changes})


def parts(asked: RunConfig, batch: Batch = BATCH, room: Room = ROOM) -> dict[str, int]:
    return {part.name: part.size for part in needs(asked, TINY, batch, room).parts}


def test_lora_worked_by_hand() -> None:
    found = parts(config(method={"name": "lora", "r": 16}))
    weights = 90_624
    learns = 2 * 16 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 128))
    assert found["Weights"] == 2 * weights
    assert found["What learns"] == (4 + 2) * learns
    assert found["Optimizer"] == 8 * learns
    # A block keeps q, k, v and what attention gave; gate, up and one side of their product; the layers' inputs,
    # of which q, k and v share one and gate and up another; what each A gives; and what two norms were given.
    block = 2 * ((64 + 32 + 32 + 64) + 3 * 128 + (64 + 64 + 64 + 128) + 7 * 16) + 4 * 2 * 64
    passing = 3 * 2 * 256 + 2 * 2 * 64
    assert found["Activations"] == 400 * (2 * block + passing)
    assert found["Logits"] == 400 * 259 * (2 + 4 + 4)
    assert "Gradients" not in found  # they come when activations have gone


def test_full_worked_by_hand() -> None:
    found = parts(config(method="full"), Batch(1, 1, 1))
    weights = 90_624
    assert found["Weights"] == 4 * weights
    assert found["What learns"] == 2 * weights  # copies for matrix products
    assert found["As it was"] == 2 * weights
    assert found["Optimizer"] == 8 * weights
    assert found["Gradients"] == 4 * weights - found["Activations"] - found["Logits"]
    assert "As it was" not in parts(config(method="full"), room=GPU)  # that is in main memory


def test_packed_weights_save_memory_on_a_gpu_only() -> None:
    lora, packed = config(), config(method={"name": "qlora", "bnb_4bit_use_double_quant": False})
    layers = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128)
    assert parts(packed, room=GPU)["Weights"] == 2 * (90_624 - layers) + layers * (4 + 0.5) / 8
    assert parts(packed)["As read"] == 2 * layers  # what the file holds of them stays mapped
    assert "As read" not in parts(packed, room=GPU)
    assert needs(packed, TINY, BATCH, GPU).total < needs(lora, TINY, BATCH, GPU).total


def test_what_the_system_gives_back_by_itself_makes_no_run_too_large() -> None:
    told = needs(config(method="qlora"), TINY, BATCH, ROOM)
    sizes = {part.name: part.size for part in told.parts}
    assert told.total == sum(sizes.values()) - sizes["As read"]
    assert told.verdict(told.total) == "tight"
    assert told.resident == sum(sizes.values())  # what a process's peak is compared with


def test_gradients_stay_where_several_batches_are_summed() -> None:
    summed = config(training={"gradient_accumulation_steps": 2})
    assert parts(summed)["Gradients"] == 4 * learning(summed.method, TINY)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ({"method": {"name": "lora", "r": 4}}, {"method": {"name": "lora", "r": 64}}),
        ({"training": {"gradient_checkpointing": True}}, {}),
        ({"training": {"optim": "adamw_8bit"}}, {}),
        ({}, {"method": {"name": "lora", "lora_dropout": 0.1}}),
        ({}, {"method": "dora"}),
        ({"method": {"name": "qlora", "bits": "4"}}, {"method": {"name": "qlora", "bits": "8"}}),
        ({"method": {"name": "freeze", "last_blocks": 1}}, {"method": {"name": "freeze", "last_blocks": 2}}),
        ({"method": "freeze"}, {"method": "full"}),
        ({}, {"training": {"dtype": "float32"}}),
        ({}, {"penalty": "l2"}),
        ({"penalty": "l2"}, {"penalty": "ewc"}),
        ({}, {"training": {"answer_rows": 8, "max_new_tokens": 4096}}),
    ],
)
def test_what_costs_more_is_told_to_cost_more(smaller: dict[str, Any], larger: dict[str, Any]) -> None:
    less, more = (needs(config(**each), TINY, BATCH, ROOM).total for each in (smaller, larger))
    assert less < more


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_needs_more_for_more_tokens(name: str) -> None:
    asked = config(method=name)
    sizes = [needs(asked, TINY, Batch(rows, rows * 50, 50), ROOM).total for rows in (1, 2, 8)]
    assert sizes == sorted(set(sizes))


def test_the_verdict_leaves_air() -> None:
    asked = Needs((Part("All", 800, ""),))
    assert [asked.verdict(free) for free in (1000, 999, 800, 799)] == ["fits", "tight", "tight", "too large"]


@pytest.mark.parametrize(
    "name",
    [
        "lora",
        "lora_scratch",
        "dora",
        "ia3",
        "bottleneck",
        "full",
        "freeze",
        "hira",
        "miss",
        "oft",
        "road",
        "gralora",
        "c3a",
        "loha",
        "lokr",
        "fourierft",
        "adalora",
    ],
)
def test_what_autograd_keeps_is_what_the_formula_says(name: str) -> None:
    asked = config(method=name)
    small, large = (_kept(asked.method.attach(_base(asked), 10), tokens) for tokens in (100, 300))
    found = large - small
    assert kept_per_token(asked.method, TINY, 2) == pytest.approx(found / 200, rel=0.12)


def _base(asked: RunConfig) -> Any:
    return load(
        locate("tiny", Path(), lambda *_: None), placement("float32" if asked.method.in_place else "bfloat16")
    ).model


def _kept(model: Any, tokens: int, products: torch.dtype | None = torch.bfloat16) -> int:
    """Bytes of all tensors that a forward pass of one row saves, weights and what is a view of another left out."""
    model.train()
    route = choose(model, products)
    known = {weight.untyped_storage().data_ptr() for weight in [*model.parameters(), *model.buffers()]}
    kept: weakref.WeakSet[_Held] = weakref.WeakSet()  # what is let go again is not kept

    def keep(tensor: torch.Tensor) -> _Held:
        held = _Held(tensor)
        kept.add(held)
        return held

    batch = {"input_ids": torch.randint(0, 250, (tokens,)), "lengths": torch.tensor([tokens])}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held.tensor), route.running():
        states = route.states(batch)
    assert states.requires_grad
    storages = [held.tensor.untyped_storage() for held in kept if held.tensor.layout is torch.strided]
    return sum({each.data_ptr(): each.nbytes() for each in storages if each.data_ptr() not in known}.values())


@dataclass(eq=False)
class _Held:
    tensor: torch.Tensor


@pytest.mark.parametrize("product", [2, 4])
@pytest.mark.parametrize("name", ["lora", "dora", "hira", "loha", "lokr", "fourierft", "shira", "oft", "vera"])
def test_what_is_kept_whatever_the_tokens_is_what_the_formula_says(name: str, product: int) -> None:
    shape: Any = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
    base: Any = LlamaForCausalLM(LlamaConfig(vocab_size=259, num_hidden_layers=4, tie_word_embeddings=True, **shape))
    method = methods()[name]()
    products = torch.bfloat16 if product == 2 else None
    model = method.attach(base.to(products), 10)
    small, large = (_kept(model, tokens, products) for tokens in (32, 64))
    structure = Structure(llama_shapes(259, 4, 256, 512, 4, 2))
    copies = 2 * learning(method, structure) if product == 2 else 0
    weights = sum(map(prod, structure.linear().values()))
    # The first block's readers keep no update: nothing is learnt before them.
    expected = (copies + method.kept_whole(structure, product)) / weights
    assert expected == pytest.approx((2 * small - large) / weights, rel=0.25, abs=0.1)


def test_flow_reads_layers_of_other_families() -> None:
    gpt2 = {
        "wte.weight": (50257, 768),
        "h.0.ln_1.weight": (768,),
        "h.0.attn.c_attn.weight": (768, 2304),  # held the other way round
        "h.0.attn.c_proj.weight": (768, 768),
        "h.0.mlp.c_fc.weight": (768, 3072),
        "h.0.mlp.c_proj.weight": (3072, 768),
    }
    flow = Flow(Structure(gpt2))  # pyright: ignore[reportArgumentType]
    assert (flow.hidden, flow.vocabulary, flow.widest) == (768, 50257, 3072)
    assert flow.frozen() == 2304 + 768 + 3072  # no gate: the nonlinearity's result is the last layer's input
    assert flow.inputs(["h.0.mlp.c_proj", "h.0.attn.c_attn"]) == 3072 + 768
    heads = {**gpt2, "h.0.attn.q_norm.weight": (64,), "h.0.attn.q_proj.weight": (1024, 768)}
    assert Flow(Structure(heads)).norms() == 768 + 1024  # pyright: ignore[reportArgumentType]


def test_what_cannot_be_held_at_all_is_refused_before_anything_starts(
    workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(tiny_config(), workspace)
    monkeypatch.setattr(machine, "room", lambda: Room(gpu=False, free=10**6, total=10**6, halves=True))
    with pytest.raises(ConfigError, match="even for the shortest row") as caught:
        check(tiny_config(), workspace)
    assert "Make it fit" in caught.value.remedy
    assert list(workspace.runs.iterdir()) == []


def test_rows_are_measured_without_a_tokenizer(workspace: Workspace, tiny_config: Make) -> None:
    plan = look_ahead(tiny_config(training={"per_device_train_batch_size": 4}), workspace, ROOM)
    assert plan is not None
    # 'say 3' and 'the number is 3, row 38': 28 letters, each a token of this model's, and the template's
    assert plan.batch == Batch(4, 4 * (28 + 30), 28 + 30)
    assert plan.steps == 4
    assert plan.seconds is None
    short = look_ahead(tiny_config(objective={"max_length": 16}), workspace, ROOM)
    assert short is not None
    assert short.batch.longest == 16


def test_old_rows_that_are_replayed_may_be_the_longest(workspace: Workspace, tiny_config: Make, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    rows = [{"prompt": "say", "completion": "o" * 47} for _ in range(40)]  # 50 letters and the template's 30
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def plan(share: float) -> Plan:
        training = {"per_device_train_batch_size": 4, "max_steps": None, "num_train_epochs": 1}
        found = look_ahead(
            tiny_config(old={"source": str(path), "replay_share": share}, training=training), workspace, ROOM
        )
        assert found is not None
        return found

    assert plan(0).batch.longest == 28 + 30
    assert plan(0.5).batch == Batch(4, 4 * 80, 80)
    # 32 new rows of about 57 tokens, and as many tokens of old rows
    assert (plan(0).steps, plan(0.5).steps) == (8, 14)


def test_an_earlier_run_tells_how_long_rows_are_and_how_fast_they_go(workspace: Workspace, tiny_config: Make) -> None:
    asked = tiny_config(training={"per_device_train_batch_size": 4, "max_steps": 10})
    data = DataReady(
        train_rows=32,
        validation_rows=8,
        truncated_rows=0,
        skipped_rows=0,
        tokens=3200,
        trained_tokens=9,
        fingerprint="",
    )
    earlier = State("one", check(asked, workspace).to_dict(), step=5, seconds=4.0, tokens=2000, data=data)
    plan = look_ahead(asked, workspace, ROOM, [earlier])
    assert plan is not None
    assert plan.how == "as an earlier run counted them"
    assert 400 <= plan.batch.tokens <= 404  # 100 a row on average, and these are the longest four
    assert plan.seconds == pytest.approx(10 * 4 * 100 / 500, rel=0.02)
    other = look_ahead(tiny_config(method={"name": "dora"}), workspace, ROOM, [earlier])
    assert other is not None
    assert other.seconds is None  # another method has another speed


def test_what_learns_from_its_own_answers_is_timed_by_what_it_writes(workspace: Workspace, tiny_config: Make) -> None:
    def asked(answers: int, length: int, batch: int) -> RunConfig:
        objective = {"name": "grpo", "num_generations": answers, "max_completion_length": length, "max_length": 128}
        training = {"per_device_train_batch_size": batch, "max_steps": 10}
        return tiny_config(objective=objective, training=training, rewards={"length": {}})

    earlier = State("one", check(asked(2, 8, 4), workspace).to_dict(), step=5, seconds=4.0, tokens=50)
    plan = look_ahead(asked(4, 32, 8), workspace, ROOM, [earlier])
    assert plan is not None
    assert plan.seconds == pytest.approx(10 * 4.0 / 5 * 2 * 4 * 2)


def test_a_model_that_is_not_here_yet_is_not_guessed_at(workspace: Workspace, tiny_config: Make) -> None:
    assert look_ahead(tiny_config(model="someone/else"), workspace, ROOM) is None
