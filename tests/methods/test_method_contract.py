"""What every method keeps, whoever wrote it: a new file in studio/methods is tested by being there."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved, save
from studio.catalog import key_of
from studio.errors import ModelError
from studio.methods import FAMILIES, Method, methods
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.generate import answer_batch
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes, tiny_tokenizer
from studio.settings import facts
from studio.training.batching import collate
from studio.training.losses import answer_loss
from studio.training.route import Route, choose

TINY = Located(None, "Tiny", "tiny")
IDS = torch.tensor([[1, 87, 85, 71, 84, 201, 74, 75, 2, 201], [1, 67, 85, 85, 75, 201, 70, 71, 2, 201]])
BATCH = collate([{"input_ids": row, "labels": row} for row in IDS.tolist()])
STEPS = 10
_ROUTES: weakref.WeakKeyDictionary[Any, Route] = weakref.WeakKeyDictionary()
# Random weights want larger updates than a trained model's, and an encoder this small smaller ones again.
WRITING_RATE, READING_RATE = 10, 2

ALL = list(methods())
PLAIN = [name for name in ALL if methods()[name]().quantization() is None]
READING = [name for name in PLAIN if not methods()[name].writes_only]

pytestmark = [
    # peft asks transformers under a name that transformers has just renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are computed sooner than two threads have met."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def base_for(method: Method) -> Any:
    return load(TINY, placement("float32"), method.quantization()).model


def reader() -> Any:
    """A random encoder of a few thousand weights, with no layer that writes."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=259, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertModel(config, add_pooling_layer=False).eval()


def attached(name: str, base: Any = None, steps: int = STEPS) -> Any:
    method = methods()[name]()
    base = base_for(method) if base is None else base
    torch.manual_seed(0)
    return method.attach(base, steps)


def trainable(model: Any) -> dict[str, torch.Tensor]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def writes(model: Any) -> bool:
    return model.get_base_model().get_output_embeddings() is not None


def route_of(model: Any) -> Route:
    """Probed once a model."""
    if model not in _ROUTES:
        _ROUTES[model] = choose(model)
    return _ROUTES[model]


def loss_of(model: Any) -> torch.Tensor:
    """Of text, in nats a token; of a model that only reads: how far two texts' first feature is from 1 and -1."""
    if writes(model):
        total, labelled = answer_loss(route_of(model), BATCH)
        return total / labelled
    means = outputs(model)[:, :, 0].mean(1)
    return (means - torch.tensor([1.0, -1.0])).square().mean()


