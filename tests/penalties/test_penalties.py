"""What is added to the loss: by hand, in the trainer, and against forgetting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from studio.data.tokens import Encoded, Report
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.objectives import Prepared
from studio.penalties import Penalty, penalties
from studio.penalties.ewc import ElasticWeights, fisher
from studio.penalties.l2 import StartingPoint
from studio.training.batching import Batch, collate
from studio.training.losses import answer_loss, mean_answer_loss
from studio.training.route import choose
from studio.training.settings import TrainingSettings
from studio.training.supervised import SupervisedTrainer
from studio.training.trainer import arguments

# peft asks transformers under a name that transformers has just renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def rows(texts: list[str]) -> list[dict[str, Any]]:
    ids = [tiny_tokenizer()(text)["input_ids"] for text in texts]
    return [{"input_ids": each, "labels": list(each)} for each in ids]


def batches(texts: list[str]) -> Iterator[Batch]:
    yield from (collate([row]) for row in rows(texts))


def drawn(letters: str, count: int) -> list[str]:
    """Random texts: nobody can know them by heart, so that a gradient is left."""
    source = random.Random(letters)
    return ["".join(source.choices(letters, k=12)) for _ in range(count)]


OLD, NEW = drawn("abcd", 24), drawn("wxyz", 8)


def loss_by(model: Any) -> Callable[[Batch], tuple[torch.Tensor, int]]:
    return partial(answer_loss, choose(model))


def learn(model: Any, texts: list[str], steps: int, part: Any = None) -> None:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    batch = collate(rows(texts))
    loss_of = loss_by(model)
    for _ in range(steps):
        summed, labelled = loss_of(batch)
        loss = summed / labelled + (part(model) if part else 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def loss_on(model: Any, texts: list[str]) -> float:
    return mean_answer_loss(choose(model), batches(texts))


@pytest.fixture(scope="module")
def old_knowledge() -> dict[str, torch.Tensor]:
    """The weights of a model that has learnt OLD."""
    model = tiny_model()
    learn(model, OLD, 30)
    return model.state_dict()


@pytest.fixture
def knowing(old_knowledge: dict[str, torch.Tensor]) -> Any:
    return knows(old_knowledge)


def knows(knowledge: dict[str, torch.Tensor]) -> Any:
    model = tiny_model()
    model.load_state_dict(knowledge)
    return model


def test_fisher_information_by_hand() -> None:
    model = tiny_model()
    expected, tokens = {name: torch.zeros_like(each) for name, each in model.named_parameters()}, 0
    for text in OLD[:2]:
        model.zero_grad()
        ids = torch.tensor([tiny_tokenizer()(text)["input_ids"]])
        logs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
        (-logs[range(ids.shape[1] - 1), ids[0, 1:]].sum()).backward()
        tokens += ids.shape[1] - 1
        for name, weight in model.named_parameters():
            assert weight.grad is not None
            expected[name] += weight.grad**2
    found = fisher(model, batches(OLD[:2]), loss_by(model))
    assert found.keys() == expected.keys()
    for name, each in found.items():
        torch.testing.assert_close(each, expected[name] / tokens)
    assert all(weight.grad is None for weight in model.parameters())


def test_the_gradient_is_lambda_times_information_times_distance(knowing: Any) -> None:
    start = {name: weight.detach().clone() for name, weight in knowing.named_parameters()}
    information = fisher(knowing, batches(OLD), loss_by(knowing))
    part: Any = ElasticWeights(ewc_lambda=7).prepare(knowing, batches(OLD), loss_by(knowing))
    learn(knowing, NEW, 2)
    knowing.zero_grad()
    part(knowing).backward()
    for name, weight in knowing.named_parameters():
        expected = 7 * information[name] * (weight.detach() - start[name])
        torch.testing.assert_close(weight.grad, expected)


def test_the_gradient_of_the_starting_points_pull(knowing: Any) -> None:
    start = {name: weight.detach().clone() for name, weight in knowing.named_parameters()}
    part: Any = StartingPoint(alpha=0.5).prepare(knowing, [], loss_by(knowing))
    learn(knowing, NEW, 2)
    knowing.zero_grad()
    part(knowing).backward()
    for name, weight in knowing.named_parameters():
        torch.testing.assert_close(weight.grad, 0.5 * (weight.detach() - start[name]))


@pytest.mark.parametrize("name", sorted(penalties()))
@pytest.mark.parametrize("adapter", [False, True])
def test_at_the_start_it_adds_nothing(name: str, adapter: bool) -> None:
    model = Lora(r=4).attach(tiny_model()) if adapter else tiny_model()
    before = {key: each.detach().clone() for key, each in model.named_parameters()}
    part = penalties()[name]().prepare(model, batches(OLD), loss_by(model))  # pyright: ignore[reportAttributeAccessIssue]
    assert part is None or part(model).item() == 0
    assert all(torch.equal(each, before[key]) for key, each in model.named_parameters())


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("penalty", [ElasticWeights(), StartingPoint(alpha=0.2)])
def test_less_is_forgotten_with_it(old_knowledge: dict[str, torch.Tensor], penalty: Penalty, adapter: bool) -> None:
    forgotten, learnt = {}, {}
    for held in (False, True):
        model = knows(old_knowledge)
        if adapter:
            torch.manual_seed(0)
            model = Lora(r=8).attach(model)
        old, new = loss_on(model, OLD), loss_on(model, NEW)
        learn(model, NEW, 30, penalty.prepare(model, batches(OLD), loss_by(model)) if held else None)
        forgotten[held], learnt[held] = loss_on(model, OLD) - old, new - loss_on(model, NEW)
    assert forgotten[True] < 0.5 * forgotten[False]
    assert learnt[True] > 0.9 * learnt[False]


@pytest.mark.parametrize("name", sorted(penalties()))
def test_it_holds_as_much_as_it_tells(name: str) -> None:
    model = tiny_model()
    weights = list(model.parameters())
    before = {weight.untyped_storage().data_ptr() for weight in weights}
    penalty = penalties()[name]()
    part = penalty.prepare(model, batches(OLD[:1]), loss_by(model))
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() > 1:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    if part is not None:
        held = [cell.cell_contents for cell in part.__closure__ or ()]  # pyright: ignore[reportFunctionMemberAccess]
        for tensors in held:
            for tensor in tensors.values() if isinstance(tensors, dict) else ():
                keep(tensor)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            part(model)
    found = sum(each.nbytes() for place, each in kept.items() if place not in before)
    assert found == penalty.held * sum(weight.numel() for weight in weights)


def trainer(tmp_path: Any, accumulation: int, prepared: Prepared, listener: Any) -> SupervisedTrainer:
    settings = TrainingSettings(
        max_steps=2,
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-2,
        warmup_steps=0,
    )
    torch.manual_seed(0)
    return SupervisedTrainer(
        model=Lora(r=4).attach(tiny_model()),
        tokenizer=tiny_tokenizer(),
        prepared=prepared,
        training=settings,
        method=Lora(r=4),
        listener=listener,
        arguments=arguments(settings, rows=4, held_out=0, device="cpu", seed=0, output_dir=str(tmp_path)),
    )


class Listener(TrainerCallback):
    """Keeps what is logged of each step."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            self.logs.append(dict(logs))


def test_it_counts_once_an_update_however_many_batches_that_has(tmp_path: Any) -> None:
    encoded = [Encoded(row["input_ids"], row["labels"], False) for row in rows(NEW[:4])]
    ended, told = {}, {}
    for accumulation in (1, 4):
        listener = Listener()
        one = trainer(tmp_path, accumulation, Prepared(encoded, [], Report(0, 0, 0, 0)), listener)
        moved = next(weight for name, weight in one.model.named_parameters() if "lora_A" in name)
        one.parts["held"] = lambda _, moved=moved: 5 * (moved - 1).square().mean()
        one.train()
        ended[accumulation], told[accumulation] = moved.detach(), listener.logs
    torch.testing.assert_close(ended[4], ended[1], rtol=1e-3, atol=1e-5)
    for once, often in zip(told[1], told[4], strict=True):
        assert often["held"] == pytest.approx(once["held"], rel=1e-3)
        assert often["loss"] == pytest.approx(once["loss"], abs=2e-3)  # without what was added
