"""The exercise: no step is done before what it asks for is on disk, and each is once it is."""

from __future__ import annotations

import json

import pytest

from studio.data import changes, checked, collection
from studio.data.checks import Finding, Hit, checks
from studio.data.draft import Draft
from studio.data.library import look
from studio.evaluate import EvaluationSettings, begin
from studio.evaluator import finish
from studio.events import Failed
from studio.guide import FIRST, Step, steps, subject
from studio.store import Store
from studio.workspace import Workspace
from tests.exercised import benchmark, bring, decide, measure, search, train

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft
USUAL = [key for key, cls in checks().items() if cls.default]


def step(workspace: Workspace, source: str, key: str) -> Step:
    return next(each for each in steps(Store(workspace), source) if each.key == key)


def test_an_empty_workspace_has_nothing_done_and_the_sample_to_begin_with(workspace: Workspace) -> None:
    store = Store(workspace)
    assert subject(store) == FIRST
    found = steps(store, FIRST)
    assert [each.key for each in found] == ["prepare", "tune", "evaluate", "prompt", "benchmark", "compare"]
    assert not any(each.done for each in found)
    assert all(each.applies and each.evidence.endswith(".") for each in found)


def test_the_exercise_is_about_the_data_of_the_newest_run_unless_another_is_wanted(workspace: Workspace) -> None:
    kept = bring(workspace)
    assert subject(Store(workspace)) == kept.name
    train(workspace, "reviews")
    assert subject(Store(workspace)) == "reviews"
    assert subject(Store(workspace), kept.name) == kept.name
    assert subject(Store(workspace), "nothing of that name") == "reviews"


def test_data_is_prepared_once_its_changes_are_a_version(workspace: Workspace) -> None:
    kept = bring(workspace)
    assert not step(workspace, kept.name, "prepare").done
    draft = Draft(kept)
    draft.do(lambda table: changes.delete(table, [3]), "me")
    waiting = step(workspace, kept.name, "prepare")
    assert not waiting.done
    assert "1 change that no version holds yet" in waiting.evidence
    version = draft.save("me")
    saved = step(workspace, kept.name, "prepare")
    assert saved.done
    assert version.key[:8] in saved.evidence
    assert "79 rows" in saved.evidence
    collection.set_current(kept, version.parent)  # back to the rows as they came
    assert not step(workspace, kept.name, "prepare").done


def test_data_is_prepared_where_the_checks_found_no_error_in_it(workspace: Workspace) -> None:
    path = look(FIRST, workspace).train.path
    fault = Finding("empty_answer", "Empty answer", "error", "", "", [Hit(4, "empty")])
    checked.keep(workspace, path, USUAL, [fault])
    found = step(workspace, FIRST, "prepare")
    assert not found.done
    assert "empty answer (1 row)" in found.evidence
    hint = Finding("whitespace", "White space", "hint", "", "", [Hit(1, "two spaces"), Hit(2, "two spaces")])
    checked.keep(workspace, path, USUAL, [hint])
    found = step(workspace, FIRST, "prepare")
    assert found.done
    assert "white space (2 rows)" in found.evidence


def test_a_run_counts_once_it_went_to_its_end_on_the_data_as_it_is_now(workspace: Workspace) -> None:
    kept = bring(workspace)
    other = train(workspace, "reviews")
    assert not step(workspace, kept.name, "tune").done
    run = train(workspace, kept.name, version=kept.current)
    found = step(workspace, kept.name, "tune")
    assert found.done
    assert found.run == run.id != other.id
    assert "fell from 3.00 to 2.00" in found.evidence
    draft = Draft(kept)
    draft.do(lambda table: changes.delete(table, [3]), "me")
    draft.save("me")
    found = step(workspace, kept.name, "tune")
    assert not found.done
    assert "another version" in found.evidence


