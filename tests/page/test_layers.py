"""The tree of a model's layers, what is picked in it, and what the Train tab says of a method."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.errors import ModelError
from studio.methods import Method, methods
from studio.methods._layers import chosen_layers, names_for
from studio.models.catalog import check_use
from studio.models.structure import Structure
from studio.models.tiny import tiny_shapes
from tabs._layers import Node, picked, short, shown, toggled, tree
from tabs._plan import verdict
from tabs.train import _method_help

TINY = Structure(tiny_shapes())
PICKING = sorted(key for key, cls in methods().items() if cls.picks in cls.model_fields)


def mixture() -> Structure:
    """A plain block, then two blocks of four branches each."""
    weights: dict[str, tuple[int, ...]] = {"embed.weight": (50, 8), "blocks.0.mlp.up.weight": (16, 8)}
    for block in (1, 2):
        weights |= {f"blocks.{block}.branches.{branch}.up.weight": (4, 8) for branch in range(4)}
        weights[f"blocks.{block}.gate.bias"] = (4,)
        weights[f"blocks.{block}.gate.weight"] = (4, 8)
    return Structure(weights)


def grown(structure: Structure) -> dict[str, Node]:
    return {node.path: node for node in tree(structure, list(structure.linear())).all()}


def method(key: str, **settings: Any) -> Method:
    return methods()[key]().model_copy(update=settings)


def click(part: str, *, on: bool, block: str | None = None) -> dict[str, Any]:
    return {"part": part, "block": block, "on": on}


PACKED = {
    "model.layers.0.self_attn.q_proj.weight": (2048, 1),
    "model.layers.0.self_attn.q_proj.weight.absmax": (64,),
    "model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4": (90,),
}


def test_scales_named_after_their_weight_are_no_part_of_the_tree() -> None:
    for names in (PACKED, reversed(PACKED)):
        query = grown(Structure({name: PACKED[name] for name in names}))["model.layers.0.self_attn.q_proj"]
        assert (query.shape, query.size, query.kids) == ((2048, 1), 2048, [])


def test_a_quantised_model_is_refused_before_its_shapes_are_read(tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "quantization_config": {"bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="quantised already") as refused:
        check_use(str(tmp_path), tmp_path, writes=True)
    assert "QLoRA" in refused.value.remedy


def test_equal_blocks_are_one_line_with_their_sum() -> None:
    nodes = grown(TINY)
    assert nodes[""].size == 90_624
    query = nodes["model.layers.0-1.self_attn.q_proj"]
    assert (query.shape, query.size, nodes["model.layers.0-1"].times) == ((64, 64), 2 * 64 * 64, 2)
    assert query.names() == ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]
    assert query.names("1") == ["model.layers.1.self_attn.q_proj"]
    assert nodes["model.embed_tokens"].names() == []


def test_blocks_that_differ_stay_apart_and_experts_are_one_line() -> None:
    nodes = grown(mixture())
    assert {"blocks.0", "blocks.1-2", "blocks.1-2.branches.0-3.up", "blocks.1-2.gate"} <= set(nodes)
    assert len(nodes["blocks.1-2.branches.0-3.up"].names("2")) == 4
    assert nodes["blocks.1-2.gate"].size == 2 * (4 * 8 + 4)
    assert nodes[""].size == sum(kid.size for kid in nodes[""].kids) == 50 * 8 + 16 * 8 + 8 * 32 + 2 * 36


@pytest.mark.parametrize("structure", [TINY, mixture()], ids=["tiny", "mixture"])
def test_what_is_written_means_what_was_picked(structure: Structure) -> None:
    layers = structure.linear()
    draw = random.Random(0)
    for _ in range(200):
        chosen = draw.sample(list(layers), draw.randint(1, len(layers)))
        assert set(chosen_layers(names_for(chosen, layers), layers)) == set(chosen)


def test_names_are_as_short_as_they_can_be() -> None:
    layers = TINY.linear()
    queries = [name for name in layers if name.endswith("q_proj")]
    assert names_for(queries, layers) == "q_proj"
    assert names_for(queries[1:], layers) == "1.self_attn.q_proj"


def test_a_full_name_that_ends_others_means_its_own_layer() -> None:
    layers = {name: (4, 4) for name in ("dense", "a.dense", "b.dense", "0")}
    for chosen in (["dense"], ["a.dense"], ["dense", "a.dense"], ["a.dense", "b.dense"], ["0"], list(layers)):
        assert set(chosen_layers(names_for(chosen, layers), layers)) == set(chosen)


@pytest.mark.parametrize("key", PICKING)
def test_layers_are_picked_for_every_method_that_names_them(key: str) -> None:
    nothing = toggled(TINY, method(key), [click("", on=False)])
    assert nothing == ""
    some = method(key, **{methods()[key].picks: nothing})
    text = toggled(TINY, some, [
        click("model.layers.0-1.self_attn.q_proj", on=True),
        click("model.layers.0-1.self_attn.q_proj", on=False, block="1"),
        click("no.such.part", on=True),
    ])  # fmt: skip
    assert text == "0.self_attn.q_proj"


def test_all_layers_are_called_so() -> None:
    assert toggled(TINY, method("lora", target_modules="q_proj"), [click("", on=True)]) == "all-linear"


def test_what_other_settings_choose_is_shown_and_cannot_be_taken_away() -> None:
    partial = method("freeze", last_blocks=1)
    drawn = shown(TINY, partial)["root"]
    layers = next(kid for kid in drawn["kids"] if kid["part"] == "model.layers.0-1")
    assert layers["blocks"] == [["0", "none", False], ["1", "all", True]]
    assert toggled(TINY, partial, [click("model.layers.0-1.mlp", on=True)]) == "down_proj, gate_proj, up_proj"


def test_the_answer_to_a_click_says_which_and_survives_a_change_of_method() -> None:
    told = {"answers": 3, "clicks": [click("model.layers.0-1.mlp", on=False)]}
    text, drawn = picked(TINY, method("lora"), told)
    assert text == "k_proj, o_proj, q_proj, v_proj"
    assert (drawn["answers"], drawn["about"]) == (3, "8 of 14 layers are chosen.")
    assert picked(TINY, method("full"), told)[0] is None
    assert "once it is on this machine" in picked(None, method("lora"), told)[1]["nothing"]


def test_a_name_that_matches_nothing_ticks_nothing() -> None:
    assert shown(TINY, method("lora", target_modules="nonsense"))["root"]["state"] == "none"


def test_the_plan_says_what_the_form_leaves_open() -> None:
    config = RunConfig.parse({"model": "tiny", "method": {"name": "lora", "r": 4}})
    said = re.sub("<[^>]+>", " ", verdict(config, TINY))
    count = config.method.trainable(TINY)
    assert count is not None
    assert f"{count / 90_624:.2%}" in said
    assert "0.0002, which suits this method" in said
    own = RunConfig.parse({"model": "<b>", "training": {"learning_rate": 0.5, "dtype": "float32"}})
    assert "0.5<" in verdict(own, None)
    assert "float32" in verdict(own, None)
    assert "&lt;b&gt;" in verdict(own, None)


@pytest.mark.parametrize("key", sorted(methods()))
def test_every_method_introduces_itself(key: str) -> None:
    cls = methods()[key]
    told = _method_help(cls)
    for said in ("Use it", "Cost", "Paper", "Merges", f"{cls.learning_rate:g} suits it"):
        assert said in told
    numbers = re.findall(r"arXiv:(\d+\.\d+)", cls.paper)
    assert all(f'href="https://arxiv.org/abs/{number}"' in told for number in numbers)


def test_numbers_are_short() -> None:
    assert [short(n).replace("\N{NO-BREAK SPACE}", " ") for n in (12, 1_500, 134_515_008, 8_030_000_000)] == [
        "12", "1.5 k", "134.5 M", "8.0 G",
    ]  # fmt: skip
