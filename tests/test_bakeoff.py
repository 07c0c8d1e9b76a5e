"""Bake-offs: nothing but the method differs, the table says what was measured, and the winner is the best of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio import bakeoff
from studio.bakeoff import Row
from studio.config import RunConfig
from studio.errors import ConfigError, DatasetError
from studio.events import Done, EvalDone, LabelsScored, ModelReady, Queued, Saved, Started, StepDone
from studio.jobs import Jobs
from studio.processes import Identity
from studio.store import Store, wait_for_end
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]


def row(method: str, **known: Any) -> Row:
    values: dict[str, Any] = dict.fromkeys(Row.__dataclass_fields__)
    values |= {
        "id": method.lower(),
        "method": method,
        "status": "done",
        "progress": 1.0,
        "score_name": "Accuracy",
        "score_kind": "share",
    }
    return Row(**{**values, **known})


def run(workspace: Workspace, comparison: str = "c", **config: Any) -> RunFolder:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny", "comparison": comparison, **config}).save(folder.config)
    folder.events.append(Queued())
    return folder


def step(number: int, seconds: float) -> StepDone:
    return StepDone(step=number, total_steps=4, seconds=seconds, tokens=10 * number, metrics={"loss": 2.0})


# -- what runs -------------------------------------------------------------------------------------------


def test_only_the_method_and_what_suits_it_differ(tiny_config: Make) -> None:
    base = tiny_config(training={"learning_rate": None})
    first, second = (c.settled().to_dict() for c in bakeoff.configs(base, ["lora", "full", "lora"], "c"))
    assert (first.pop("method")["name"], second.pop("method")["name"]) == ("lora", "full")
    assert first["training"].pop("learning_rate") > second["training"].pop("learning_rate")
    assert first == second
    assert first["comparison"] == "c"


def test_a_learning_rate_that_is_set_is_everyones(tiny_config: Make) -> None:
    runs = bakeoff.configs(tiny_config(training={"learning_rate": 0.003}), ["lora", "full"])
    assert [config.settled().training.learning_rate for config in runs] == [0.003, 0.003]


def test_one_method_is_no_bake_off(workspace: Workspace, tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match="fewer than two"):
        bakeoff.checked(bakeoff.configs(tiny_config(), ["lora"]), workspace)


def test_a_method_that_does_not_fit_is_named_before_anything_is_queued(
    jobs: Jobs, tiny_config: Make, tmp_path: Path
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from studio.models.tiny import tiny_tokenizer

    narrow = LlamaConfig(
        vocab_size=259, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )  # narrower than LoRA's rank
    LlamaForCausalLM(narrow).save_pretrained(tmp_path / "narrow")
    tiny_tokenizer().save_pretrained(tmp_path / "narrow")
    with pytest.raises(ConfigError, match="LoRA: ") as refused:
        bakeoff.start(jobs, tiny_config(model=str(tmp_path / "narrow")), ["ia3", "lora"])
    assert "Leave out LoRA" in refused.value.remedy
    assert "IA" not in refused.value.problem
    assert jobs.store.states() == []


def test_what_is_wrong_for_every_method_is_said_once(jobs: Jobs, tiny_config: Make) -> None:
    with pytest.raises(DatasetError, match="nowhere") as refused:
        bakeoff.start(jobs, tiny_config(dataset={"source": "nowhere"}), ["ia3", "lora"])
    assert "LoRA" not in refused.value.problem
    assert jobs.store.states() == []


def test_a_bake_off_trains_each_method_on_the_same_rows_in_the_same_order(jobs: Jobs, tiny_config: Make) -> None:
    base = tiny_config(training={"max_steps": 3, "eval_steps": 1, "learning_rate": None})
    comparison = bakeoff.start(jobs, base, ["lora", "ia3"])
    states = [wait_for_end(jobs.store, each.id, 120) for each in bakeoff.members(jobs.store, comparison)]
    rows = bakeoff.table(jobs.store, states)
    assert [each.status for each in rows] == ["done", "done"], [state.problem for state in states]
    assert [each.method for each in rows] == ["LoRA", "(IA)³"]
    seen = [[point.tokens for point in jobs.store.points(state.id) if "loss" in point.metrics] for state in states]
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3
    lora, ia3 = rows
    assert lora.base_loss == pytest.approx(ia3.base_loss)
    assert lora.trainable
    assert ia3.trainable
    assert lora.trainable > ia3.trainable
    for each in rows:
        unknown = [name for name, value in vars(each).items() if value is None]
        assert unknown == []
        assert each.best_loss is not None
        assert each.loss is not None
        assert each.best_loss <= each.loss
    best, why = bakeoff.winner(rows)
    assert best in rows
    assert best.method in why
    assert bakeoff.remaining(states, rows) is None
    [(title, found)] = bakeoff.comparisons(jobs.store)
    assert found == comparison
    assert title.startswith("2 methods · tiny · rows.jsonl · ")
    assert bakeoff.expected(jobs.store, base, 2) in [pytest.approx(2 * state.seconds) for state in states]
    longer = {"objective": {"max_length": 256}}, {"training": {"per_device_train_batch_size": 8}}
    for other in (*longer, {"objective": {"name": "classify", "max_length": 128}}):
        changed = tiny_config(training={"max_steps": 3}).to_dict()
        for key, values in other.items():
            changed[key] = values if "name" in values else changed[key] | values
        assert bakeoff.expected(jobs.store, RunConfig.parse(changed), 2) is None


def test_stop_ends_all_of_it(workspace: Workspace, tiny_config: Make) -> None:
    jobs = Jobs(workspace, Store(workspace), keep_warm=False)  # not started: all wait
    comparison = bakeoff.start(jobs, tiny_config(), ["lora", "ia3"])
    other = jobs.submit(tiny_config())
    bakeoff.stop(jobs, comparison)
    assert [state.status for state in bakeoff.members(jobs.store, comparison)] == ["stopped", "stopped"]
    assert jobs.store.state(other).status == "queued"


# -- the table -------------------------------------------------------------------------------------------


def test_the_first_step_and_the_evaluations_do_not_count_for_the_time(workspace: Workspace) -> None:
    folder = run(workspace)
    for event in (
        step(1, 9.0), step(2, 10.0), EvalDone(step=0, metrics={"eval_loss": 3.0}),
        EvalDone(step=2, metrics={"eval_loss": 1.5}), step(3, 12.0), step(4, 13.0),
        EvalDone(step=4, metrics={"eval_loss": 1.8}),
    ):  # fmt: skip
        folder.events.append(event)
    store = Store(workspace)
    [found] = bakeoff.table(store, bakeoff.members(store, "c"))
    assert found.step_seconds == 1.0
    assert (found.base_loss, found.best_loss, found.loss) == (3.0, 1.5, 1.8)


def test_what_is_not_known_yet_is_none(workspace: Workspace) -> None:
    run(workspace)
    store = Store(workspace)
    states = bakeoff.members(store, "c")
    [found] = bakeoff.table(store, states)
    assert (found.status, found.progress, found.loss, found.size) == ("queued", 0.0, None, None)
    assert bakeoff.remaining(states, [found]) is None
    assert bakeoff.winner([found]) == (None, "")


def test_other_runs_are_not_members(workspace: Workspace) -> None:
    store = Store(workspace)
    for comparison in ("other", ""):
        run(workspace, comparison)
    mine = run(workspace, "mine")
    assert [state.id for state in bakeoff.members(store, "mine")] == [mine.id]
    assert bakeoff.members(store, "") == bakeoff.members(store, "nobody's") == []
    assert [key for _, key in bakeoff.comparisons(store)] == ["other", "mine"]


def test_what_was_saved_is_told(workspace: Workspace) -> None:
    first = run(workspace)
    ready = ModelReady(name="m", parameters=200, trainable_parameters=50, device="cpu", dtype="float32", reason="")
    for event in (ready, step(4, 4.0), Saved(step=4, size=2_000_000, peak_memory=1.5), Done()):
        first.events.append(event)
    store = Store(workspace)
    [done] = bakeoff.table(store, bakeoff.members(store, "c"))
    assert (done.trainable, done.share, done.size, done.memory) == (50, 25.0, 2.0, 1.5)


def test_time_left_is_that_of_the_steps_to_come(workspace: Workspace) -> None:
    first, second, third = run(workspace), run(workspace), run(workspace)
    store = Store(workspace)

    def left() -> float | None:
        states = bakeoff.members(store, "c")
        return bakeoff.remaining(states, bakeoff.table(store, states))

    for event in (step(1, 50.0), step(2, 51.0), step(3, 52.0), step(4, 53.0), Done()):
        first.events.append(event)
    assert left() == pytest.approx(8)  # two runs of 4 steps, a second each
    me = psutil.Process()
    second.events.append(Started(**asdict(Identity.of(me))))
    for event in (step(1, 3.0), step(2, 6.0)):
        second.events.append(event)
    assert left() == pytest.approx(2 * 3 + 4 * 2)  # its own pace; the third's is the median of both
    second.events.append(Done())
    third.events.append(Done())
    assert left() is None


def test_labels_are_judged_by_their_score(workspace: Workspace) -> None:
    folder = run(workspace)
    heads = [{"name": name, "metrics": {"accuracy": 0.9, "f1": f1}} for name, f1 in (("a", 0.4), ("b", 0.6))]
    folder.events.append(LabelsScored(heads=heads, examples=[]))
    store = Store(workspace)
    states = bakeoff.members(store, "c")
    assert bakeoff.by_score(states)
    assert bakeoff.task_score(states[0]) == ("Mean F1", 0.5, "share")
    one, other = row("One", loss=0.1, score=0.5), row("Other", loss=0.2, score=0.7)
    assert bakeoff.winner([one, other], scored=True)[0] == other
    assert bakeoff.winner([one, other])[0] == one


@pytest.mark.parametrize(
    ("heads", "told"),
    [
        ([{"mae": 1.0, "rmse": 2.0, "r2": -0.5}], ("R²", -0.5, "number")),
        ([{"accuracy": 0.9, "f1": 0.8}, {"mae": 1.0, "r2": 0.2}], ("Mean F1 and R²", 0.5, "number")),
        ([{"accuracy": 0.9, "f1": 0.8}], ("F1", 0.8, "share")),
        ([], ("", None, "")),
    ],
)
def test_every_head_counts_once(workspace: Workspace, heads: list[dict[str, float]], told: Any) -> None:
    run(workspace).events.append(LabelsScored(heads=[{"metrics": each} for each in heads], examples=[]))
    [state] = bakeoff.members(Store(workspace), "c")
    assert bakeoff.task_score(state) == (*told[:1], told[1] if told[1] is None else pytest.approx(told[1]), *told[2:])


# -- the winner ------------------------------------------------------------------------------------------


def test_the_lowest_loss_wins() -> None:
    best, why = bakeoff.winner([row("A", loss=1.5, size=9.0), row("B", loss=1.2, size=99.0)])
    assert best
    assert best.method == "B"
    assert why == "B has the lowest held-out loss, 1.200."


def test_of_equals_the_smallest_wins() -> None:
    best, why = bakeoff.winner([row("A", loss=1.2, size=99.0), row("B", loss=1.205, size=2.0), row("C", loss=1.3)])
    assert best
    assert best.method == "B"
    assert "B and A are within 1 %" in why
    assert "2 MB" in why


def test_a_run_that_did_not_reach_its_end_wins_nothing() -> None:
    rows = [row("A", loss=0.1, status="stopped"), row("B", loss=1.0), row("C", status="training", progress=0.5)]
    best, why = bakeoff.winner(rows)
    assert best
    assert best.method == "B"
    assert why.endswith("with 1 still to come.")


def test_the_table_as_csv_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    bakeoff.write_csv([row("=1+1", loss=0.5, problem="-boom"), row("B")], path)
    lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert (lines[0]["method"], lines[0]["problem"], lines[0]["loss"]) == ("'=1+1", "'-boom", "0.5")
    assert lines[1]["loss"] == ""
