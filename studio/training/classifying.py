"""The trainer of objectives that put heads on a model: a loss, and scores, for each label column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from studio.data.labels import Head
from studio.evaluation.labels import averaged, class_report, confusion, number_metrics, set_report
from studio.training.batching import Batch, side_by_side
from studio.training.route import Route, choose
from studio.training.together import over_ranks
from studio.training.trainer import StudioTrainer


def head_loss(head: Head, output: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """The loss of one head summed over rows, in nats; of numbers half the squared error, in their scale.

    `output` has shape (rows, outputs), `target` (rows, head.targets), none of it missing. Of several
    labels that may be right at once it is the mean of their binary cross-entropies. Balanced weights
    average 1 over the training rows, so that losses stay comparable (King & Zeng 2001). Of each right label a
    share of `smoothing` is spread evenly over what might have been said (Szegedy et al. 2016, arXiv:1512.00567).
    """
    weights = torch.tensor(head.balance, device=output.device) if head.balance else None
    if head.kind == "classes":
        right = target[:, 0].long()
        return functional.cross_entropy(output, right, weight=weights, reduction="sum", label_smoothing=smoothing)
    if head.kind == "labels":
        if weights is not None:  # n / (2 x present), from which n / (2 x absent) follows
            weights = torch.where(target > 0, weights, weights / (2 * weights - 1))
        smooth = target * (1 - smoothing) + smoothing / 2
        each = functional.binary_cross_entropy_with_logits(output, smooth, weight=weights, reduction="none")
        return each.mean(dim=1).sum()
    return 0.5 * (output - target).square().sum()


class HeadTrainer(StudioTrainer):
    """The weighted mean of the heads' losses, each the mean over those rows of an update that have its label.

    Heads without such a row in an update do not count in it.
    The heads start at random, so the curve starts with them as they are, before the first update.
    """

    base_counts = False

    def __init__(self, **options: Any) -> None:
        self.specs: tuple[Head, ...] = options["prepared"].heads
        self._seen = {head.name: [0.0, 0] for head in self.specs}  # loss and rows since the last update
        self._rows = torch.zeros(len(self.specs))  # with a label for each head, in the update at hand
        super().__init__(**options)
        self.args.eval_on_start = self.eval_dataset is not None

    def rates(self) -> dict[str, float]:
        factor = self.prepared.head_rate / self.args.learning_rate
        return super().rates() | {f"heads.{name}": factor for name, _ in self.model.heads.named_parameters()}

    def routed(self, model: Any, compute: torch.dtype | None) -> Route:
        return choose(model.backbone, compute)

    def collator(self) -> Callable[[list[Any]], Batch]:
        specs = self.specs

        def collate(rows: list[Any]) -> Batch:
            targets = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
            present = torch.stack([~each[:, 0].isnan() for each in _by_head(specs, targets)], dim=1)
            labels = torch.where(present, 0, -100)
            return {**side_by_side(rows), "targets": targets, "labels": labels}

        return collate

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        """Called once an update, with all its batches. One item: `summed_loss` divides by heads' rows on all ranks."""
        rows = torch.stack([(batch["labels"] >= 0).sum(dim=0) for batch in batch_samples]).sum(dim=0)
        self._rows = over_ranks(rows.to(self.args.device)).cpu()
        return 1

    def summed_loss(self, batch: Batch) -> tuple[Tensor, int]:
        """This batch's share in the loss of its update, which is one item."""
        total = torch.zeros((), device=batch["targets"].device)
        whole = sum(head.weight for head, rows in zip(self.specs, self._rows.tolist(), strict=True) if rows)
        for (head, loss, rows), all_rows in zip(self._losses(batch), self._rows.tolist(), strict=True):
            total = total + head.weight / whole * loss / max(all_rows, 1)
            seen = self._seen[head.name]
            seen[0] += float(loss.detach())
            seen[1] += rows
        return total, 1

    def _outputs(self, batch: Batch) -> list[Tensor]:
        return self.model.named(self.route.states(batch), batch["lengths"])

    def _losses(self, batch: Batch) -> Iterator[tuple[Head, Tensor, int]]:
        for head, output, target in zip(
            self.specs, self._outputs(batch), _by_head(self.specs, batch["targets"]), strict=True
        ):
            has = ~target[:, 0].isnan()
            smoothing = self.training.label_smoothing_factor
            yield head, head_loss(head, output[has].float(), target[has], smoothing), int(has.sum())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """With a curve for each head where there are several."""
        if "loss" in logs:
            if len(self.specs) > 1:
                self.extras |= {f"loss_{name}": loss / rows for name, (loss, rows) in self._seen.items() if rows}
            self._seen = {head.name: [0.0, 0] for head in self.specs}
        super().log(logs, *args, **kwargs)

    def scores(self, batches: Iterator[Batch], step: Callable[[int], None]) -> dict[str, float]:
        outputs, targets = [], []
        for done, batch in enumerate(batches, 1):
            outputs.append([each.cpu() for each in self._outputs(batch)])
            targets.append(batch["targets"].cpu())
            step(done)
        scores: dict[str, float] = {}
        total, whole = 0.0, 0.0
        for head, output, target, _ in answered(self.specs, outputs, torch.cat(targets)):
            loss = float(head_loss(head, output, target)) / len(target)
            total += head.weight * loss
            whole += head.weight
            found = measured(head, output, target)
            if len(self.specs) > 1:
                found = {f"{name}_{head.name}": value for name, value in {"loss": loss, **found}.items()}
            scores |= found
        return {"loss": total / (whole or 1.0), **scores}


