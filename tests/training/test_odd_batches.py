"""Odd rows, odd models: training goes on without a number that is none, and moves what it should."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from studio.data.tokens import Encoded, pack, report_on
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.models.vocabulary import extend
from studio.objectives import Prepared
from studio.training.route import Padded, Route
from studio.training.settings import TrainingSettings
from studio.training.supervised import SupervisedTrainer
from studio.training.trainer import arguments
from tests.training.architectures import build

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

LEARNT = Encoded([5, 6, 7, 8, 9], [-100, -100, 7, 8, 9], False)
UNLABELLED = Encoded([5, 6, 7], [-100, -100, -100], False)
ONE_TOKEN = Encoded([5], [5], False)  # which nothing stands before


class Losses(TrainerCallback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen += [logs[name] for name in ("loss", "grad_norm") if name in logs]


class PaddedTrainer(SupervisedTrainer):
    def routed(self, model: Any, compute: torch.dtype | None) -> Route:
        return Padded(model, compute, "asked for")


def moved(
    folder: Path, rows: list[Encoded], model: Any = None, method: Any = None, kind: Any = SupervisedTrainer, **more: Any
) -> set[str]:
    """Names of weights that two updates moved; every loss and gradient on the way was a number."""
    compute, method = more.pop("compute", None), method or Lora(r=4)
    chosen = TrainingSettings.parse(
        {"learning_rate": 1e-2, "per_device_train_batch_size": 1, "max_steps": 2, "weight_decay": 0, **more}
    )
    model = method.attach(model or tiny_model(), 2)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    losses = Losses()
    trainer = kind(
        model=model,
        tokenizer=tiny_tokenizer(),
        prepared=Prepared(rows, rows, report_on(rows, 0)),
        training=chosen,
        method=method,
        listener=losses,
        arguments=arguments(chosen, rows=len(rows), held_out=1, device="cpu", seed=0, output_dir=str(folder)),
        compute=compute,
    )
    assert bool(trainer.route.reason) == (kind is PaddedTrainer)
    trainer.train()
    assert len(losses.seen) >= 4
    assert all(math.isfinite(each) for each in [*losses.seen, *trainer.evaluate().values()])
    after = dict(model.named_parameters())
    assert all(weight.isfinite().all() for weight in after.values())
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


@pytest.mark.parametrize("kind", [SupervisedTrainer, PaddedTrainer])
@pytest.mark.parametrize("rows", [[ONE_TOKEN], [ONE_TOKEN, UNLABELLED]])
def test_where_nothing_is_labelled_nothing_moves(tmp_path: Path, kind: Any, rows: list[Encoded]) -> None:
    options = {"per_device_train_batch_size": len(rows), "gradient_checkpointing": len(rows) > 1}
    assert not moved(tmp_path, rows, kind=kind, **options)


@pytest.mark.parametrize(("kind", "odd"), [(SupervisedTrainer, ONE_TOKEN), (PaddedTrainer, UNLABELLED)])
def test_a_batch_without_labels_among_those_of_an_update_changes_nothing(
    tmp_path: Path, kind: Any, odd: Encoded
) -> None:
    model, other = tiny_model(), tiny_model()
    names = moved(tmp_path, [LEARNT, odd], model, kind=kind, gradient_accumulation_steps=2)
    assert names == moved(tmp_path, [LEARNT], other, kind=kind)
    for (name, one), (_, same) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(one, same, msg=name)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"attn_implementation": "eager"}, {}),
        ({"attention_dropout": 0.3}, {}),
        ({"attention_dropout": 0.3, "attn_implementation": "eager"}, {"gradient_checkpointing": True}),
        ({}, {"gradient_checkpointing": True, "compute": torch.bfloat16}),
        ({"tie_word_embeddings": False}, {"method": Full()}),
        ({"tie_word_embeddings": True}, {"method": Full(), "gradient_checkpointing": True, "kind": PaddedTrainer}),
    ],
)
def test_all_that_learns_moves(tmp_path: Path, changes: dict[str, Any], options: dict[str, Any]) -> None:
    model = build("llama", **changes)
    names = moved(tmp_path, [LEARNT], model, **options)
    learns = {name for name, weight in model.named_parameters() if weight.requires_grad}
    # A method puts more in front of a name.
    assert {name.split("model.")[-1] for name in names} == {name.split("model.")[-1] for name in learns}


@pytest.mark.parametrize(
    ("kind", "tied"), [(SupervisedTrainer, True), (SupervisedTrainer, False), (PaddedTrainer, True)]
)
def test_new_tokens_are_learnt(tmp_path: Path, kind: Any, tied: bool) -> None:
    model, tokenizer = build("llama", tie_word_embeddings=tied), tiny_tokenizer()
    (new,) = extend(model, tokenizer, ["number"])
    row = Encoded([5, new, 7, new], [-100, new, 7, new], False)
    assert any("token" in name for name in moved(tmp_path, [row], model, kind=kind))


@pytest.mark.parametrize("kind", [SupervisedTrainer, PaddedTrainer])
def test_packed_blocks_go_either_way(tmp_path: Path, kind: Any) -> None:
    blocks = list(pack([Encoded([n] * n, [n] * n, False) for n in (5, 1, 9, 4)], 8))
    assert moved(tmp_path, blocks, kind=kind, per_device_train_batch_size=2)