def outputs(model: Any) -> torch.Tensor:
    found = model(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


def optimizer_for(model: Any, method: Method) -> torch.optim.Optimizer:
    factors, rate = method.rates(model), method.learning_rate * (WRITING_RATE if writes(model) else READING_RATE)
    groups = [{"params": [each], "lr": rate * factors.get(name, 1.0)} for name, each in trainable(model).items()]
    return torch.optim.AdamW(groups, weight_decay=0.0)


def train(
    model: Any, name: str, steps: int = 5, *, optimizer: torch.optim.Optimizer | None = None, done: int = 0
) -> list[float]:
    """Losses before each of `steps` updates, all that is the method's own included."""
    method = methods()[name]()
    optimizer = optimizer or optimizer_for(model, method)
    losses = []
    model.train()
    for step in range(done + 1, done + steps + 1):
        loss = loss_of(model)
        losses.append(loss.item())
        sum((part(model) for part in method.parts().values()), loss).backward()
        torch.nn.utils.clip_grad_norm_(trainable(model).values(), 1.0)
        optimizer.step()
        curves = method.after_step(model, step)
        assert all(isinstance(value, float) for value in curves.values())
        optimizer.zero_grad()
    model.eval()
    return losses


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return outputs(model)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()
    with route_of(model).running():
        loss_of(model).backward()
    return {name: each.grad.clone() for name, each in trainable(model).items() if each.grad is not None}


# -- what it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is(name: str) -> None:
    method = methods()[name]
    assert key_of(method()) == name
    assert method.family in FAMILIES
    for text in (method.about, method.when, method.cost, *(each.help for each in facts(method))):
        assert " " in text
        assert text.endswith(".")
    assert method.paper
    for device in ("cpu", "mps", "cuda"):
        assert all(note.endswith(".") for note in method().notes(device))


@pytest.mark.parametrize("name", ALL)
def test_its_defaults_fit_the_models_there_are(name: str) -> None:
    """The tiny model by its shapes; layers as wide as the starter's, as a small encoder's, and an odd one."""
    method = methods()[name]()
    method.check(Structure(tiny_shapes()))
    block = {"q_proj": (576, 576), "k_proj": (192, 576), "o_proj": (576, 576), "down_proj": (576, 1536)}
    names = {"q_proj": "self_attn.q_proj", "k_proj": "self_attn.k_proj", "o_proj": "self_attn.o_proj"}
    layers = {
        f"model.layers.{layer}.{names.get(key, f'mlp.{key}')}.weight": shape
        for layer in range(30)
        for key, shape in block.items()
    }
    method.check(Structure({"model.embed_tokens.weight": (49152, 576), **layers}))


@pytest.mark.parametrize("name", ALL)
def test_the_count_of_what_will_learn_is_right(name: str) -> None:
    method = methods()[name]()
    told = method.trainable(Structure(tiny_shapes()))
    assert told == sum(each.numel() for each in trainable(attached(name)).values())


# -- what it does ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_only_what_it_unfreezes_moves_and_the_loss_falls(name: str) -> None:
    model = attached(name, steps=0)
    before = {key: each.detach().clone() for key, each in model.named_parameters()}
    unfrozen = set(trainable(model))
    losses = train(model, name, STEPS)
    moved = {key for key, each in model.named_parameters() if not torch.equal(each, before[key])}
    assert unfrozen
    assert moved == unfrozen
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("name", ALL)
def test_step_zero_is_the_base_where_it_says_so(name: str) -> None:
    method = methods()[name]()
    expected = logits(base_for(method))
    found = logits(attached(name).eval())
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert same == method.starts_at_base


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_it_gives_the_same_logits_and_without_it_the_base_answers(name: str, tmp_path: Path) -> None:
    model = attached(name)
    expected = logits(base_for(methods()[name]()))
    train(model, name)
    tuned = logits(model)
    assert tuned.shape != expected.shape or not torch.allclose(tuned, expected)
    size = save(model, tmp_path / "adapter")
    assert size == sum(file.stat().st_size for file in (tmp_path / "adapter").iterdir())
    again = attach_saved(base_for(methods()[name]()), tmp_path / "adapter")
    assert not trainable(again)
    torch.testing.assert_close(logits(again), tuned, rtol=0, atol=0)
    for each in (model, again):
        with each.disable_adapter():
            torch.testing.assert_close(logits(each), expected)
        torch.testing.assert_close(logits(each), tuned, rtol=0, atol=0)


@pytest.mark.parametrize("name", PLAIN)
def test_trained_on_after_loading_it_goes_where_it_would_have_gone(name: str, tmp_path: Path) -> None:
    method = methods()[name]()
    model = attached(name, steps=0)
    optimizer = optimizer_for(model, method)
    train(model, name, 2, optimizer=optimizer)
    save(model, tmp_path / "adapter")
    state = copy.deepcopy(optimizer.state_dict())
    train(model, name, 2, optimizer=optimizer, done=2)
    try:
        again = attach_saved(base_for(method), tmp_path / "adapter", trainable=True)
    except ModelError:  # what made its prompt is not kept, and it says so
        return
    resumed = optimizer_for(again, method)
    resumed.load_state_dict(state)
    train(again, name, 2, optimizer=resumed, done=2)
    torch.testing.assert_close(logits(again), logits(model))


@pytest.mark.parametrize("name", PLAIN)
def test_merged_it_gives_the_same_logits_where_it_can_be(name: str) -> None:
    model = attached(name)
    train(model, name)
    expected = logits(model)
    if methods()[name].merges:
        merged = model.merge_and_unload()
        assert type(merged) is type(tiny_model())
        torch.testing.assert_close(logits(merged), expected, rtol=1e-3, atol=1e-3)
    else:
        with pytest.raises((AttributeError, NotImplementedError)):
            model.merge_and_unload()


@pytest.mark.parametrize("name", ALL)
def test_answering_in_between_leaves_gradients_as_they_were(name: str) -> None:
    """bitsandbytes packs 4-bit weights at the first eval-mode forward; every later backward is then wrong."""
    model = attached(name)
    train(model, name, 2)
    before = gradients(model)
    for adapter in (True, False):
        answer_batch(
            model, tiny_tokenizer(), [[{"role": "user", "content": "hi"}]] * 2, max_new_tokens=3, adapter=adapter
        )
    model.eval()
    logits(model)
    after = gradients(model)
    assert before.keys() == after.keys() == trainable(model).keys()
    for key, gradient in before.items():
        torch.testing.assert_close(after[key], gradient)


@pytest.mark.parametrize("name", [name for name in ALL if methods()[name].checkpoints])
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    model = attached(name)
    expected = gradients(model)
    model.activation_checkpointing_enable()
    found = gradients(model)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient)


@pytest.mark.parametrize("name", PLAIN)
def test_on_a_bfloat16_base_what_learns_is_float32(name: str, tmp_path: Path) -> None:
    if methods()[name].dtype == "float32":
        pytest.skip("it loads the base in float32")
    model = attached(name, tiny_model().to(torch.bfloat16))
    assert {each.dtype for each in trainable(model).values()} == {torch.float32}
    losses = train(model, name, STEPS)
    assert losses[-1] < 0.95 * losses[0]
    save(model, tmp_path / "adapter")
    again = attach_saved(tiny_model().to(torch.bfloat16), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)


@pytest.mark.parametrize("name", READING)
def test_it_learns_on_a_model_that_only_reads(name: str, tmp_path: Path) -> None:
    model = attached(name, reader())
    losses = train(model, name, STEPS)
    assert min(losses) < 0.99 * losses[0]
    save(model, tmp_path / "adapter")
    again = attach_saved(reader(), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)
    with again.disable_adapter():
        torch.testing.assert_close(logits(again), logits(reader()))
