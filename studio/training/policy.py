"""The trainer of objectives that learn from rewards: draw answers, score them, make the better ones likelier."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from studio.errors import Diverged
from studio.objectives._rewarded import Credit, Rewarded
from studio.rewards import Combined, Scores
from studio.training.advantages import explained_variance, kl_estimates, masked_mean, policy_loss, value_loss
from studio.training.batching import Batch, side_by_side
from studio.training.callbacks import Interrupted
from studio.training.rollouts import AT_ONCE, Rollout, Told, draw, expected, told
from studio.training.route import Route, choose
from studio.training.trainer import StudioTrainer

_REPEATED, _MOST = 0.8, 0.75  # share of an answer that is one token; share of answers that may be so
_LONG = 8  # tokens; shorter answers may well say one thing only


class PolicyTrainer(StudioTrainer):
    """One step draws answers to a batch of prompts and learns from them in passes of mini-batches.

    All but the last update of a step are made here; the last is the loop's own. Nothing is dropped out: an answer's
    probability is to change by what is learnt alone. `per_device_train_batch_size` answers are looked at together,
    times the gradient accumulation they are a step's prompts.
    """

    combined: Combined  # what scores answers; whoever makes the trainer sets it
    score_summary: dict[str, float]  # count, mean and sum of squares of all scores so far

    def __init__(self, **options: Any) -> None:
        self.how: Rewarded = options["prepared"].how
        self.kl_coef = self.how.kl_coef
        self.score_summary = {"count": 0.0, "mean": 0.0, "squares": 0.0}
        for module in options["model"].modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        # A step draws its answers at once and learns from them in batches of its own.
        loop = options["arguments"]
        loop.per_device_train_batch_size *= loop.gradient_accumulation_steps
        loop.gradient_accumulation_steps = 1
        super().__init__(**options)

    def routed(self, model: Any, compute: torch.dtype | None) -> Route:
        return choose(model.backbone if self.how.critic else model, compute)

    def rates(self) -> dict[str, float]:
        if not self.how.critic:
            return super().rates()
        factor: float = self.how.value_learning_rate / self.args.learning_rate  # pyright: ignore[reportAttributeAccessIssue]
        names = [name for name, _ in self.model.named_parameters() if name.startswith("value_")]
        return super().rates() | dict.fromkeys(names, factor)

    def collator(self) -> Callable[[list[Any]], Batch]:
        return lambda rows: {**side_by_side(rows), "rows": rows}  # pyright: ignore[reportReturnType]

    # -- a step ----------------------------------------------------------------------------------------

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        return 1

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        self.model.train()
        each = self.how.answers_each()
        rows = [row for row in inputs["rows"] for _ in range(each)]
        rollout, kl = self._experience(rows)
        credit = self.how.credit(rollout, kl, self.kl_coef)
        loss = self._learn(rollout, credit)
        kl_of_answer = float((kl * rollout.mask).sum(dim=1).mean())
        self._tell(rollout, credit, kl_of_answer)
        self.kl_coef = self.how.next_kl_coef(self.kl_coef, kl_of_answer, len(rows))
        self.state.num_input_tokens_seen += int(rollout.mask.sum())
        _must_not_collapse(rollout, self.how.entropy_floor, self.state.global_step + 1)
        return loss

    def _experience(self, rows: Sequence[dict[str, Any]]) -> tuple[Rollout, Tensor]:
        """Answers with their scores and what both models say of them, and the estimate of the KL at each token."""
        rollout = self._drawn(rows, self.how.temperature)
        rollout.given = self._given(rollout)
        rollout.scores = self._as_trained(torch.tensor(rollout.given.total, device=rollout.mask.device), rollout.ended)
        with torch.no_grad():
            policy = self._all(rollout)
            with self.model.disable_adapter():
                rollout.reference = self._all(rollout, valued=False).logprobs
        rollout.logprobs, rollout.entropy = policy.logprobs, policy.entropy
        if policy.values is not None:
            rollout.values = policy.values
        return rollout, kl_estimates(rollout.logprobs, rollout.reference, self.how.estimator()) * rollout.mask

    def _drawn(self, rows: Sequence[dict[str, Any]], temperature: float) -> Rollout:
        longest = self.how.max_completion_length
        with self.route.resting():
            rollout = draw(
                self.model,
                self.processing_class,
                rows,
                max_new_tokens=longest,
                temperature=temperature,
                at_once=min(AT_ONCE, 4 * self.training.per_device_train_batch_size),
                stop=self.asked,
            )
        if self.asked():  # answers may be cut short, and nothing is learnt yet: a checkpoint is of the step before
            raise Interrupted
        return rollout

    def _given(self, rollout: Rollout) -> Scores:
        """What its answers got. A reward may ask the model."""
        with self.route.resting():
            return self.combined(rollout.texts)

    def _all(self, rollout: Rollout, *, valued: bool = True) -> Told:
        parts = [self._told(rollout, places, valued=valued) for places in self._micro(range(len(rollout.answers)))]
        logprobs, entropy = (torch.cat([getattr(part, name) for part in parts]) for name in ("logprobs", "entropy"))
        values = [part.values for part in parts if part.values is not None]
        if valued and self.how.value_rank():
            with self.model.valuing():
                values = [self._expected(rollout, places) for places in self._micro(range(len(rollout.answers)))]
        return Told(logprobs, entropy, torch.cat(values) if values else None)

    def _told(self, rollout: Rollout, places: Sequence[int], *, valued: bool = True) -> Told:
        values = self.model.values if self.how.critic and valued and not self.how.value_rank() else None
        return told(self.route, rollout, places, self.how.temperature, values)

    def _expected(self, rollout: Rollout, places: Sequence[int]) -> Tensor:
        """What a critic with an adapter of its own expects; within `valuing`."""
        return expected(self.route, rollout, places, self.model.values)

    def _micro(self, places: Sequence[int]) -> list[Sequence[int]]:
        size = self.training.per_device_train_batch_size
        return [places[at : at + size] for at in range(0, len(places), size)]

    def _as_trained(self, scores: Tensor, ended: Tensor) -> Tensor:
        """Scores less the penalty for answers that did not end, scaled and clipped."""
        scores = scores - self.how.missing_eos_penalty * (~ended).float()
        if self.how.reward_scaling:
            scores = scores / self._deviation(scores)
        if self.how.reward_clip is not None:
            scores = scores.clamp(-self.how.reward_clip, self.how.reward_clip)
        return scores

    def _deviation(self, scores: Tensor) -> float:
        """The standard deviation of all scores so far, these among them (Welford 1962)."""
        seen = self.score_summary
        for score in scores.tolist():
            seen["count"] += 1
            moved = score - seen["mean"]
            seen["mean"] += moved / seen["count"]
            seen["squares"] += moved * (score - seen["mean"])
        deviation = math.sqrt(seen["squares"] / max(seen["count"] - 1, 1))
        return deviation if deviation > 1e-6 else 1.0  # all were equal so far

    def _learn(self, rollout: Rollout, credit: Credit) -> Tensor:
        """Passes of mini-batches; the gradients of the last update are left for the loop. Returns its loss."""
        plan = [places for _ in range(self.how.num_ppo_epochs) for places in self._mini_batches(rollout)]
        seen: list[dict[str, float]] = []
        loss = rollout.mask.new_zeros(())
        for number, places in enumerate(plan, 1):
            loss, metrics = self._gradients(rollout, credit, places)
            seen.append(metrics)
            far = self.how.stop_kl is not None and metrics["update_kl"] > self.how.stop_kl
            if far or number == len(plan):
                break
            self._update()
        self.extras |= {name: sum(each[name] for each in seen) / len(seen) for name in seen[0]}
        return loss

    def _mini_batches(self, rollout: Rollout) -> list[list[int]]:
        order = torch.randperm(len(rollout.answers)).tolist()
        size = math.ceil(len(order) / self.how.num_mini_batches)
        return [order[at : at + size] for at in range(0, len(order), size)]

    def _gradients(self, rollout: Rollout, credit: Credit, places: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """The loss of one mini-batch, a mean over its tokens, its gradient added to the weights'."""
        tokens = rollout.mask[list(places)].sum().clamp(min=1)
        total, sums = rollout.mask.new_zeros(()), defaultdict[str, float](float)
        for part in self._micro(places):
            loss, parts = self._loss(rollout, credit, list(part))
            loss = loss / tokens
            self.accelerator.backward(loss)
            total = total + loss.detach()
            if self.how.value_rank():
                with self.model.valuing():
                    errors = self._errors(rollout, credit, list(part), self._expected(rollout, part))
                    loss = self.how.vf_coef * errors / tokens  # pyright: ignore[reportAttributeAccessIssue]
                    self.accelerator.backward(loss)
                total = total + loss.detach()
                parts["value_loss"] = errors
            for name, value in parts.items():
                sums[name] += float(value.detach() / tokens)
        for name, part in self.parts.items():
            added = part(self.model)
            self.accelerator.backward(added)
            total = total + added.detach()
            sums[name] += float(added.detach())
        return total, dict(sums)

    def _loss(self, rollout: Rollout, credit: Credit, places: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over the tokens of the answers at `places`."""
        now, mask = self._told(rollout, places), rollout.mask[places]
        before = rollout.logprobs[places]
        each, clipped = policy_loss(now.logprobs, before, credit.advantages[places], mask, self.how.cliprange)
        parts = {
            "policy_loss": each.sum(),
            "clip_fraction": clipped.sum(),
            # k3 of what the update at hand has moved
            "update_kl": (kl_estimates(before, now.logprobs, "k3") * mask).sum(),
        }
        loss = parts["policy_loss"]
        if self.how.kl_in_loss():
            kl = kl_estimates(now.logprobs, rollout.reference[places], self.how.estimator()) * mask
            loss = loss + self.kl_coef * kl.sum()
        if now.values is not None:
            parts["value_loss"] = self._errors(rollout, credit, places, now.values)
            loss = loss + self.how.vf_coef * parts["value_loss"]  # pyright: ignore[reportAttributeAccessIssue]
        return loss, parts

    def _errors(self, rollout: Rollout, credit: Credit, places: list[int], values: Tensor) -> Tensor:
        """The critic's loss, summed over the tokens of the answers at `places`."""
        limit = self.how.cliprange_value  # pyright: ignore[reportAttributeAccessIssue]
        assert credit.returns is not None
        mask = rollout.mask[places]
        return value_loss(values, rollout.values[places], credit.returns[places], mask, limit).sum()

    def _update(self) -> None:
        """One of the updates before the last: as the loop makes its own."""
        if self.keeper:
            self.keeper.begin_update()
        if self.args.max_grad_norm > 0:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        assert self.optimizer is not None
        self.optimizer.step()
        self.model.zero_grad()

    def _tell(self, rollout: Rollout, credit: Credit, kl: float) -> None:
        assert rollout.given
        told = {
            "reward": _mean(rollout.given.total),
            "kl": kl,
            "entropy": float(masked_mean(rollout.entropy, rollout.mask)),
            "answer_tokens": float(rollout.mask.sum(dim=1).mean()),
            "ended": float(rollout.ended.float().mean()),
            "kl_coef": self.kl_coef,
        }
        if len(rollout.given.parts) > 1:
            told |= {f"reward_{key}": _mean(scores) for key, scores in rollout.given.parts.items()}
        if credit.returns is not None:
            told["explained_variance"] = explained_variance(rollout.values, credit.returns, rollout.mask)
        self.extras |= told

    # -- what a checkpoint keeps -------------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        return {"kl_coef": self.kl_coef, "scores": self.score_summary}

    def remember(self, kept: dict[str, Any]) -> None:
        self.kl_coef, self.score_summary = kept["kl_coef"], kept["scores"]

    # -- held-out prompts ----------------------------------------------------------------------------------

    def scores(self, batches: Iterator[Batch], step: Callable[[int], None]) -> dict[str, float]:
        """Of the likeliest answers. The loss is the reward with its sign turned: the lowest is the best."""
        given, tokens = [], 0.0
        for done, batch in enumerate(batches, 1):
            rows: Any = batch["rows"]
            rollout = self._drawn(rows, 0.0)
            given.append(self._given(rollout))
            tokens += float(rollout.mask.sum())
            step(done)
        total = [score for scores in given for score in scores.total]
        found = {"loss": -_mean(total), "reward": _mean(total), "answer_tokens": tokens / max(len(total), 1)}
        parts = given[0].parts if given else {}
        if len(parts) > 1:
            found |= {f"reward_{key}": _mean([s for scores in given for s in scores.parts[key]]) for key in parts}
        return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def _must_not_collapse(rollout: Rollout, floor: float, step: int) -> None:
    """Raise Diverged where a policy has come to say one thing only."""
    entropy = float(masked_mean(rollout.entropy, rollout.mask))
    long = [answer for answer in rollout.answers if len(answer) >= _LONG]
    repeated = [answer for answer in long if max(map(answer.count, set(answer))) > _REPEATED * len(answer)]
    if len(repeated) > _MOST * len(rollout.answers):
        what = f"{len(repeated):,} of {len(rollout.answers):,} answers repeat one token"
    elif entropy < floor:
        what = f"its entropy is {entropy:.4f} nats a token, below the floor of {floor:g}"
    else:
        return
    raise Diverged(
        f"The policy has collapsed at step {step:,}: {what}.",
        remedy="Raise 'KL coefficient' or lower the learning rate, and look in the Rewards tab whether such answers "
        "score high.",
    )
