"""Good practice: a point is ticked where something on disk shows it, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio import edge_cases
from studio.checklist import Item, checklist, summary
from studio.config import RunConfig
from studio.data import checked
from studio.data.checks import Finding, Hit, checks
from studio.data.library import look
from studio.errors import RunError
from studio.evaluate import EvaluationSettings, begin
from studio.evaluator import finish
from studio.events import AnswersScored, ModelReady, Queued, StepDone
from studio.store import Store
from studio.workspace import RunFolder, Workspace
from tests.exercised import bring, decide, search, train

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft
USUAL = [key for key, cls in checks().items() if cls.default]
SAMPLE = "customer_messages"


def points(workspace: Workspace, run: RunFolder) -> dict[str, Item]:
    return {item.key: item for item in checklist(Store(workspace), run.id)}


def waiting(workspace: Workspace, **values: object) -> RunFolder:
    """A run that has not begun."""
    folder = workspace.new_run("waits")
    RunConfig.parse({"model": "tiny", **values}).save(folder.config)
    folder.events.append(Queued())
    return folder


def test_a_run_that_has_not_begun_shows_nothing(workspace: Workspace) -> None:
    found = points(workspace, waiting(workspace, training={"load_best_model_at_end": True}))
    assert not any(item.ticked for item in found.values())
    assert all(item.evidence.endswith(".") and item.why.endswith(".") for item in found.values())
    told = summary(list(found.values()))
    assert told.startswith(f"0 of {len(found)} points")
    with pytest.raises(RunError):
        checklist(Store(workspace), "nothing")


def test_a_plain_run_shows_what_it_did(workspace: Workspace) -> None:
    kept = bring(workspace)
    found = points(workspace, train(workspace, kept.name, version=kept.current))
    ticked = {key for key, item in found.items() if item.ticked}
    assert ticked == {"held_out", "whole_rows", "schedule", "clipping", "best_kept", "healthy", "reproducible"}
    assert "24 rows beside the 56" in found["held_out"].evidence
    assert "rose from 0.005 to 0.01 over 1 step, then fell to 0.005" in found["schedule"].evidence
    assert "norm of 1; 2 of 4 were longer" in found["clipping"].evidence
    assert summary(list(found.values())).startswith(f"7 of {len(found)} points")


def test_what_its_settings_left_out_is_not_ticked(workspace: Workspace) -> None:
    run = waiting(workspace, training={"max_grad_norm": 0.0, "lr_scheduler_type": "constant", "warmup_steps": 0.0})
    for at in range(1, 5):
        metrics = {"loss": 1.0, "grad_norm": 3.0, "learning_rate": 0.01}
        run.events.append(StepDone(step=at, total_steps=4, seconds=at, tokens=at, metrics=metrics))
    found = points(workspace, run)
    assert not found["clipping"].ticked
    assert not found["schedule"].ticked
    assert "was 0.01 at once, then stayed there" in found["schedule"].evidence


def test_data_counts_as_validated_once_every_usual_check_found_no_error(workspace: Workspace) -> None:
    run, path = train(workspace, SAMPLE), look(SAMPLE, workspace).train.path
    checked.keep(workspace, path, USUAL[1:], [])
    assert "1 usual check left out" in points(workspace, run)["validated"].evidence
    checked.keep(workspace, path, USUAL[:1], [Finding(USUAL[0], "Odd", "error", "", "", [Hit(0, "odd")])])
    found = points(workspace, run)["validated"]
    assert not found.ticked
    assert "odd (1 row)" in found.evidence
    checked.keep(workspace, path, USUAL[:1], [])  # mended elsewhere would be another file; examined anew it is fine
    assert points(workspace, run)["validated"].ticked


def test_leakage_is_excluded_by_comparing_with_the_held_out_rows_themselves(workspace: Workspace) -> None:
    run, data = train(workspace, SAMPLE), look(SAMPLE, workspace)
    assert data.validation
    checked.keep(workspace, data.train.path, USUAL, [])
    assert not points(workspace, run)["leakage"].ticked
    checked.keep(workspace, data.train.path, [], [], look("reviews", workspace).train.path)
    assert not points(workspace, run)["leakage"].ticked  # compared with others
    leak = Finding(checked.LEAKAGE, "Also held out", "error", "", "", [Hit(0, "like row 3")])
    checked.keep(workspace, data.train.path, [], [leak], data.validation.path)
    found = points(workspace, run)["leakage"]
    assert not found.ticked
    assert "1 row to learn from" in found.evidence
    checked.keep(workspace, data.train.path, [], [], data.validation.path)
    assert points(workspace, run)["leakage"].ticked


def test_without_held_out_rows_of_its_own_near_duplicates_are_what_leaks(workspace: Workspace) -> None:
    kept = bring(workspace)
    run = train(workspace, kept.name, version=kept.current)
    apart = train(workspace, kept.name, version=kept.current, dataset={"split": "clusters"})
    assert not points(workspace, run)["leakage"].ticked
    assert points(workspace, apart)["leakage"].ticked
    near = Finding("near_duplicate", "Near duplicate", "warning", "", "", [Hit(7, "like row 3")])
    checked.keep(workspace, kept.path(), ["near_duplicate"], [near])
    assert "may stand on both sides" in points(workspace, run)["leakage"].evidence
    checked.keep(workspace, kept.path(), ["near_duplicate"], [])
    assert points(workspace, run)["leakage"].ticked


def test_a_worse_last_evaluation_is_not_the_best_kept(workspace: Workspace) -> None:
    from studio.events import EvalDone

    run = train(workspace, SAMPLE)
    kept = train(workspace, SAMPLE, training={"load_best_model_at_end": True})
    for each in (run, kept):
        each.events.append(EvalDone(step=5, metrics={"eval_loss": 2.4}))
    assert not points(workspace, run)["best_kept"].ticked
    assert "loss of 2.000; what is saved has 2.400" in points(workspace, run)["best_kept"].evidence
    assert points(workspace, kept)["best_kept"].ticked


@pytest.mark.parametrize(
    ("dtype", "reason", "ticked"),
    [
        ("bfloat16", "The GPU computes bfloat16 natively.", True),
        ("float32", "No GPU was found, and this CPU only emulates bfloat16, which is slower than float32.", False),
        ("float32", "Asked for. Matrix products are computed in bfloat16, which is quicker here.", True),
    ],
)
def test_precision_is_that_of_the_log(workspace: Workspace, dtype: str, reason: str, ticked: bool) -> None:
    run = waiting(workspace)
    told = {"name": "Tiny", "parameters": 10, "trainable_parameters": 1, "device": "cpu"}
    run.events.append(ModelReady(**told, dtype=dtype, reason=reason))  # pyright: ignore[reportArgumentType]
    assert points(workspace, run)["precision"].ticked == ticked


def test_other_runs_on_the_same_rows_show_another_way_and_another_seed(workspace: Workspace) -> None:
    run = train(workspace, SAMPLE)
    train(workspace, SAMPLE, fingerprint="others", seed=1, method={"r": 2})
    assert not {"another_way", "chance"} & {key for key, item in points(workspace, run).items() if item.ticked}
    train(workspace, SAMPLE, seed=1)
    found = points(workspace, run)
    assert (found["another_way"].ticked, found["chance"].ticked) == (False, True)
    train(workspace, SAMPLE, method={"r": 2})
    found = points(workspace, run)
    assert found["another_way"].ticked
    assert "method.r" in found["another_way"].evidence


def test_a_baseline_is_shown_by_the_runs_end_or_by_an_evaluation(workspace: Workspace) -> None:
    kept = bring(workspace)
    run, told = (train(workspace, kept.name, version=kept.current) for _ in range(2))
    told.events.append(AnswersScored(rows=4, base={"f1": 0.1}, tuned={"f1": 0.4}, examples=[]))
    assert points(workspace, told)["baseline"].ticked
    assert not points(workspace, run)["baseline"].ticked
    asked = {"rows": 2, "answers": False, "old": {"source": "old_tales"}}
    alone = begin(workspace, EvaluationSettings.parse({"candidates": [{"run": run.id}], **asked}))
    finish(workspace, alone)
    found = points(workspace, run)
    assert found["unseen"].ticked
    assert found["forgetting"].ticked
    assert not found["baseline"].ticked
    both = [{"run": run.id, "tuned": False}, {"run": run.id}]
    finish(workspace, begin(workspace, EvaluationSettings.parse({"candidates": both, "rows": 2, "answers": False})))
    assert points(workspace, run)["baseline"].ticked


def test_a_prompt_was_tried_once_a_search_has_its_verdict(workspace: Workspace) -> None:
    kept = bring(workspace)
    run = train(workspace, kept.name, version=kept.current)
    study = search(workspace, kept.name)
    assert not points(workspace, run)["prompt"].ticked
    decide(workspace, study)
    assert points(workspace, run)["prompt"].ticked


def test_what_makes_no_sense_for_labels_does_not_apply(workspace: Workspace) -> None:
    items = checklist(Store(workspace), train(workspace, "reviews", objective={"name": "classify"}).id)
    left_out = {item.key for item in items if not item.applies}
    assert left_out == {"prompt", "edge_cases"}
    assert f"of {len(items) - 2} points" in summary(items)


# -- odd prompts -------------------------------------------------------------------------------------------


def test_odd_prompts_are_made_of_the_runs_own_and_kept_for_the_adapter_that_answered(workspace: Workspace) -> None:
    run = train(workspace, SAMPLE)
    run.held_out.write_text('[{"role": "user", "content": "Where is my order 17?"}]\n', encoding="utf-8")
    asked = {case.key: case for case in edge_cases.cases(run)}
    assert not asked["empty"].prompt.strip()
    assert asked["short"].prompt == "17?"
    assert len(asked["long"].prompt) > 4000
    assert asked["shouted"].prompt == "WHERE IS MY ORDER 17?"
    assert sorted(asked["misspelt"].prompt) == sorted("Where is my order 17?") != list(asked["misspelt"].prompt)
    assert asked["misspelt"].prompt != "Where is my order 17?"
    assert edge_cases.tried(workspace, run.id) == []
    assert not points(workspace, run)["edge_cases"].ticked
    edge_cases.keep(run, [replace(case, answer="no") for case in asked.values()])
    assert [case.answer for case in edge_cases.tried(workspace, run.id)] == ["no"] * len(asked)
    assert points(workspace, run)["edge_cases"].ticked
    weights = run.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")  # trained on: what another one answered says nothing of it
    assert edge_cases.tried(workspace, run.id) == []
    assert not points(workspace, run)["edge_cases"].ticked
