"""The routes behind a bake-off's table and the overlay, and the clicks that lead from one tab to another."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from studio import preflight
from studio.config import RunConfig
from studio.data import changes, library
from studio.data.draft import Draft
from studio.data.templates import Mapping
from studio.errors import ConfigError, DatasetError, RunError
from studio.events import Done, EvalDone, Failed, Saved, StepDone
from studio.jobs import Jobs
from studio.store import Store
from studio.workspace import RunFolder, Workspace
from tabs import _versus, adapter, chat, compare, curves
from tabs._form import ConfigForm


@pytest.fixture
def jobs(workspace: Workspace) -> Jobs:
    return Jobs(workspace, Store(workspace), keep_warm=False)  # not started: what is queued waits


@pytest.fixture
def client(jobs: Jobs) -> TestClient:
    app = FastAPI()
    app.include_router(_versus.router(jobs.store, jobs))
    return TestClient(app)


@pytest.fixture
def page(jobs: Jobs) -> Any:
    return SimpleNamespace(workspace=jobs.workspace, store=jobs.store, jobs=jobs)


def run(workspace: Workspace, method: str, loss: float, comparison: str = "c") -> RunFolder:
    folder = workspace.new_run(method)
    RunConfig.parse({"model": "tiny", "method": method, "comparison": comparison}).settled().save(folder.config)
    for number in (1, 2):
        metrics = {"loss": loss / number, "learning_rate": 0.1}
        folder.events.append(StepDone(step=number, total_steps=2, seconds=number / 2, tokens=number, metrics=metrics))
    for event in (EvalDone(step=2, metrics={"eval_loss": loss}), Saved(step=2, size=9), Done()):
        folder.events.append(event)
    return folder


def test_the_table_tells_who_won_and_when_it_is_over(client: TestClient, workspace: Workspace) -> None:
    run(workspace, "lora", 2.0)
    best = run(workspace, "full", 1.0)
    told = client.get("/studio/comparisons/c").json()
    assert (told["winner"], told["active"], told["remaining"]) == (best.id, False, None)
    assert {row["method"]: row["loss"] for row in told["rows"]} == {"LoRA": 2.0, "Full fine-tuning": 1.0}
    assert all(column["help"] and column["key"] in told["rows"][0] for column in told["columns"])


@pytest.mark.parametrize("name", ["nobody", "..", "%2e%2e%2fetc", "x" * 300])
def test_no_other_bake_off_is_told(client: TestClient, workspace: Workspace, name: str) -> None:
    run(workspace, "lora", 2.0)
    assert client.get(f"/studio/comparisons/{name}").status_code == 404


def test_all_can_be_stopped(client: TestClient, jobs: Jobs) -> None:
    ids = [
        jobs.submit(RunConfig.parse({"model": "tiny", "method": name, "comparison": "c"})) for name in ("lora", "full")
    ]
    assert client.post("/studio/comparisons/c/stop").status_code == 200
    assert [jobs.store.state(each).status for each in ids] == ["stopped", "stopped"]
    assert jobs.queue() == []


def test_curves_of_runs_lie_over_one_another(client: TestClient, workspace: Workspace) -> None:
    one, other = run(workspace, "lora", 2.0), run(workspace, "full", 1.0)
    told = client.get("/studio/overlay", params={"run": [one.id, other.id], "metric": "loss"}).json()
    assert [each["name"] for each in told["runs"]] == ["LoRA", "Full fine-tuning"]
    assert told["runs"][0]["curve"] == {"y": [2.0, 1.0], "step": [1, 2], "seconds": [0.5, 1.0], "tokens": [1, 2]}
    assert told["metrics"] == ["loss", "learning_rate", "eval_loss"]
    assert ["method.name", ["lora", "full"]] in told["differences"]
    assert len(told["everything"]) > len(told["differences"])
    unknown = client.get("/studio/overlay", params={"run": [one.id, other.id], "metric": "nothing"}).json()
    assert unknown["metric"] == "eval_loss"


def test_a_long_curve_is_thinned_and_keeps_its_peak() -> None:
    from studio.store import Point

    points = [Point(at, {"loss": 99.0 if at == 777 else 1.0}, at / 10, at) for at in range(20_000)]
    found = _versus.curve(points, "loss")
    assert len(found["y"]) <= 2 * _versus.MOST_POINTS
    assert found["step"][found["y"].index(99.0)] == 777
    assert found["seconds"][-1] == 1999.9


def test_no_other_file_can_be_asked_for(client: TestClient, workspace: Workspace) -> None:
    known = run(workspace, "lora", 1.0).id
    assert client.get("/studio/overlay", params={"run": [known, "../../etc"]}).status_code == 404
    assert client.get("/studio/overlay", params={"run": [known] * 12}).status_code == 200
    assert client.get("/studio/overlay", params={"run": [known] * 13}).status_code == 422
    assert client.get("/studio/overlay").status_code == 422


def click(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def test_a_winner_goes_into_the_form_as_it_ran(page: Any, workspace: Workspace) -> None:
    folder = run(workspace, "full", 1.0)
    wanted, source, *_ = compare._act(page, click(action="use", run=folder.id))
    config = RunConfig.parse(wanted)
    assert (config.comparison, config.method_name, source) == ("", "full", "customer_messages")
    with gr.Blocks():
        form = ConfigForm(lambda _: "", lambda: None, gr.Textbox(render=False))
    values = form.values(config)
    assert len(values) == len(form.components())
    shown = [part.value if isinstance(value, dict) else value
             for part, value in zip(form.components(), values, strict=True)]  # fmt: skip
    assert form.config(config.model, source, shown) == config


def test_a_click_leads_to_one_runs_curves_or_to_all(page: Any, workspace: Workspace) -> None:
    one, other = run(workspace, "lora", 2.0), run(workspace, "full", 1.0)
    _, _, chosen, laid, _ = compare._act(page, click(action="curves", run=one.id))
    assert (chosen, laid) == (one.id, [])
    _, _, chosen, laid, _ = compare._act(page, click(action="overlay", runs=[one.id, other.id]))
    assert (chosen, laid) == (one.id, [one.id, other.id])
    with pytest.raises(RunError):
        compare._act(page, click(action="use", run="../x"))


def test_of_too_many_runs_the_winner_and_some_are_laid(
    page: Any, workspace: Workspace, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [run(workspace, "lora", 2.0 - number / 20).id for number in range(15)]
    _, _, chosen, laid, _ = compare._act(page, click(action="overlay", runs=ids))
    assert laid == [ids[-1], *ids[:11]]
    assert chosen == ids[-1]
    assert "12 of 15 are shown" in capsys.readouterr().out
    assert client.get("/studio/overlay", params={"run": laid}).status_code == 200


def test_it_is_said_that_a_new_run_would_read_other_rows(
    page: Any, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("prompt,completion,better\na,b,c\nd,e,f\n")
    name = library.add(workspace, tmp_path / "mine.csv", "mine.csv")
    folder = workspace.new_run("lora")
    asked = RunConfig.parse({"model": "tiny", "dataset": {"source": name}, "comparison": "c"})
    preflight.check(asked, workspace).save(folder.config)

    def said() -> str:
        compare._act(page, click(action="use", run=folder.id))
        return html.unescape(capsys.readouterr().out)

    assert said() == ""
    used = library.look(name, workspace).version
    library.set_mapping(workspace, name, Mapping("prompt_completion", {"prompt": "prompt", "completion": "better"}))
    assert "read the columns of 'mine' otherwise" in said()
    draft = Draft(library.own(workspace, name))
    draft.do(lambda table: changes.edit(table, 0, "better", "x"), "me")
    assert f"used version {used} of 'mine'; a new run uses the current one, {draft.save('me').key}." in said()
    library.remove(workspace, name)
    with pytest.raises(DatasetError, match="no data set"):
        said()


def test_settings_that_no_later_studio_reads_are_refused(page: Any, workspace: Workspace) -> None:
    folder = run(workspace, "lora", 1.0)
    folder.config.write_text(json.dumps({"method": {"name": "forgotten"}}))
    with pytest.raises(ConfigError, match="forgotten"):
        compare._act(page, click(action="use", run=folder.id))


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")  # it looks for the list as one choice
def test_runs_older_than_the_list_are_kept(jobs: Jobs, workspace: Workspace) -> None:
    """A bake-off may be followed by any number of runs."""
    folders = [run(workspace, "lora", 1.0) for _ in range(103)]
    *_, older, old = sorted((each.id for each in folders), reverse=True)
    with gr.Blocks() as blocks, gr.Tabs() as tabs:
        states = {name: gr.State() for name in ("run", "source", "wanted", "overlay")}
        page: Any = SimpleNamespace(workspace=workspace, store=jobs.store, weigher=None, tabs=tabs, **states)
        for module in (curves, adapter):
            with gr.Tab(module.TITLE) as tab:
                module.build(page, tab)
    handlers: dict[str, Any] = {f"{each.fn.__module__}.{each.name}": each.fn for each in blocks.fns.values() if each.fn}
    chooser, others, alone, laid, *_ = handlers["tabs.curves.refresh"](old, [old, older])
    assert (chooser.value, others.value, alone, laid) == (old, [older], "", [old, older])
    assert {old, older} <= {key for _, key in chooser.choices}
    assert handlers["tabs.adapter.refresh"](old)[0].value == old
    assert chat._refresh(page, old, None)[0].value == old
    shutil.rmtree(workspace.run(old).path)
    newest = max(each.id for each in folders)
    assert handlers["tabs.curves.refresh"](old, [])[0].value == newest
    assert handlers["tabs.adapter.refresh"](old)[0].value == newest
    assert chat._refresh(page, old, None)[0].value == newest


def test_the_table_can_be_taken_away(page: Any, workspace: Workspace) -> None:
    assert "nothing to write" in compare._csv(page, None)
    run(workspace, "lora", 2.0)
    assert "/studio/download/bake-off-" in compare._csv(page, "c")
    [path] = workspace.downloads.iterdir()
    assert "LoRA" in path.read_text(encoding="utf-8-sig")


def test_a_failed_run_says_why(client: TestClient, workspace: Workspace) -> None:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny", "comparison": "c"}).save(folder.config)
    folder.events.append(Failed(problem="<b>No memory.</b>", remedy="Less."))
    [row] = json.loads(client.get("/studio/comparisons/c").text)["rows"]
    assert (row["status"], row["problem"], row["progress"]) == ("failed", "<b>No memory.</b>", 1.0)
