"""Rows side by side give what each gives alone, in any architecture; where they would not, they are padded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from studio.data.tokens import Encoded, pack
from studio.methods import methods
from studio.models.tiny import tiny_model
from studio.training.batching import Batch, Rows, collate
from studio.training.losses import answer_loss
from studio.training.route import Padded, Route, SideBySide, choose
from tests.training.architectures import (
    PADDED_READERS,
    PADDED_WRITERS,
    READERS,
    VOCABULARY,
    WINDOW,
    WRITERS,
    build,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True` and a tied layer:UserWarning"),
]

LENGTHS = (9, 1, 14, 6)  # a row of one token, and rows longer than the window
LEARNT = ("llama", "mistral", "gemma2", "cohere2", "granite", "gpt2", "opt", "gpt_oss", "deepseek_v3")


def encoded(length: int, seed: int, learnt_from: int = 0) -> Encoded:
    ids = torch.randint(3, 259, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Encoded(ids, ([-100] * learnt_from + ids[learnt_from:])[:length], False)


def batch_of(rows: Sequence[Encoded]) -> Batch:
    known = Rows(rows)
    return collate([known[index] for index in range(len(rows))])


ROWS = [encoded(length, seed, learnt_from=2) for seed, length in enumerate(LENGTHS)]


def outputs(route: Route, batch: Batch) -> Tensor:
    states = route.states(batch)
    return route.head(states) if route.writes else states  # pyright: ignore[reportAttributeAccessIssue]


def alone(model: Any, rows: Sequence[Encoded]) -> Tensor:
    """Each row by itself through the library's own path: all logits, or hidden states, end to end."""
    given = [model(input_ids=torch.tensor([row.input_ids])) for row in rows]
    return torch.cat([(each.logits if "logits" in each else each.last_hidden_state)[0] for each in given])


def plain_loss(model: Any, rows: Sequence[Encoded]) -> Tensor:
    """Cross-entropy summed over labelled tokens, from full logits; a row's first token is never predicted."""
    scores = alone(model, rows).split([len(row.input_ids) for row in rows])
    return torch.stack(
        [
            functional.cross_entropy(each[:-1], torch.tensor(row.labels[1:]), reduction="sum")
            for each, row in zip(scores, rows, strict=True)
            if any(label != -100 for label in row.labels[1:])
        ]
    ).sum()


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name: each.grad.clone()
        for name, each in model.named_parameters()
        if each.requires_grad and each.grad is not None
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], rtol: float = 1e-4) -> None:
    """Relative to each tensor's size; tokens that do not occur, and experts not asked, have no gradient or zeros."""
    assert any(each.any() for each in theirs.values())
    for name in ours.keys() | theirs.keys():
        some = ours.get(name, theirs.get(name))
        assert some is not None
        mine, other = ours.get(name, torch.zeros_like(some)), theirs.get(name, torch.zeros_like(some))
        assert (mine - other).norm() <= rtol * other.norm() + 1e-5, name


# -- architectures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WRITERS, *READERS])
@torch.no_grad()
def test_side_by_side_a_row_gives_what_it_gives_alone(name: str) -> None:
    model = build(name)
    route = choose(model)
    assert route.reason == ""
    torch.testing.assert_close(outputs(route, batch_of(ROWS)), alone(model, ROWS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*PADDED_WRITERS, *PADDED_READERS])
@torch.no_grad()
def test_what_cannot_lie_side_by_side_is_padded_and_gives_the_same(name: str) -> None:
    model = build(name)
    route = choose(model)
    assert " " in route.reason
    assert "\n" not in route.reason
    torch.testing.assert_close(outputs(route, batch_of(ROWS)), alone(model, ROWS), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", LEARNT)
def test_loss_and_all_gradients_are_those_of_the_library(name: str) -> None:
    model = build(name)
    loss, labelled = answer_loss(choose(model), batch_of(ROWS))
    reference = plain_loss(model, ROWS)
    assert labelled == 7 + 12 + 4
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-4)
    assert_same(gradients(model, loss), gradients(model, reference))


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_gradients_of_hidden_states_are_those_of_the_library(name: str) -> None:
    model = build(name)
    found = gradients(model, choose(model).states(batch_of(ROWS)).square().mean())
    assert_same(found, gradients(model, alone(model, ROWS).square().mean()))


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss", "bert"])
@torch.no_grad()
def test_a_model_with_attention_spelt_out_gives_the_same(name: str) -> None:
    model = build(name, attn_implementation="eager")
    route = choose(model)
    assert (route.reason, model.config._attn_implementation) == ("", "eager")
    torch.testing.assert_close(outputs(route, batch_of(ROWS)), alone(model, ROWS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "mixtral", "gpt_oss", "bert", "mamba", "lfm2"])
@pytest.mark.parametrize("spread", [0.02, 0.2])
@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_the_choice_does_not_hang_on_precision_or_on_the_size_of_weights(
    name: str, spread: float, compute: torch.dtype | None
) -> None:
    model = build(name)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(spread / 0.2 if weight.dim() > 1 else 1)
    assert bool(choose(model.bfloat16(), compute).reason) == (name in PADDED_WRITERS)


# -- what the probe sees --------------------------------------------------------------------------------