def test_a_run_that_failed_is_none(workspace: Workspace) -> None:
    run = train(workspace, FIRST)
    run.events.append(Failed(problem="It failed.", remedy="Try again."))
    assert not step(workspace, FIRST, "tune").done


def test_an_evaluation_counts_once_all_rows_were_asked(workspace: Workspace) -> None:
    kept = bring(workspace)
    run = train(workspace, kept.name, version=kept.current)
    asked = {"rows": 2, "max_new_tokens": 2, "answers": False}
    before = begin(workspace, EvaluationSettings.parse({"candidates": [{"run": run.id, "tuned": False}], **asked}))
    finish(workspace, before)
    assert not step(workspace, kept.name, "evaluate").done  # nobody asked what it learnt
    evaluation = begin(workspace, EvaluationSettings.parse({"candidates": [{"run": run.id}], **asked}))
    assert not step(workspace, kept.name, "evaluate").done
    finish(workspace, evaluation)
    found = step(workspace, kept.name, "evaluate")
    assert found.done
    assert "asked 2 rows" in found.evidence
    assert not step(workspace, FIRST, "evaluate").done


def test_a_search_for_a_prompt_counts_with_its_verdict(workspace: Workspace) -> None:
    kept = bring(workspace)
    study = search(workspace, kept.name)
    assert not step(workspace, kept.name, "prompt").done
    decide(workspace, study)
    found = step(workspace, kept.name, "prompt")
    assert found.done
    assert study.verdict
    assert study.verdict.words in found.evidence
    assert not step(workspace, FIRST, "prompt").done


def test_a_benchmark_counts_once_it_measured_the_run(workspace: Workspace) -> None:
    kept = bring(workspace)
    run, other = train(workspace, kept.name, version=kept.current), train(workspace, "reviews")
    measure(benchmark(workspace, other.id))
    bench = benchmark(workspace, run.id)
    assert not step(workspace, kept.name, "benchmark").done
    measure(bench)
    found = step(workspace, kept.name, "benchmark")
    assert found.done
    assert bench.title in found.evidence


def test_two_runs_on_the_same_rows_are_a_comparison_where_they_differ(workspace: Workspace) -> None:
    train(workspace, FIRST)
    train(workspace, FIRST)
    train(workspace, FIRST, fingerprint="other rows", method={"r": 2})
    assert not step(workspace, FIRST, "compare").done
    train(workspace, FIRST, method={"r": 2})
    found = step(workspace, FIRST, "compare")
    assert found.done
    assert "differ in method.r" in found.evidence


def test_a_bake_off_is_one_once_two_of_its_runs_have_ended(workspace: Workspace) -> None:
    train(workspace, FIRST, comparison="20260101-000000-abcd", fingerprint="a")
    assert not step(workspace, FIRST, "compare").done
    train(workspace, FIRST, comparison="20260101-000000-abcd", fingerprint="b", method={"name": "lora_scratch"})
    found = step(workspace, FIRST, "compare")
    assert found.done
    assert "bake-off of 2 methods" in found.evidence
    assert "LoRA from scratch" in found.evidence


def test_what_a_model_of_labels_cannot_do_is_said_and_not_asked_for(workspace: Workspace) -> None:
    train(workspace, "reviews", objective={"name": "classify"})
    found = {each.key: each for each in steps(Store(workspace), "reviews")}
    assert not found["prompt"].applies
    assert not found["benchmark"].applies
    assert found["evaluate"].applies
    assert "names labels" in found["prompt"].evidence


def test_damaged_folders_and_a_data_set_that_is_gone_are_no_fault(workspace: Workspace) -> None:
    for root in (workspace.evaluations, workspace.studies, workspace.benchmarks):
        folder = root / "20260101-000000-broken-abcd"
        folder.mkdir(parents=True)
        (folder / "about.json").write_text(json.dumps({"settings": {"candidates": [{"run": "x"}]}}))
    assert not any(each.done for each in steps(Store(workspace), "gone-00000000"))
