"""Losses over preferences by hand, and as TRL's trainers compute them; probabilities of tokens as torch has them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from studio.models.tiny import tiny_model
from studio.objectives.dpo import Dpo
from studio.training import losses
from studio.training.losses import token_logprobs
from studio.training.preferences import LOSSES, Pairs, bradley_terry, kto, reference_point, sft
from studio.training.route import Padded, SideBySide

# What TRL 1.16.0 made of numbers drawn at random: its trainers' own losses, given log-probabilities and rewards.
TRL = json.loads((Path(__file__).parent / "preference_values.json").read_text(encoding="utf-8"))


def pairs(**changes: Any) -> Pairs:
    """Two pairs: the first has gained by 2 and lost by 1, the second has moved the wrong way round."""
    values = {
        "chosen": [-3.0, -9.0],
        "rejected": [-8.0, -4.0],
        "reference_chosen": [-5.0, -8.0],
        "reference_rejected": [-7.0, -6.0],
        "chosen_tokens": [2, 4],
        "rejected_tokens": [1, 2],
        **changes,
    }
    return Pairs(**{name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})


def minus_log_sigmoid(value: float) -> float:
    return math.log1p(math.exp(-value))


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    ("name", "smoothing", "expected"),
    [
        # Log-ratios: won (2, -1), lost (-1, 2); margins (3, -3); beta 0.5.
        ("sigmoid", 0.0, [minus_log_sigmoid(1.5), minus_log_sigmoid(-1.5)]),
        ("sigmoid", 0.1, [0.9 * minus_log_sigmoid(s) + 0.1 * minus_log_sigmoid(-s) for s in (1.5, -1.5)]),
        ("hinge", 0.0, [0.0, 2.5]),
        ("ipo", 0.0, [(2 / 2 + 1 - 1) ** 2, (-1 / 4 - 2 / 2 - 1) ** 2]),
        ("robust", 0.1, [(0.9 * minus_log_sigmoid(s) - 0.1 * minus_log_sigmoid(-s)) / 0.8 for s in (1.5, -1.5)]),
        ("nca_pair", 0.0, [
            minus_log_sigmoid(1) + 0.5 * minus_log_sigmoid(-1) + 0.5 * minus_log_sigmoid(0.5),
            minus_log_sigmoid(-0.5) + 0.5 * minus_log_sigmoid(0.5) + 0.5 * minus_log_sigmoid(-1),
        ]),
        ("sppo_hard", 0.0, [(2 - 1) ** 2 + (-1 + 1) ** 2, (-1 - 1) ** 2 + (2 + 1) ** 2]),
        # Sorted margins of the policy (-5, 5), of the reference (-2, 2): -3 and 3 apart.
        ("aot", 0.0, [minus_log_sigmoid(-1.5), minus_log_sigmoid(1.5)]),
        ("apo_zero", 0.0, [1 - sigma(1) + sigma(-0.5), 1 - sigma(-0.5) + sigma(1)]),
        ("apo_down", 0.0, [sigma(1) + 1 - sigma(1.5), sigma(-0.5) + 1 - sigma(-1.5)]),
        ("sft", 0.0, [3 / 2, 9 / 4]),
    ],
)  # fmt: skip
def test_by_hand(name: str, smoothing: float, expected: list[float]) -> None:
    torch.testing.assert_close(LOSSES[name](pairs(), 0.5, smoothing), torch.tensor(expected, dtype=torch.float64))


def test_exo_is_a_divergence_from_what_is_believed() -> None:
    """0 where the model is exactly as sure as it should be, and above everywhere else."""
    sure, nothing = math.log(0.9 / 0.1), [0.0, 0.0]
    told = pairs(chosen=[sure, sure + 1], rejected=nothing, reference_chosen=nothing, reference_rejected=nothing)
    loss = LOSSES["exo_pair"](told, 1.0, 0.1)
    assert float(loss[0]) == pytest.approx(0, abs=1e-6)
    assert float(loss[1]) > 0.01


def test_the_form_offers_each_loss_there_is() -> None:
    assert set(get_args(Dpo.model_fields["loss_type"].annotation)) == set(LOSSES)


def recorded() -> Pairs:
    names = {"chosen": "policy_chosen", "rejected": "policy_rejected"}
    fields = ("chosen", "rejected", "reference_chosen", "reference_rejected", "chosen_tokens", "rejected_tokens")
    return Pairs(*(torch.tensor(TRL[names.get(name, name)]).float() for name in fields))


@pytest.mark.parametrize("case", TRL["dpo"], ids=lambda case: f"{case['loss_type']}-{case['beta']}")
def test_equal_answers_give_what_trl_makes_of_them(case: dict[str, Any]) -> None:
    loss = LOSSES[case["loss_type"]](recorded(), case["beta"], case["label_smoothing"])
    assert float(loss.mean()) == pytest.approx(case["loss"], rel=1e-5)
    assert float(case["beta"] * recorded().margin.mean()) == pytest.approx(case["margin"], rel=1e-5)
    assert float((recorded().margin > 0).float().mean()) == case["accuracy"]


@pytest.mark.parametrize("case", TRL["kto"]["cases"], ids=lambda case: f"beta {case['beta']}")
def test_equal_judgements_give_what_trl_makes_of_them(case: dict[str, Any]) -> None:
    given = {name: torch.tensor(values) for name, values in TRL["kto"].items() if name != "cases"}
    start = reference_point(given["other_policy"] - given["other_reference"])
    loss = kto(given["policy"] - given["reference"], given["good"], start, case["beta"], tuple(case["weights"]))
    assert float(start) == pytest.approx(case["kl"], rel=1e-5)
    assert float(loss.mean()) == pytest.approx(case["loss"], rel=1e-5)


def test_nothing_has_moved_further_back_than_nowhere() -> None:
    assert float(reference_point(torch.tensor([-3.0, 1.0]))) == 0.0


@pytest.mark.parametrize(
    "case", TRL["reward"]["cases"], ids=lambda case: f"centring {case['center_rewards_coefficient']}"
)
def test_equal_rewards_give_what_trl_makes_of_them(case: dict[str, Any]) -> None:
    chosen, rejected = (torch.tensor(TRL["reward"][name]) for name in ("chosen", "rejected"))
    loss = bradley_terry(chosen, rejected, case["center_rewards_coefficient"])
    assert float(loss.mean()) == pytest.approx(case["loss"], rel=1e-5)


def test_imitation_is_the_cross_entropy_of_the_chosen_answer() -> None:
    torch.testing.assert_close(sft(pairs()), torch.tensor([1.5, 2.25], dtype=torch.float64))


def plain(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logprobs = (logits.float() / temperature).log_softmax(dim=1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(dim=1)


@pytest.mark.parametrize("kind", [SideBySide, Padded])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_probabilities_and_gradients_of_tokens_are_those_of_whole_logits(
    kind: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", (at_once * 259,) * 2)
    ours, theirs = tiny_model(), tiny_model()
    ids, lengths = torch.arange(17) * 7 % 259, torch.tensor([10, 7])
    at, weights = torch.tensor([3, 4, 8, 12, 15]), torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0])
    route = kind(ours, None)
    with route.running():
        found, entropy = token_logprobs(
            route, route.states({"input_ids": ids, "lengths": lengths}, at), ids[at + 1], 0.7
        )
        (weights * found).sum().backward()
    logits = torch.cat([theirs(input_ids=row[None]).logits[0] for row in ids.split([10, 7])])[at]
    expected, spread = plain(logits, ids[at + 1], 0.7)
    (weights * expected).sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(entropy, spread)
    assert not entropy.requires_grad
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4)


def test_a_hopeless_margin_has_a_loss_and_a_gradient() -> None:
    margin = torch.tensor([-1e4], requires_grad=True)
    for loss in (bradley_terry(margin, torch.zeros(1)), -logsigmoid(margin)):
        (gradient,) = torch.autograd.grad(loss.sum(), margin)
        assert float(gradient) == -1.0