def heedless(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any) -> Any:
    """Attention that does not look where rows begin."""
    own: Callable[..., Any] = AttentionInterface()["sdpa"]
    return own(module, query, key, value, attention_mask)


@pytest.mark.parametrize("spread", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_see_their_neighbours_are_noticed(
    spread: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where attention hardly matters: 0.002 is a tenth of what models begin with."""
    monkeypatch.setattr("studio.training.attention.NAME", "heedless")
    AttentionInterface.register("heedless", heedless)
    model = build("llama", initializer_range=spread).to(dtype)
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.self_attn.o_proj.weight, std=spread)
    assert "rows" in choose(model).reason


def test_a_fault_in_the_models_code_is_told_and_the_model_left_as_it_was() -> None:
    model = tiny_model().train()

    def broken(position_ids: Any = None, **inputs: Any) -> Any:
        if position_ids is not None:
            raise RuntimeError("no such positions.\nMore of it")
        return whole(**inputs)

    whole, model.model.forward = model.model.forward, broken
    route = choose(model)
    assert route.reason == "it takes them one below the other only (RuntimeError: no such positions)"
    assert model.training
    assert model.config._attn_implementation == "sdpa"


def test_a_window_that_attention_is_not_told_of_is_no_guess() -> None:
    """Short rows would not show it."""
    model = build("qwen2_moe", use_sliding_window=True, sliding_window=64, max_window_layers=0)
    assert choose(model).reason == "its attention is not told how far back it looks"


@pytest.mark.parametrize("name", ["prompt", "prefix", "ptuning"])
def test_rows_behind_a_learnt_prompt_are_padded(name: str) -> None:
    assert choose(methods()[name]().attach(tiny_model(), 1)).reason == "a learnt prompt stands in front of each row"


# -- neighbours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt_oss"])
@pytest.mark.parametrize("packed", [False, True])
def test_neighbours_change_neither_loss_nor_gradients(name: str, packed: bool) -> None:
    """Of three texts the outer ones are exchanged: what is learnt from the inner one stays as it was, to the bit."""
    model = build(name)
    route = choose(model)
    inner = encoded(12, 1)

    def learnt(*outer: Encoded) -> tuple[Tensor, dict[str, Tensor]]:
        rows = [outer[0], inner, outer[1]]
        batch = batch_of(pack(rows, 25) if packed else rows)
        assert batch["lengths"].tolist() == [8, 12, 5]
        only = torch.full_like(batch["labels"], -100)
        only[8:20] = batch["labels"][8:20]
        loss, labelled = answer_loss(route, {**batch, "labels": only})
        assert labelled == 11
        return loss.detach(), gradients(model, loss)

    loss, found = learnt(encoded(8, 2), encoded(5, 3))
    other_loss, other = learnt(encoded(8, 4), encoded(5, 5))
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=0)
    assert_same(other, found, rtol=1e-6)


@pytest.mark.parametrize("max_length", [7, 16, 100])
def test_packed_the_loss_is_that_of_the_texts_apart(max_length: int) -> None:
    """Texts longer than a block go on in the next, where they begin anew."""
    model = build("mistral")
    texts = [encoded(length, seed) for seed, length in enumerate((9, 3, 14, 6, 5))]
    joined = [token for each in texts for token in each.input_ids]
    ends = [9, 12, 26, 32, 37]
    cuts = sorted({0, *ends, *range(0, len(joined), max_length)})
    parts = [Encoded(joined[a:b], joined[a:b], False) for a, b in itertools.pairwise(cuts)]
    loss, labelled = answer_loss(choose(model), batch_of(pack(texts, max_length)))
    assert labelled == sum(len(each.input_ids) - 1 for each in parts)
    torch.testing.assert_close(loss, plain_loss(model, parts), rtol=1e-5, atol=1e-4)


# -- odd heads and odd batches --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SideBySide, Padded])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapted", ["lm_head", "modules_to_save", "new tokens", "resized"])
def test_what_learns_in_the_output_layer_gets_its_gradient(
    kind: type[SideBySide | Padded], tied: bool, adapted: str
) -> None:
    from peft import LoraConfig, get_peft_model

    model = build("llama", tie_word_embeddings=tied)
    options: dict[str, Any] = {"target_modules": ["q_proj"], "r": 2, "init_lora_weights": False}
    if adapted == "lm_head":
        options["target_modules"] = ["q_proj", "lm_head"]
    if adapted == "modules_to_save":
        options["modules_to_save"] = ["lm_head"]
    if adapted == "new tokens":
        options["trainable_token_indices"] = ROWS[0].input_ids[:3]
    if adapted == "resized":
        model.resize_token_embeddings(VOCABULARY + 6, mean_resizing=False)
        model.train().requires_grad_(True)
    tuned: Any = model if adapted == "resized" else get_peft_model(model, LoraConfig(**options))
    loss, _ = answer_loss(kind(tuned, None), batch_of(ROWS))
    reference = plain_loss(tuned, ROWS)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-4)
    found, expected = gradients(tuned, loss), gradients(tuned, reference)
    assert {name for name, each in tuned.named_parameters() if each.requires_grad} == expected.keys()
    assert_same(found, expected)


def test_a_row_longer_than_the_window_is_among_those_compared() -> None:
    assert max(LENGTHS) > 2 * WINDOW
