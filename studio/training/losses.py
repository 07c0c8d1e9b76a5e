"""Losses as functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from studio.training.batching import Batch
from studio.training.route import Route
from studio.training.settings import LOGITS_AT_ONCE


def answer_loss(route: Route, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, int]:
    """Summed cross-entropy, in nats, over the labelled tokens of `batch`, and how many there are.

    loss = -sum_t log p(x_t | x_<t) over tokens t with label x_t != -100. Logits are computed for these
    tokens only, and of few at a time: prompts never meet the vocabulary, and no tensor grows with both. `smoothing`
    is as in `summed_cross_entropy`.
    """
    labelled = (batch["labels"] != -100).nonzero().squeeze(1)
    if labelled.numel() == 0:
        # A zero that still has a gradient, so that a batch without labels is a step that moves nothing.
        return route.states(batch, labelled.new_zeros(1)).sum() * 0.0, 0
    states = route.states(batch, labelled - 1)
    targets = batch["labels"][labelled]
    weights = route.head_weights()
    return summed_cross_entropy(states, targets, route.head, weights, _at_once(route, states), smoothing), len(labelled)


def _at_once(route: Route, states: Tensor) -> int:
    """Of how many tokens logits are held at a time."""
    return max(1, LOGITS_AT_ONCE[states.device.type == "cuda"] // route.vocabulary)


def summed_cross_entropy(
    states: Tensor,
    targets: Tensor,
    head: Callable[[Tensor], Tensor],
    weights: list[Tensor],
    at_once: int,
    smoothing: float = 0.0,
) -> Tensor:
    """-sum_i log softmax(head(states_i))[targets_i], in nats; `weights` are those of `head` that learn.

    Of each target a share of `smoothing` is spread evenly over the vocabulary (Szegedy et al. 2016,
    arXiv:1512.00567, section 7).

    `states` has shape (tokens, width), `targets` (tokens,). Gradients are found beside the loss, `at_once`
    tokens at a time, so that no logits are kept, nor computed twice (Hsu et al. 2024, arXiv:2410.10989,
    section 3.2).
    """
    learns = torch.is_grad_enabled() and (states.requires_grad or bool(weights))
    return _CrossEntropy.apply(states, targets, head, at_once, smoothing, learns, *weights)  # pyright: ignore[reportReturnType]


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        targets: Tensor,
        head: Any,
        at_once: int,
        smoothing: float,
        learns: bool,
        *weights: Tensor,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        gradient = torch.empty_like(states) if learns else None
        of_weights = [torch.zeros_like(weight) for weight in weights]
        for begin in range(0, len(states), at_once):
            end = begin + at_once
            with torch.set_grad_enabled(learns):
                piece = states[begin:end].detach().requires_grad_(learns)
                logits = head(piece)
            loss, slope = _loss_and_slope(logits.detach(), targets[begin:end], smoothing, slope=learns)
            total += loss
            if gradient is not None:
                first, *others = torch.autograd.grad(logits, [piece, *weights], slope)
                gradient[begin:end] = first
                for each, more in zip(of_weights, others, strict=True):
                    each += more
        ctx.save_for_backward(*([gradient] if gradient is not None else []), *of_weights)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradient, *of_weights = (each * outputs[0] for each in ctx.saved_tensors)
        return gradient, None, None, None, None, None, *of_weights


def _loss_and_slope(logits: Tensor, targets: Tensor, smoothing: float, *, slope: bool) -> tuple[Tensor, Tensor | None]:
    """Summed cross-entropy and its gradient, softmax - smoothed one-hot, in the logits' own format."""
    scores = logits.float() if logits.dtype != torch.float32 else logits.clone()
    norm = scores.logsumexp(dim=1, keepdim=True)
    loss = (norm - (1 - smoothing) * scores.gather(1, targets[:, None])).sum()
    if smoothing:
        loss -= smoothing * scores.mean(dim=1).sum()
    if not slope:
        return loss, None
    scores.sub_(norm).exp_()
    scores.scatter_add_(1, targets[:, None], scores.new_full((len(targets), 1), smoothing - 1.0))
    if smoothing:
        scores -= smoothing / scores.shape[1]
    return loss, scores.to(logits.dtype)


def token_logprobs(route: Route, states: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """(log p(target), entropy) of softmax(logits / temperature) at each position, in nats: float32 of shape (tokens,).

    `states` are of `route.states`, `targets` has shape (tokens,). Only log p has a gradient. Logits are held of few
    tokens at a time and computed anew in the backward pass, which belongs inside `route.running()`.
    """
    weights = route.head_weights()
    return _LogProbs.apply(states, targets, route.head, _at_once(route, states), temperature, *weights)  # pyright: ignore[reportReturnType]


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, targets: Tensor, head: Any, at_once: int, temperature: float, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        logps = torch.empty(len(states), dtype=torch.float32, device=states.device)
        entropy = torch.empty_like(logps)
        for begin in range(0, len(states), at_once):
            piece = slice(begin, begin + at_once)
            scores = (head(states[piece]).float() / temperature).log_softmax(dim=1)
            logps[piece] = scores.gather(1, targets[piece, None])[:, 0]
            entropy[piece] = torch.special.entr(scores.exp_()).sum(dim=1)
        ctx.save_for_backward(states, targets, *weights)
        ctx.head, ctx.at_once, ctx.temperature = head, at_once, temperature
        ctx.mark_non_differentiable(entropy)
        return logps, entropy

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        states, targets, *weights = ctx.saved_tensors
        slopes = outputs[0] / ctx.temperature
        gradient = torch.empty_like(states)
        of_weights = [torch.zeros_like(weight) for weight in weights]
        for begin in range(0, len(states), ctx.at_once):
            at = slice(begin, begin + ctx.at_once)
            with torch.enable_grad():
                piece = states[at].detach().requires_grad_()
                logits = ctx.head(piece)
            # d log p(target) / d logits = one-hot - softmax
            slope = (logits.detach().float() / ctx.temperature).softmax(dim=1).mul_(-slopes[at, None])
            slope.scatter_add_(1, targets[at, None], slopes[at, None])
            first, *others = torch.autograd.grad(logits, [piece, *weights], slope.to(logits.dtype))
            gradient[at] = first
            for each, more in zip(of_weights, others, strict=True):
                each += more
        return gradient, None, None, None, None, *of_weights


@torch.no_grad()
def mean_answer_loss(route: Route, batches: Iterable[Batch], step: Callable[[int], None] = lambda done: None) -> float:
    """Token-weighted mean of `answer_loss` over an iterable of batches, in nats per token."""
    total, tokens = 0.0, 0
    for done, batch in enumerate(batches, 1):
        loss, count = answer_loss(route, batch)
        total += float(loss)
        tokens += count
        step(done)
    return total / max(tokens, 1)
