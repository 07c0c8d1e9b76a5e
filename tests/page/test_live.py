"""What the live panel is sent: the charts that a run's metrics ask for, and what came of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.events import (
    AnswersScored,
    DataReady,
    Done,
    EvalDone,
    Event,
    LabelsScored,
    Sampled,
    Saved,
    StepDone,
    VocabularyExtended,
)
from studio.jobs import Jobs
from studio.store import State, Store
from studio.workspace import Workspace
from tabs._charts import COLOURS, charts
from tabs._live import SAMPLES_AT_ONCE, along, payload

ASSETS = Path(__file__).resolve().parents[2] / "assets"


def told(workspace: Workspace, *events: Event, objective: str = "next_token") -> dict[str, Any]:
    """The payload for an ended run with these events."""
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny", "objective": objective}).save(folder.config)
    for event in (*events, Saved(step=2, size=480_000, peak_memory=1.25), Done()):
        folder.events.append(event)
    folder.events.close()
    store = Store(workspace)
    return payload(store, Jobs(workspace, store, keep_warm=False), folder.id, 0)


def step(**metrics: float) -> StepDone:
    return StepDone(step=1, total_steps=2, seconds=1.0, tokens=1, metrics={"loss": 1.0, **metrics})


def scored(at: int, **metrics: float) -> EvalDone:
    return EvalDone(step=at, metrics=metrics)


def lines(found: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    return {chart["key"]: [(line["metric"], line["name"]) for line in chart["lines"]] for chart in found}


def head(**changes: Any) -> dict[str, Any]:
    per_label = [
        {"label": "good", "precision": 0.9, "recall": 0.9, "f1": 0.9, "rows": 27},
        {"label": "bad", "precision": 0.9, "recall": 0.9, "f1": 0.9, "rows": 21},
    ]
    return {
        "name": "mood", "kind": "classes", "labels": ["good", "bad"], "rows": 48,
        "metrics": {"accuracy": 0.91, "f1": 0.9}, "baseline": {"accuracy": 0.55, "f1": 0.3},
        "confusion": [[25, 2], [2, 19]], "per_label": per_label, **changes,
    }  # fmt: skip


EXAMPLE = {"text": "x", "head": "mood", "right": "good", "predicted": "bad", "probability": 0.6}
ALWAYS = ["loss", "lr", "grad", "speed", "memory"]


def test_a_run_that_has_just_begun_has_its_loss_chart() -> None:
    found = lines(charts([]))
    assert list(found) == ALWAYS
    assert [metric for metric, _ in found["loss"]] == ["loss", "loss", "eval_loss"]


def test_charts_come_with_their_metrics() -> None:
    found = lines(charts(["loss", "eval_loss", "eval_old_loss", "ewc", "average_rank", "eval_perplexity"]))
    assert found["forgetting"] == [("eval_old_loss", "old data"), ("eval_loss", "new data")]
    assert found["rank"] == [("average_rank", "average rank")]
    assert set(found) - set(ALWAYS) == {"forgetting", "rank", "parts"}


def test_each_task_has_a_line_and_a_colour() -> None:
    found = charts(["loss", "loss_topic", "loss_a.b", "eval_loss_topic", "eval_f1_topic", "eval_f1_a.b"])
    assert lines(found)["task-loss"] == [("loss_topic", "topic"), ("loss_a.b", "a.b")]
    assert lines(found)["task-eval-loss"] == [("eval_loss_topic", "topic")]
    colours = {chart["key"]: [line["colour"] for line in chart["lines"]] for chart in found}
    assert colours["task-f1"] == list(COLOURS[:2])


def test_a_metric_that_no_chart_is_made_for_has_its_own() -> None:
    drawn = lines(charts(["eval_surprise", "load_balance"]))
    assert drawn["other-eval_surprise"] == [("eval_surprise", "held-out surprise")]
    assert drawn["other-load_balance"] == [("load_balance", "load balance")]


@pytest.mark.parametrize("column", ["{b}", "{}", "{0.x}", "two\nlines", "100 % {"])
def test_a_column_may_have_any_name(column: str) -> None:
    found = charts([f"eval_loss_{column}", f"eval_r2_{column}", f"eval_rmse_{column}", f"{column}_other"])
    names = {chart["key"]: [line["name"] for line in chart["lines"]] for chart in found}
    assert (names["task-eval-loss"], names["task-r2"]) == ([column], [column])
    assert not any("rmse" in key for key in names)
    assert names[f"other-{column}_other"] == [f"{column} other"]


def test_colours_of_the_charts_are_in_the_style_sheet() -> None:
    css = (ASSETS / "studio.css").read_text(encoding="utf-8")
    assert all(f"{colour}:" in css for colour in COLOURS)


def test_curves_that_come_late_are_charted(workspace: Workspace) -> None:
    found = told(workspace, step(), scored(0, eval_loss=2.0, eval_old_loss=1.0), step(ewc=0.1))
    assert {"forgetting", "parts"} <= set(lines(found["charts"]))
    assert set(found["curves"]) == {"loss", "eval_loss", "eval_old_loss", "ewc"}


def test_the_facts_say_what_was_saved_and_what_it_took(workspace: Workspace) -> None:
    assert told(workspace, step())["facts"] == "0.48 MB saved · 1.25 GB of memory at most"


def test_labels_are_told_beside_the_constant_answer(workspace: Workspace) -> None:
    found = told(workspace, LabelsScored(heads=[head()], examples=[EXAMPLE]))["result"]
    (only,) = found["heads"]
    assert only["sentence"] == "Right in 91 % of 48 held-out rows; always saying 'good' would be right in 55 %."
    assert only["bars"][0]["values"] == [["constant", 0.55], ["tuned", 0.91]]
    assert only["confusion"] == [[25, 2], [2, 19]]
    assert only["name"] == ""  # there is no other head to tell it from
    assert found["examples"] == [EXAMPLE]


def test_numbers_are_told_by_how_far_off_they_are(workspace: Workspace) -> None:
    number = head(
        name="stars", kind="number", labels=[], confusion=[], per_label=[],
        metrics={"mae": 0.41, "rmse": 0.6}, baseline={"mae": 1.1, "rmse": 1.3},
    )  # fmt: skip
    heads = told(workspace, LabelsScored(heads=[head(), number], examples=[]))["result"]["heads"]
    assert [each["name"] for each in heads] == ["mood", "stars"]
    assert heads[1]["sentence"] == (
        "Off by 0.41 on average in 48 held-out rows; always saying the mean would be off by 1.1."
    )


def test_forgetting_is_told_beside_learning(workspace: Workspace) -> None:
    first, last = scored(0, eval_loss=2.0, eval_old_loss=1.0), scored(2, eval_loss=0.9, eval_old_loss=1.3)
    new, old = told(workspace, first, last)["result"]["headlines"]
    assert (new["before"], new["after"]) == (2.0, 0.9)
    assert "far better" in new["verdict"]
    assert "much was forgotten" in old["verdict"]


def test_a_base_that_was_never_scored_is_not_compared(workspace: Workspace) -> None:
    assert told(workspace, scored(2, eval_loss=0.9), scored(4, eval_loss=0.8))["result"] is None


def test_answers_left_out_are_counted(workspace: Workspace) -> None:
    example = {"prompt": "p", "reference": "r", "base": "b", "tuned": "r"}
    answers = AnswersScored(
        rows=1, base={"exact_match": 0.0}, tuned={"exact_match": 1.0}, examples=[example], left_out=2
    )
    assert "left out: 2" in told(workspace, answers)["result"]["answers"]["sentence"]


def test_a_long_vocabulary_is_not_sent_whole(workspace: Workspace) -> None:
    terms = [{"term": f"term{i}", "count": 20, "pieces": 4} for i in range(5000)]
    found = told(workspace, VocabularyExtended(terms=terms, tokens_before=1000, tokens_after=880))["vocabulary"]
    assert found["sentence"] == "Added 5000 terms; the training texts take 12 % fewer tokens."
    assert len(found["terms"]) == 200


def test_a_random_head_is_no_base_to_be_better_than(workspace: Workspace) -> None:
    found = told(workspace, scored(0, eval_loss=2.0), scored(2, eval_loss=0.5), objective="classify")
    assert found["writes"] is False
    assert found["result"]["headlines"][0]["verdict"] == "on rows it never trained on."


def sampled(at: int) -> Sampled:
    asked = [{"prompt": f"Be brief.\nAsk {i}", "reference": "r", "answer": f"{at}-{i}"} for i in range(2)]
    return Sampled(step=at, answers=asked)


def test_answers_along_a_run_are_sent_once_and_their_prompts_with_the_first() -> None:
    state = State(id="r", config={}, samples=[sampled(at) for at in range(SAMPLES_AT_ONCE + 5)])
    first = along(state, 0)
    assert first["prompts"] == [{"prompt": f"Ask {i}", "reference": "r"} for i in range(2)]
    assert [each["step"] for each in first["new"]] == list(range(SAMPLES_AT_ONCE))
    rest = along(state, len(first["new"]))
    assert "prompts" not in rest
    assert rest["new"][-1] == {"step": SAMPLES_AT_ONCE + 4, "answers": [f"{SAMPLES_AT_ONCE + 4}-{i}" for i in range(2)]}
    assert along(state, rest["total"])["new"] == []


def test_what_the_curves_say_comes_with_what_a_copy_would_change(workspace: Workspace) -> None:
    data = DataReady(
        train_rows=100, validation_rows=9, truncated_rows=50, skipped_rows=0, tokens=1, trained_tokens=1, fingerprint=""
    )
    (advice,) = told(workspace, data, step())["advice"]
    assert advice["key"] == "cut off"
    assert advice["change"] == [("objective.max_length", ["512", "1024"])]
    assert told(workspace, step())["advice"] == []
