"""What the Learn tab's buttons do, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from studio import bakeoff, edge_cases
from studio.config import RunConfig
from studio.data.library import samples
from studio.jobs import Jobs
from studio.preflight import check
from studio.store import Store
from studio.workspace import Workspace
from studio.writer import Writer
from tabs._learn import practice, scratch
from tabs._learn.exercise import begin
from tests.exercised import train

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft


@pytest.fixture
def page(workspace: Workspace) -> Iterator[Any]:
    """As much of one as these buttons use."""
    writer = Writer(workspace)
    yield SimpleNamespace(workspace=workspace, store=Store(workspace), writer=writer)
    writer.close()


@pytest.mark.parametrize("source", sorted(samples()))
def test_the_first_run_that_is_filled_in_can_be_trained_on_any_sample(page: Any, source: str) -> None:
    config = check(RunConfig.parse(begin(page, source)), page.workspace)
    assert config.dataset.source == source
    assert config.objective.writes == (samples()[source].mapping.format != "labelled")


def test_odd_prompts_are_answered_by_the_runs_model_and_shown(page: Any) -> None:
    run = train(page.workspace, "customer_messages")
    button, before = practice._look(page, run.id)
    assert button.visible
    assert not before["cases"]
    *_, (_, _, after) = practice._ask(page, run.id)
    assert len(after["cases"]) == len(edge_cases.cases(run))
    assert sum(case["answer"] is not None for case in after["cases"]) >= 8
    ticked = {item["key"] for item in after["items"] if item["ticked"]}
    assert "edge_cases" in ticked - {item["key"] for item in before["items"] if item["ticked"]}


def test_both_loras_are_queued_for_the_same_rows(page: Any, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.close()  # what is queued stays so
    page.jobs, page.store = jobs, jobs.store
    monkeypatch.setattr(scratch.gr, "Info", lambda *_, **__: None)  # speaks to a browser only
    scratch._train(page, "reviews")
    ((_, comparison),) = bakeoff.comparisons(page.store)
    first, second = bakeoff.members(page.store, comparison)
    assert [first.config["method"]["name"], second.config["method"]["name"]] == list(scratch.BOTH)
    assert first.config["dataset"] == second.config["dataset"]