def answered(
    specs: Sequence[Head], outputs: Sequence[Sequence[Tensor]], targets: Tensor
) -> Iterator[tuple[Head, Tensor, Tensor, Tensor]]:
    """(head, its output, its targets, which rows these are) for each head that some row has a label for.

    `outputs` are those of batches in order, one of shape (rows, outputs) per head; `targets` has shape
    (all rows, all heads' targets).
    """
    for place, (head, target) in enumerate(zip(specs, _by_head(specs, targets), strict=True)):
        has = ~target[:, 0].isnan()
        if has.any():
            yield head, torch.cat([batch[place] for batch in outputs])[has].float(), target[has], has


def _by_head(specs: Sequence[Head], targets: Tensor) -> tuple[Tensor, ...]:
    """The columns of `targets`, of shape (rows, all heads' targets), that belong to each head."""
    return targets.split([head.targets for head in specs], dim=1)


def decided(head: Head, values: Tensor) -> list[Any]:
    """Outputs → what they say: a class's place, a tuple of 0 and 1 for labels, or a number in its own unit."""
    if head.kind == "classes":
        return values.argmax(dim=1).tolist()
    if head.kind == "labels":
        return [tuple(row) for row in (values > 0).int().tolist()]
    return [value * head.scale + head.mean for value in values[:, 0].tolist()]


def right_answers(head: Head, targets: Tensor) -> list[Any]:
    """Targets in the form of `decided`."""
    if head.kind == "classes":
        return targets[:, 0].int().tolist()
    return decided(head, targets)


def measured(head: Head, output: Tensor, target: Tensor) -> dict[str, float]:
    """The metrics that suit the head: those of `averaged`, or of `number_metrics`."""
    right, said = right_answers(head, target), decided(head, output)
    if head.kind == "number":
        return number_metrics(right, said)
    return averaged(right, said, reported(head, right, said))


def reported(head: Head, right: Sequence[Any], said: Sequence[Any]) -> list[dict[str, float]]:
    """Precision, recall and F1 of each of the head's labels."""
    if head.kind == "classes":
        return class_report(confusion(right, said, len(head.labels)))
    return set_report(right, said)
