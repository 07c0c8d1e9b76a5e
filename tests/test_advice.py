"""The curve doctor: each rule speaks where its curve is ill, and all are silent where it is healthy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from studio.advice import LEAST_STEPS, Advice, advise, changed
from studio.config import RunConfig
from studio.differences import differences
from studio.errors import Diverged
from studio.events import DataReady
from studio.job import Job
from studio.jobs import create_run
from studio.store import Point, State, Store
from studio.training.callbacks import EventCallback
from studio.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

Make = Callable[..., RunConfig]
Curve = Callable[[float], float]  # share of the run → value


def run(
    train: Curve = lambda at: 0.7 + 1.3 * 0.01**at,
    held_out: Curve | None = lambda at: 0.75 + 1.3 * 0.01**at,
    norm: Curve = lambda at: 0.4 + 0.3 * 0.1**at,
    *,
    steps: int = 200,
    done: float = 1.0,
    noise: float = 0.15,
    evaluations: int = 4,
    rows: tuple[int, int, int] = (2000, 200, 0),
    seed: int = 0,
    **changes: Any,
) -> tuple[State, list[Point]]:
    """State and points of a run as far as `done`; a train loss wavers by `noise`. Rows: train, held out, cut off."""
    chance = random.Random(seed)
    asked = {"learning_rate": 1e-4, **changes.pop("training", {})}
    config = RunConfig.parse({"model": "tiny", "training": asked, **changes})
    points = []
    for step in range(1, round(done * steps) + 1):
        loss = max(1e-4, train(step / steps) * (1 + chance.gauss(0, noise)))
        metrics = {"loss": loss, "grad_norm": norm(step / steps) * (1 + 0.2 * chance.random())}
        points.append(Point(step, metrics, float(step), step))
    for step in range(0, round(done * steps) + 1, steps // evaluations):
        if held_out:
            value = held_out(step / steps) * (1 + chance.gauss(0, 0.003))
            points.append(Point(step, {"eval_loss": value}, 0.0, 0))
    data = DataReady(
        train_rows=rows[0], validation_rows=rows[1], truncated_rows=rows[2], skipped_rows=0, tokens=1, trained_tokens=1,
        fingerprint="",
    )  # fmt: skip
    here = round(done * steps)
    return State(id="r", config=config.to_dict(), status="done", step=here, total_steps=steps, data=data), points


def only(found: list[Advice], key: str) -> Advice:
    assert [advice.key for advice in found] == [key]
    return found[0]


HEALTHY: dict[str, dict[str, Any]] = {
    "an exponential fall": {},
    "a long run": {"steps": 3000, "evaluations": 20},
    "a fall and a long plateau": {"train": lambda at: 0.9 + 1.5 * 1e-9**at, "held_out": lambda at: 1 + 1.4 * 1e-9**at},
    "restless batches": {"noise": 0.4},
    "a short run": {"steps": 30},
    "no held-out rows": {"held_out": None},
    "a quarter of the way": {"done": 0.25},
    "the last evaluation a little worse": {"held_out": lambda at: 0.7 + 1.3 * 0.01**at + (0.01 if at == 1 else 0)},
    "a single worse evaluation": {"held_out": lambda at: 1.2 - 0.4 * at + (0.3 if at == 1 else 0)},
    "an easy task, learnt in one pass": {"train": lambda at: 1.4 * 0.04**at, "held_out": lambda at: 1.4 * 0.045**at},
    "few rows cut off": {"rows": (2000, 200, 150)},
    "a task that was known": {"train": lambda at: 0.08, "held_out": lambda at: 0.08, "noise": 0.3},
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_is_left_alone(name: str, seed: int) -> None:
    assert advise(*run(seed=seed, **HEALTHY[name])) == []


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2, 0.5, 0.9])
def test_so_is_a_healthy_run_at_any_time(share: float) -> None:
    assert advise(*run(done=share, steps=400, evaluations=20)) == []


def test_overfitting_is_dated_and_the_best_weights_are_to_be_kept() -> None:
    rising: dict[str, Any] = {
        "train": lambda at: 2 * 0.05**at,
        "held_out": lambda at: 1.5 - 0.8 * at if at <= 0.5 else 0.7 + at,
    }
    state, points = run(**rising, evaluations=8)
    found = only(advise(state, points), "overfitting")
    assert found.text.startswith("Overfitting since step 100:")
    assert found.steps == [100, 200]
    seen_to = {"load_best_model_at_end": True, "early_stopping_patience": 2}
    assert found.change == {"training": seen_to}
    assert advise(*run(**rising, evaluations=8, training=seen_to)) == []


def test_a_model_that_only_got_worse_wants_a_lower_rate() -> None:
    found = only(advise(*run(lambda at: 2 * 0.05**at, lambda at: 1 + at)), "overfitting")
    assert found.steps[0] == 0
    assert found.change == {"training": {"learning_rate": 3.3e-05}}


@pytest.mark.parametrize("seed", range(3))
def test_a_climbing_loss_wants_a_third_of_the_rate(seed: int) -> None:
    state, points = run(lambda at: 1 + 0.5 * at if at < 0.5 else 1.5 + 6 * (at - 0.5), lambda at: 1 + at, seed=seed)
    found = only(advise(state, points), "diverging")
    assert found.change == {"training": {"learning_rate": 3.3e-05}}
    assert found.steps[0] < 100 < found.steps[1] == 200


def test_a_loss_that_left_the_numbers_is_named_as_the_trainer_names_it() -> None:
    state, points = run(steps=200, done=0.02)
    with pytest.raises(Diverged) as said:
        EventCallback._must_be_a_number("loss", float("nan"), 4)
    state.status, state.problem = "failed", said.value.problem
    found = only(advise(state, points), "diverging")
    assert (found.text, found.steps) == (said.value.problem, [4])


def test_a_flat_loss_wants_three_times_the_rate() -> None:
    flat: dict[str, Any] = {"train": lambda at: 2.5, "held_out": lambda at: 2.6 - 0.01 * at, "norm": lambda at: 0.8}
    found = only(advise(*run(**flat)), "slow")
    assert found.change == {"training": {"learning_rate": 3e-04}}
    assert advise(*run(**flat, done=0.4)) == []  # too early to say


def test_a_long_warmup_is_said_rather_than_a_low_rate() -> None:
    flat: dict[str, Any] = {"train": lambda at: 2.5, "held_out": lambda at: 2.6, "norm": lambda at: 0.8}
    found = only(advise(*run(**flat, training={"warmup_steps": 120})), "warm-up")
    assert (found.steps, found.change) == ([120], {"training": {"warmup_steps": 0.05}})
    assert only(advise(*run(training={"warmup_steps": 0.5})), "warm-up").steps == [100]


def test_a_loss_near_zero_within_a_few_rows_is_suspected() -> None:
    at_once = run(lambda at: 0.02, lambda at: 0.02)
    assert "after 0 rows" in only(advise(*at_once), "leak").text
    assert "after 96 rows" in only(advise(*run(lambda at: 0.02, None)), "leak").text
    labels = run(lambda at: 0.02, lambda at: 0.02, objective={"name": "classify"})
    assert advise(*labels) == []  # they may well be as easy


def test_held_out_rows_far_below_train_rows_are_suspected() -> None:
    curves: dict[str, Any] = {"train": lambda at: 2 * 0.7**at, "held_out": lambda at: 0.6 - 0.1 * at}
    assert only(advise(*run(**curves)), "leak").steps == [200]
    assert advise(*run(**curves, rows=(2000, 4, 0))) == []  # four rows may be easy ones
    assert advise(*run(**curves, training={"label_smoothing_factor": 0.2})) == []  # losses of two kinds


def test_rows_that_lose_their_end_want_a_greater_length() -> None:
    found = only(advise(*run(rows=(2000, 200, 300))), "cut off")
    assert found.change == {"objective": {"max_length": 1024}}
    assert found.steps == []


def test_clipping_at_every_step_lets_the_usual_norm_through() -> None:
    found = only(advise(*run(norm=lambda at: 5.0)), "clipped")
    assert found.change is not None
    assert 7 < found.change["training"]["max_grad_norm"] < 10
    assert advise(*run(norm=lambda at: 5.0, training={"max_grad_norm": 0})) == []
    assert advise(*run(norm=lambda at: 5.0, steps=LEAST_STEPS - 4)) == []


def test_held_out_rows_far_above_train_rows_want_less_of_the_same() -> None:
    apart: dict[str, Any] = {"train": lambda at: 1.5 * 0.1**at, "held_out": lambda at: 1.5 - 0.4 * at}
    found = only(advise(*run(**apart, rows=(400, 40, 0), training={"num_train_epochs": 4})), "gap")
    assert found.change == {"training": {"num_train_epochs": 2.0}}
    found = only(advise(*run(**apart, rows=(9000, 40, 0), method={"name": "lora", "lora_dropout": 0})), "gap")
    assert found.change == {"method": {"lora_dropout": 0.1}}
    assert only(advise(*run(**apart, rows=(9000, 40, 0), method={"name": "full"})), "gap").change is None


def test_a_copy_differs_in_what_is_advised_alone() -> None:
    state, points = run(rows=(2000, 200, 300), norm=lambda at: 5.0)
    before = state.config["objective"].copy()
    cut, clip = sorted(advise(state, points), key=lambda advice: advice.key, reverse=True)
    assert differences([state.config, changed(state.config, cut)]) == [("objective.max_length", ["512", "1024"])]
    both = RunConfig.parse(changed(changed(state.config, cut), clip))
    assert both.objective.max_length == 1024
    assert both.training.learning_rate == 1e-4
    assert state.config["objective"] == before


def test_what_cannot_be_read_brings_forth_no_word() -> None:
    state, points = run(norm=lambda at: 5.0)
    state.config = {"method": {"name": "of a newer studio"}}
    assert advise(state, points) == []
    assert advise(State(id="r", config={}), []) == []


# -- real runs ---------------------------------------------------------------------------------------------


def told(workspace: Workspace, config: RunConfig) -> list[Advice]:
    folder = create_run(workspace, config)
    Job(folder, workspace).run()
    store = Store(workspace)
    return advise(store.state(folder.id), store.points(folder.id))


def test_few_rows_are_learnt_by_heart(workspace: Workspace, tiny_config: Make) -> None:
    training = {"max_steps": 60, "learning_rate": 0.01, "max_grad_norm": 0, "eval_steps": 6, "answer_rows": 0}
    found = told(workspace, tiny_config(training={**training, "sample_rows": 0}, dataset={"validation_share": 0.9}))
    advice = next(each for each in found if each.key == "overfitting")
    assert 0 < advice.steps[0] < 60
    assert "diverging" not in {each.key for each in found}


def test_too_low_a_rate_is_seen_and_a_good_one_is_left_alone(workspace: Workspace, tiny_config: Make) -> None:
    training = {"max_steps": 40, "max_grad_norm": 0, "answer_rows": 0, "sample_rows": 0}
    slow = told(workspace, tiny_config(training={**training, "learning_rate": 1e-6}))
    assert only(slow, "slow").change == {"training": {"learning_rate": 3e-06}}
    assert told(workspace, tiny_config(training={**training, "learning_rate": 0.01})) == []
