"""What a trainer does, told as events."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.errors import Diverged, RunError
from studio.events import EvalDone, Phase, StepDone
from studio.training.callbacks import EventCallback
from studio.workspace import RunFolder

LOGS = {"loss": 2.0, "grad_norm": 0.5, "learning_rate": 1e-4}


@pytest.fixture
def callback(tmp_path: Path) -> EventCallback:
    return EventCallback(RunFolder(tmp_path))


def control() -> Any:
    return SimpleNamespace(should_training_stop=False, should_evaluate=True)


def state(step: int, tokens: int = 0) -> Any:
    return SimpleNamespace(global_step=step, max_steps=9, num_input_tokens_seen=tokens)


def test_a_step_counts_its_own_tokens(callback: EventCallback) -> None:
    for step, tokens in ((1, 100), (2, 350)):
        callback.on_step_begin(None, state(step), control())
        callback.on_log(None, state(step, tokens), control(), dict(LOGS))
    steps = [event for event in callback.log.read_from()[0] if isinstance(event, StepDone)]
    assert [(event.step, event.total_steps, event.tokens) for event in steps] == [(1, 9, 100), (2, 9, 350)]
    seconds = steps[1].seconds - steps[0].seconds
    assert steps[1].metrics["tokens_per_second"] == pytest.approx(250 / seconds)


def test_a_stop_flag_ends_training_without_another_evaluation(callback: EventCallback) -> None:
    asked = control()
    callback.on_step_end(None, state(1), asked)
    assert not asked.should_training_stop
    callback.stop_flag.touch()
    callback.on_step_end(None, state(2), asked)
    assert asked.should_training_stop
    assert not asked.should_evaluate
    assert callback.step == 2


def test_a_pause_flag_ends_training_after_an_evaluation_that_is_due(callback: EventCallback) -> None:
    asked = control()
    callback.pause_flag.touch()
    callback.on_step_end(None, state(2), asked)
    assert asked.should_training_stop
    assert asked.should_evaluate


def test_what_the_log_holds_is_not_told_again(tmp_path: Path) -> None:
    for told in ([1, 2, 3], [2, 3, 4]):  # the second goes on from a checkpoint after step 1
        callback = EventCallback(RunFolder(tmp_path))
        for step in told:
            callback.on_step_begin(None, state(step), control())
            callback.on_log(None, state(step, 10 * step), control(), dict(LOGS))
            callback.on_evaluate(None, state(step), control(), {"eval_loss": 1.0 / step})
    events, _ = callback.log.read_from()
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2, 3, 4]
    assert [event.step for event in events if isinstance(event, EvalDone)] == [1, 2, 3, 4]


@pytest.mark.parametrize("wrong", [{"loss": float("nan")}, {"loss": float("inf")}, {"grad_norm": float("inf")}])
def test_what_is_no_number_ends_the_run_in_words(callback: EventCallback, wrong: dict[str, float]) -> None:
    callback.on_step_begin(None, state(3), control())
    with pytest.raises(RunError, match="no longer a number at step 3"):
        callback.on_log(None, state(3), control(), {**LOGS, **wrong})


def test_a_loss_that_explodes_ends_the_run_in_words(tmp_path: Path) -> None:
    def follow(losses: list[float], folder: Path) -> EventCallback:
        folder.mkdir(exist_ok=True)
        callback = EventCallback(RunFolder(folder))
        for step, loss in enumerate(losses, 1):
            callback.on_step_begin(None, state(step), control())
            callback.on_log(None, state(step), control(), {**LOGS, "loss": loss})
        return callback

    follow([2.0] * 8 + [1.0, 40.0] * 3 + [5.5] * 12, tmp_path / "a spike, and a loss three times as high")
    follow([0.01] * 8 + [3.0] * 20, tmp_path / "small beginnings")
    with pytest.raises(Diverged, match=r"it was 2\.00 in the first steps and is 9\.00 at step 20"):
        follow([2.0] * 15 + [9.0] * 8, tmp_path / "exploded")
    with pytest.raises(Diverged, match="at step 20"):  # one that goes on remembers how it began
        follow([2.0] * 15 + [9.0] * 8, tmp_path / "exploded")


def test_a_held_out_loss_that_is_no_number_ends_the_run_in_words(callback: EventCallback) -> None:
    with pytest.raises(RunError, match="held-out loss is no longer a number at step 4"):
        callback.on_evaluate(None, state(4), control(), {"eval_loss": float("nan"), "eval_perplexity": 1.0})


def test_the_base_model_is_step_zero(callback: EventCallback) -> None:
    metrics = {"eval_loss": 1.0, "eval_perplexity": 2.7, "base_loss": 3.0, "base_perplexity": 20.1}
    callback.on_evaluate(None, state(4), control(), metrics)
    events, _ = callback.log.read_from()
    assert [(e.step, e.metrics["eval_loss"]) for e in events if isinstance(e, EvalDone)] == [(0, 3.0), (4, 1.0)]
    assert isinstance(events[-1], Phase)
    assert events[-1].name == "Training"


def test_a_run_that_goes_on_is_as_far_as_it_was(callback: EventCallback) -> None:
    callback.on_train_begin(None, state(4), control())
    events, _ = callback.log.read_from()
    assert [(each.done, each.total) for each in events if isinstance(each, Phase)] == [(4, 9)]
