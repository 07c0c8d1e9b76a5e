"""Elastic weight consolidation: hold each weight the more, the more old data depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from studio.methods import Part
from studio.penalties import Penalty, learning
from studio.settings import setting


class ElasticWeights(Penalty):
    """lambda / 2 * sum_i F_i (theta_i - theta*_i)^2 over the weights that learn; theta* is where they start.

    Kirkpatrick et al. 2017, arXiv:1612.00796, eq. 3. F is the diagonal of the empirical Fisher information, the
    labels being those of the old data, in nats per token: F_i = sum over rows of (d loss_row / d theta_i)^2, divided
    by all labelled tokens. As the loss is in nats per token too, the penalty at lambda 1 is, to second order, by how
    much the old loss has risen. Where the model knows the old data by heart, its gradients vanish and F with them.

    Of an adapter it holds the adapter's own weights. LoRA's B starts at zero, where the loss does not depend on A:
    A's Fisher information is zero, so A may turn freely and B alone is held. As the update is B A, it is held through
    B, though less exactly than full fine-tuning's weights are: what F says of B was measured with the first A.
    """

    title: ClassVar[str] = "Elastic weights (EWC)"
    about: ClassVar[str] = "Holds each weight the more, the more old data depends on it."
    held: ClassVar[int] = 12  # where the weight started, its Fisher information, and how far it has moved
    measures: ClassVar[str] = "Measuring what old data needs"

    ewc_lambda: float = setting(
        100.0,
        "Strength",
        gt=0,
        le=1e9,
        help="At 1 the estimated rise of the old loss counts as much as the new loss. The estimate looks at each "
        "weight alone and comes out too low, so 10 to 1,000 is usual.",
        source="Kirkpatrick et al. 2017, arXiv:1612.00796, eq. 3",
    )
    fisher_rows: int = setting(
        128,
        "Old rows to measure",
        ge=1,
        le=100_000,
        unit="rows",
        help="What each weight means to old data is measured on this many rows before training, one at a time.",
        source="Kirkpatrick et al. 2017, arXiv:1612.00796, eq. 3",
    )

    def rows(self) -> int:
        return self.fisher_rows

    def prepare(self, model: Any, batches: Iterable[Any], loss: Callable[[Any], tuple[Any, int]]) -> Part:
        weights = learning(model)
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        information = fisher(model, batches, loss)

        def penalty(_: Any) -> Any:
            moved = (
                (each * (weights[name] - start[name]).float().square()).sum() for name, each in information.items()
            )
            return self.ewc_lambda / 2 * sum(moved)

        return penalty


def fisher(model: Any, batches: Iterable[Any], loss: Callable[[Any], tuple[Any, int]]) -> dict[str, Any]:
    """Name → diagonal of the empirical Fisher information, float32, in nats per token; `batches` hold a row each."""
    import torch

    weights = learning(model)
    found = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    tokens, was_training = 0, model.training
    model.eval()  # no dropout: what the model knows, not a thinned copy of it
    for batch in batches:
        model.zero_grad()
        summed, labelled = loss(batch)
        summed.backward()
        tokens += labelled
        for name, weight in weights.items():
            if weight.grad is not None:
                found[name] += weight.grad.float().square()
    model.zero_grad()
    model.train(was_training)
    return {name: each / max(tokens, 1) for name, each in found.items()}
