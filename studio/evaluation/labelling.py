"""A tuned model's labels for the held-out rows, beside the right ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from studio.data.labels import Head
from studio.evaluation.labels import averaged, confusion, constant, folded, number_metrics
from studio.events import LabelsScored
from studio.models.heads import outputs, spoken
from studio.training.classifying import answered, decided, measured, reported, right_answers

LABELS_SHOWN = 40  # of a head; the rarest of more are put together
EXAMPLES_KEPT = 12
_TEXT_KEPT = 400  # characters of an example


def score_labels(model: Any, ending: Any) -> LabelsScored | None:
    """Every held-out row labelled and scored, head by head (see `Ending`); None where it was stopped."""
    rows, heads = ending.prepared.validation, ending.prepared.heads
    model.eval()
    found: list[list[Tensor]] = []
    size = ending.training.per_device_train_batch_size
    for batch in outputs(model, [row.input_ids for row in rows], ending.tokenizer.pad_token_id, size):
        if ending.stop():
            return None
        found.append(batch)
        ending.progress(min(len(found) * size, len(rows)), len(rows))
    targets = torch.tensor([row.labels for row in rows])
    reports, examples = [], []
    for head, output, target, has in answered(heads, found, targets):
        reports.append(_report(head, output, target))
        texts = [row.text for row, there in zip(rows, has.tolist(), strict=True) if there]
        examples += _examples(head, texts, output, target)
    examples.sort(key=lambda example: example.pop("order"))
    return LabelsScored(heads=reports, examples=examples[:EXAMPLES_KEPT])


def _report(head: Head, output: Tensor, target: Tensor) -> dict[str, Any]:
    right, said = right_answers(head, target), decided(head, output)
    always = constant(right, head.kind == "number")
    report: dict[str, Any] = {
        "name": head.name,
        "kind": head.kind,
        "labels": list(head.labels),
        "rows": len(right),
        "metrics": measured(head, output, target),
        "confusion": [],
        "per_label": [],
    }
    if head.kind == "number":
        return report | {"baseline": number_metrics(right, always)}
    baseline = averaged(right, always, reported(head, right, always))
    per_label = [
        {"label": label, "rows": int(each["rows"]), **{name: each[name] for name in ("precision", "recall", "f1")}}
        for label, each in zip(head.labels, reported(head, right, said), strict=True)
    ]
    if len(per_label) > LABELS_SHOWN:
        per_label = sorted(per_label, key=lambda each: -each["rows"])[:LABELS_SHOWN]
        report["labels"] = [each["label"] for each in per_label]
    if head.kind == "classes":
        matrix = confusion(right, said, len(head.labels))
        report["labels"], report["confusion"] = folded(head.labels, matrix, LABELS_SHOWN)
    return report | {"baseline": baseline, "per_label": per_label}


def _examples(head: Head, texts: Sequence[str], output: Tensor, target: Tensor) -> Iterator[dict[str, Any]]:
    """The most telling rows first by 'order': wrong ones that the model was sure of, then unsure ones.

    For numbers, those furthest off.
    """
    right, said = right_answers(head, target), decided(head, output)
    sure = spoken(head, output)
    for i, text in enumerate(texts):
        if head.kind == "number":
            probability, order = None, -abs(right[i] - said[i]) / head.scale
        else:
            probability = sure[i][0][1]
            order = probability if right[i] == said[i] else -1 - probability
        yield {
            "text": text[:_TEXT_KEPT],
            "head": head.name,
            "right": _named(head, right[i]),
            "predicted": _named(head, said[i]),
            "probability": probability,
            "order": order,
        }


def _named(head: Head, answer: Any) -> str:
    if head.kind == "classes":
        return head.labels[answer]
    if head.kind == "labels":
        return "; ".join(label for label, on in zip(head.labels, answer, strict=True) if on) or "(none)"
    # Targets are scaled in 32 bits, after which 0 is 2.6e-08; and + 0 makes 0 of -0.
    return f"{round(answer, 4 - math.floor(math.log10(head.scale))) + 0:.10g}"
