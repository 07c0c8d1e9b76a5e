"""What several processes that train one model must do together, lest they wait for one another for ever."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import TrainerCallback

from studio.distributed import ranks

_FLAGS = ("should_training_stop", "should_epoch_stop", "should_save", "should_evaluate", "should_log")


def share(model: nn.Module) -> None:
    """Begin with the weights of rank 0."""
    for weight in _learning(model):
        dist.broadcast(weight.data, 0)


def average_gradients(model: nn.Module) -> None:
    """Put the mean over all ranks into each weight's gradient; a rank that has none for a weight counts as zero."""
    weights = _learning(model)
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    works: list[Any] = [dist.all_reduce(weight.grad, async_op=True) for weight in weights]
    for weight, work in zip(weights, works, strict=True):
        work.wait()
        weight.grad /= dist.get_world_size()


def over_ranks(numbers: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks; of one process its own."""
    if ranks() > 1:
        dist.all_reduce(numbers)
    return numbers


def _learning(model: nn.Module) -> list[Any]:
    return [weight for weight in model.parameters() if weight.requires_grad]


class Agreement(TrainerCallback):
    """Rank 0 alone sees flags and clocks, so that what it decides goes for all; comes behind the other callbacks.

    Each rank draws its noise anew for each update, from what all know: a run that goes on draws the same again.
    """

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.manual_seed((args.seed * 1_000_003 + state.global_step) * dist.get_world_size() + dist.get_rank())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        decided = torch.tensor([getattr(control, flag) for flag in _FLAGS], dtype=torch.int32, device=args.device)
        dist.broadcast(decided, 0)
        for flag, value in zip(_FLAGS, decided.tolist(), strict=True):
            setattr(control, flag, bool(value))

    on_substep_end = on_evaluate = on_save = on_step_end
