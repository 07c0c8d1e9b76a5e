"""The routes behind the table of runs: what is shown of thousands, in which order, and what can be done to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from studio import ledger
from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Done, EvalDone, Failed, Phase, Started, StepDone
from studio.jobs import Jobs
from studio.store import Store
from studio.workspace import RunFolder, Workspace
from tabs import _runs, runs


@pytest.fixture
def jobs(workspace: Workspace) -> Jobs:
    return Jobs(workspace, Store(workspace), keep_warm=False, devices=[])  # what is queued waits


@pytest.fixture
def client(jobs: Jobs) -> TestClient:
    app = FastAPI()
    app.include_router(_runs.router(jobs.store, jobs))
    return TestClient(app)


def run(workspace: Workspace, loss: float | None = None, method: str = "lora", end: Any = None) -> str:
    folder = workspace.new_run(method)
    RunConfig.parse({"model": "tiny", "method": method}).settled().save(folder.config)
    if loss is not None:
        metrics = {"loss": loss}
        folder.events.append(StepDone(step=1, total_steps=2, seconds=1.5, tokens=9, metrics=metrics))
        folder.events.append(EvalDone(step=2, metrics={"eval_loss": loss}))
    folder.events.append(end or Done())
    folder.events.close()
    return folder.id


def ask(client: TestClient, **asked: Any) -> dict[str, Any]:
    """The answer once all logs were read: that happens aside."""
    deadline = time.monotonic() + 20
    while True:
        answer = client.get("/studio/ledger", params=asked)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        if not told["unread"]:
            return told
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ids(told: dict[str, Any]) -> list[str]:
    return [row["id"] for row in told["rows"]]


def test_a_line_tells_what_a_run_cost_and_brought(client: TestClient, workspace: Workspace) -> None:
    run_id = run(workspace, 2.5)
    ledger.describe(workspace.run(run_id), tags=("good",), note="<b>hm</b>", star=True)
    [row] = ask(client, status="done")["rows"]
    assert row["title"].startswith("LoRA · tiny")
    known = {"status": "done", "step": 1, "loss": 2.5, "eval_loss": 2.5, "tokens": 9, "seconds": 1.5, "star": True}
    assert {key: row[key] for key in known} == known
    assert (row["tags"], row["note"], row["active"], row["resumable"]) == (["good"], "<b>hm</b>", False, False)
    assert row["size"] == sum(path.stat().st_size for path in workspace.run(run_id).path.iterdir())


def test_nothing_is_measured_before_the_first_step(client: TestClient, workspace: Workspace) -> None:
    run(workspace, None, end=Failed(problem="No room.", remedy="Less."))
    [row] = ask(client)["rows"]
    assert [row[key] for key in ("step", "loss", "eval_loss", "tokens", "seconds")] == [None] * 5
    assert (row["status"], row["problem"], row["resumable"]) == ("failed", "No room.", True)


def test_runs_are_found_by_words_status_tag_and_star(client: TestClient, workspace: Workspace) -> None:
    plain, tagged = run(workspace, 1.0), run(workspace, 2.0, method="full")
    failed = run(workspace, 3.0, end=Failed(problem="P.", remedy="R."))
    ledger.describe(workspace.run(tagged), tags=("Paper", "try"), note="learning rate too high", star=True)
    for asked, found in [
        ({"text": "FULL tiny"}, [tagged]),
        ({"text": "too high paper"}, [tagged]),
        ({"text": "customer"}, [failed, tagged, plain]),
        ({"text": plain}, [plain]),
        ({"text": "nobody"}, []),
        ({"status": "failed"}, [failed]),
        ({"status": "active"}, []),
        ({"tag": "Paper"}, [tagged]),
        ({"tag": "pap"}, []),
        ({"starred": True}, [tagged]),
        ({"starred": True, "status": "failed"}, []),
    ]:
        assert sorted(ids(ask(client, **asked))) == sorted(found), asked
    assert ask(client)["tags"] == ["Paper", "try"]


def test_any_column_sorts_and_what_is_not_known_stays_below(client: TestClient, workspace: Workspace) -> None:
    low, high, none = run(workspace, 1.0), run(workspace, 2.0, method="full"), run(workspace)
    ledger.describe(workspace.run(high), tags=("a",), note="b")
    assert ids(ask(client, sort="eval_loss", down=False)) == [low, high, none]
    assert ids(ask(client, sort="eval_loss", down=True)) == [high, low, none]
    for column in _runs.Asked.model_json_schema()["properties"]["sort"]["enum"]:
        ups, downs = (ids(ask(client, sort=column, down=way)) for way in (False, True))
        assert sorted(ups) == sorted(downs) == sorted([low, high, none]), column
    assert ids(ask(client, sort="note", down=True))[0] == high
    assert ids(ask(client, sort="tags", down=False))[0] == high
    assert client.get("/studio/ledger", params={"sort": "config"}).status_code == 422


def test_many_runs_come_page_by_page(client: TestClient, workspace: Workspace) -> None:
    every = sorted((run(workspace, 1.0) for _ in range(_runs.ON_A_PAGE + 3)), reverse=True)
    first, second, beyond = (ask(client, page=page) for page in (0, 1, 99))
    assert ids(first) + ids(second) == every
    assert (first["total"], second["first"], beyond["first"]) == (53, 50, 50)
    assert ids(beyond) == ids(second)
    assert ids(ask(client, down=False))[:3] == every[::-1][:3]
    assert len(ids(ask(client, page=1, text="lora"))) == 3


def test_a_first_page_needs_no_other_runs_log(client: TestClient, workspace: Workspace, jobs: Jobs) -> None:
    for _ in range(_runs.ON_A_PAGE + 5):
        run(workspace, 1.0)
    asked: list[str] = []
    state = jobs.store.state
    jobs.store.state = lambda run_id: (asked.append(run_id), state(run_id))[1]  # pyright: ignore[reportAttributeAccessIssue]
    told = client.get("/studio/ledger").json()
    assert set(asked) == set(ids(told))


def test_what_is_said_is_kept_or_refused(client: TestClient, workspace: Workspace) -> None:
    folder = workspace.run(run(workspace))

    def say(run_id: str = folder.id, **change: Any) -> str:
        return client.post("/studio/ledger/about", json={"run": run_id, **change}).json()["problem"]

    assert say(tags="a, b", note="n") == ""
    assert say(star=True) == ""
    assert ledger.about(folder) == ledger.About(star=True, tags=("a", "b"), note="n")
    assert "too long" in say(tags="x" * 50)
    assert "2,000 letters" in say(note="x" * 2001)
    assert say(tags="", note="") == ""
    assert ledger.about(folder) == ledger.About(star=True)
    for hostile in ("..", "../../etc", "nobody", ".going-x"):
        assert "no such run" in say(hostile, note="x")


def test_delete_undo_and_the_trash(client: TestClient, workspace: Workspace) -> None:
    kept, gone = run(workspace, 1.0), run(workspace, 2.0)
    size = ledger.taken(workspace.run(gone).path)

    def do(action: str, *runs: str) -> Any:
        return client.post(f"/studio/ledger/{action}", json={"runs": runs}).json()

    told = do("delete", gone, "nobody")
    assert (told["done"], "no such run" in told["problem"]) == ([gone], True)
    told = ask(client)
    assert (ids(told), told["all"], told["thrown"]) == ([kept], 1, 1)
    [row] = ask(client, trash=True, sort="deleted")["rows"]
    assert (row["id"], row["status"], row["eval_loss"]) == (gone, "done", 2.0)
    assert row["deleted"] > 0

    assert do("restore", gone) == {"done": [gone], "problem": ""}
    assert set(ids(ask(client))) == {kept, gone}

    do("delete", gone)
    weighed = do("weigh")
    assert weighed["runs"] == [gone]
    assert weighed["bytes"] >= size
    assert do("erase", gone)["done"] == [gone]
    assert do("erase", gone)["done"] == []
    assert client.post("/studio/ledger/weigh", json={"runs": [gone]}).status_code == 404
    assert ask(client, trash=True)["all"] == 0
    assert do("erase", kept)["done"] == []  # it is not in the trash
    assert workspace.run(kept)


def test_the_queue_stands_above_and_is_put_in_order(
    client: TestClient, jobs: Jobs, tiny_config: Callable[..., RunConfig]
) -> None:
    one, two = jobs.submit(tiny_config()), jobs.submit(tiny_config())
    told = ask(client)
    assert [each["id"] for each in told["queue"]] == [one, two]
    assert told["active"]
    assert client.post("/studio/ledger/move", json={"run": two, "before": one}).status_code == 200
    assert [each["id"] for each in ask(client)["queue"]] == [two, one]
    jobs.pause(one)
    assert "waits no more" in client.post("/studio/ledger/move", json={"run": one}).json()["problem"]
    assert "under way" in client.post("/studio/ledger/delete", json={"runs": [two]}).json()["problem"]


def test_a_run_that_stops_says_so(client: TestClient, workspace: Workspace) -> None:
    import psutil

    from studio.processes import Identity

    me = Identity.of(psutil.Process())
    run_id = run(workspace, 1.0, end=Started(pid=me.pid, born=me.born, boot=me.boot))
    folder = RunFolder(workspace.runs / run_id)
    folder.events.append(Phase(name="Training", total=2))
    folder.stop_flag.touch()
    [row] = ask(client, status="active")["rows"]
    assert (row["active"], row["stopping"], row["resumable"]) == (True, True, False)


def click(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def test_clicks_lead_to_curves_and_to_the_form(jobs: Jobs, workspace: Workspace) -> None:
    page: Any = SimpleNamespace(workspace=workspace, store=jobs.store, jobs=jobs)
    one, two = run(workspace, 1.0), run(workspace, 2.0, method="full")
    _, _, chosen, laid, _ = runs._act(page, click(action="curves", runs=[one]))
    assert (chosen, laid) == (one, [])
    _, _, chosen, laid, _ = runs._act(page, click(action="curves", runs=[two, one]))
    assert (chosen, laid) == (two, [two, one])
    wanted, source, *_ = runs._act(page, click(action="form", runs=[two]))
    assert (RunConfig.parse(wanted).method_name, source) == ("full", "customer_messages")
    with pytest.raises(RunError):
        runs._act(page, click(action="form", runs=["../x"]))
