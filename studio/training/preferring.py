"""The trainers of objectives that learn from judged answers: pairs, answers judged alone, and rewards for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from studio.training.batching import Batch, collate
from studio.training.losses import token_logprobs
from studio.training.preferences import LOSSES, Pairs, bradley_terry, kto, reference_point, sft
from studio.training.route import Route, choose
from studio.training.together import over_ranks
from studio.training.trainer import StudioTrainer


class Means:
    """Means of numbers that come batch by batch; NaN is left out."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, found: dict[str, Tensor]) -> None:
        for name, values in found.items():
            there = values.detach()[~values.isnan()]
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + float(there.sum()), count + len(there)

    def all(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.sums.items() if count}


class PreferenceTrainer(StudioTrainer):
    """The mean loss over items, pairs or single answers, and curves of what else is measured of them.

    Noise on embeddings, which helps where texts are imitated, is left out: it would blur what is compared.
    """

    documents = 2  # of an item

    def __init__(self, **options: Any) -> None:
        self.how: Any = options["prepared"].how
        self._seen = Means()  # since the last update
        options["training"] = options["training"].model_copy(update={"neftune_noise_alpha": 0.0})
        super().__init__(**options)

    def measured(self, batch: Batch) -> dict[str, Tensor]:
        """Curve name → a number for each item, NaN where it has none; 'loss' among them, which alone has a gradient."""
        raise NotImplementedError

    def collator(self) -> Callable[[list[Any]], Batch]:
        return collate

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        items = sum(len(batch["lengths"]) for batch in batch_samples) // self.documents
        return int(over_ranks(torch.tensor(items, device=self.args.device)))

    def summed_loss(self, batch: Batch) -> tuple[Tensor, int]:
        found = self.measured(batch)
        self._seen.add(found)
        return found["loss"].sum(), len(found["loss"])

    def scores(self, batches: Iterator[Batch], step: Callable[[int], None]) -> dict[str, float]:
        seen = Means()
        for done, batch in enumerate(batches, 1):
            seen.add(self.measured(batch))
            step(done)
        return seen.all()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            self.extras |= {name: mean for name, mean in self._seen.all().items() if name != "loss"}
            self._seen = Means()
        super().log(logs, *args, **kwargs)


class _Referred(PreferenceTrainer):
    """Compares the policy with the reference, the model without its adapter; neither drops anything out."""

    def __init__(self, **options: Any) -> None:
        for module in options["model"].modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        super().__init__(**options)

    def _told(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each row's labelled tokens, of shape (rows,): summed log-probability by policy and by reference, how many.

        The last is half the summed square of what lies between the two, an estimate of the KL in nats an answer (k2 of
        Schulman 2020, Approximating KL Divergence, joschu.net/blog/kl-approx.html), though of answers of the data.
        """
        with torch.no_grad(), self.model.disable_adapter():  # before the policy: some methods switch weights in place
            reference = self._logprobs(batch)
        policy = self._logprobs(batch)
        counts = [int((row != -100).sum()) for row in batch["labels"].split(batch["lengths"].tolist())]
        apart = 0.5 * (policy.detach() - reference).square()
        sums = [torch.stack([row.sum() for row in each.split(counts)]) for each in (policy, reference, apart)]
        return sums[0], sums[1], torch.tensor(counts, device=policy.device), sums[2]

    def _logprobs(self, batch: Batch) -> Tensor:
        """Of shape (labelled tokens,)."""
        at = (batch["labels"] != -100).nonzero().squeeze(1)
        return token_logprobs(self.route, self.route.states(batch, at - 1), batch["labels"][at])[0]


class DpoTrainer(_Referred):
    """Pairs; held-out ones give their accuracy, the share of pairs whose chosen answer has gained more."""

    def measured(self, batch: Batch) -> dict[str, Tensor]:
        policy, reference, tokens, apart = self._told(batch)
        pairs = Pairs(policy[::2], policy[1::2], reference[::2], reference[1::2], tokens[::2], tokens[1::2])
        loss = LOSSES[self.how.loss_type](pairs, self.how.beta, self.how.label_smoothing)
        if self.how.rpo_alpha:
            loss = loss + self.how.rpo_alpha * sft(pairs)
        return {
            "loss": loss,
            **_curves(self.how.beta * pairs.won.detach(), self.how.beta * pairs.lost.detach()),
            "logps_chosen": pairs.chosen.detach(),
            "logps_rejected": pairs.rejected.detach(),
            "kl": (apart[::2] + apart[1::2]) / 2,
        }


class KtoTrainer(_Referred):
    """Answers judged alone; what they gain is held against what answers to other prompts gain."""

    documents = 1

    def collator(self) -> Callable[[list[Any]], Batch]:
        def judged(rows: list[Any]) -> Batch:
            own, other = (collate([_document(row, place) for row in rows]) for place in (0, 1))
            good = torch.tensor([row["good"] for row in rows])
            return {**own, "good": good, **{f"other_{name}": value for name, value in other.items()}}

        return judged

    def measured(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            others = {name: batch[f"other_{name}"] for name in ("input_ids", "lengths", "labels")}
            policy, reference, *_ = self._told(others)
            start = reference_point(policy - reference)
        policy, reference, _, apart = self._told(batch)
        good, ratios = batch["good"], policy - reference
        rewards = self.how.beta * ratios.detach()
        nothing = torch.full_like(rewards, torch.nan)
        weights = (self.how.desirable_weight, self.how.undesirable_weight)
        return {
            "loss": kto(ratios, good, start, self.how.beta, weights),
            "rewards_chosen": torch.where(good, rewards, nothing),
            "rewards_rejected": torch.where(good, nothing, rewards),
            "reward_accuracy": _right(torch.where(good, 1.0, -1.0) * (rewards - self.how.beta * start)),
            "logps_chosen": torch.where(good, policy.detach(), nothing),
            "logps_rejected": torch.where(good, nothing, policy.detach()),
            "kl": apart,
        }


class RewardTrainer(PreferenceTrainer):
    """A head's number for each answer of a pair. Before the first update it is new: there is no base to score."""

    base_counts = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.args.eval_on_start = self.eval_dataset is not None

    def rates(self) -> dict[str, float]:
        factor = self.how.head_learning_rate / self.args.learning_rate
        return super().rates() | {f"heads.{name}": factor for name, _ in self.model.heads.named_parameters()}

    def routed(self, model: Any, compute: torch.dtype | None) -> Route:
        return choose(model.backbone, compute)

    def measured(self, batch: Batch) -> dict[str, Tensor]:
        (rewards,) = self.model.named(self.route.states(batch), batch["lengths"])
        chosen, rejected = rewards[::2, 0], rewards[1::2, 0]
        loss = bradley_terry(chosen, rejected, self.how.center_rewards_coefficient)
        return {"loss": loss, **_curves(chosen.detach(), rejected.detach())}


def _curves(chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """What is drawn of the rewards of pairs, each of shape (pairs,)."""
    margin = chosen - rejected
    return {
        "rewards_chosen": chosen,
        "rewards_rejected": rejected,
        "reward_margin": margin,
        "reward_accuracy": _right(margin),
    }


def _right(margin: Tensor) -> Tensor:
    """1 where it is above 0; a tie, as before the first update, is half right."""
    return (margin.sign() + 1) / 2


def _document(row: dict[str, Any], place: int) -> dict[str, Any]:
    """One of the documents that lie end to end in a row."""
    begin = sum(row["documents"][:place])
    part = slice(begin, begin + row["documents"][place])
    return {name: row[name][part] for name in ("input_ids", "labels")}
