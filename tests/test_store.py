"""A run's status is its last event plus a live process, and curves cost what is new."""

from __future__ import annotations

from dataclasses import asdict, replace

import psutil
import pytest

from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Done, EvalDone, Failed, Phase, Queued, Saved, Started, StepDone, Stopped
from studio.processes import Identity
from studio.store import FIRST_POINTS, VIEWS_KEPT, Store, thin
from studio.workspace import RunFolder, Workspace


@pytest.fixture
def folder(workspace: Workspace) -> RunFolder:
    run = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(run.config)
    return run


def step(number: int, total: int = 10) -> StepDone:
    return StepDone(
        step=number, total_steps=total, seconds=float(number), tokens=number, metrics={"loss": 1.0 / number}
    )


def alive() -> Started:
    return Started(**asdict(Identity.of(psutil.Process())))


def test_status_follows_the_last_event(workspace: Workspace, folder: RunFolder) -> None:
    store = Store(workspace)
    expected = []
    for event, status in [
        (Queued(), "queued"),
        (alive(), "preparing"),
        (Phase(name="Loading"), "preparing"),
        (Phase(name="Training", total=10), "training"),
        (step(1), "training"),
        (step(10), "finishing"),
        (Saved(step=10, size=1), "finishing"),
        (Done(), "done"),
    ]:
        folder.events.append(event)
        expected.append((status, store.state(folder.id).status))
    assert all(wanted == found for wanted, found in expected), expected


def test_a_dead_worker_is_not_in_progress_for_ever(workspace: Workspace, folder: RunFolder) -> None:
    store = Store(workspace)
    folder.events.append(Started(pid=2**22 + 1, born=1.0, boot=""))
    folder.events.append(step(3))
    state = store.state(folder.id)
    assert state.status == "failed"
    assert "ended without a word" in state.problem
    assert state.remedy


def test_a_pid_given_to_someone_else_does_not_count(workspace: Workspace, folder: RunFolder) -> None:
    me = Identity.of(psutil.Process())
    for other in (replace(me, born=me.born - 100), replace(me, boot="an earlier start of the machine")):
        folder.events.append(Started(**asdict(other)))
        assert Store(workspace).state(folder.id).status == "failed"
    folder.events.append(Started(**asdict(me)))
    assert Store(workspace).state(folder.id).active


def test_a_last_word_after_death_still_counts(workspace: Workspace, folder: RunFolder) -> None:
    store = Store(workspace)
    folder.events.append(Started(pid=2**22 + 1, born=1.0, boot=""))
    assert store.state(folder.id).status == "failed"
    folder.events.append(Stopped(step=1))
    assert store.state(folder.id).status == "stopped"


def test_failure_keeps_its_sentence(workspace: Workspace, folder: RunFolder) -> None:
    folder.events.append(alive())
    folder.events.append(Failed(problem="No rows.", remedy="Bring some."))
    state = Store(workspace).state(folder.id)
    assert (state.status, state.problem, state.remedy) == ("failed", "No rows.", "Bring some.")


def test_curves_give_only_what_is_new(workspace: Workspace, folder: RunFolder) -> None:
    store = Store(workspace)
    for number in (1, 2):
        folder.events.append(step(number))
    folder.events.append(EvalDone(step=0, metrics={"eval_loss": 3.0}))
    first = store.curves(folder.id)
    assert first["next"] == 3
    assert first["curves"]["loss"] == ([1, 2], [1.0, 0.5])
    assert first["curves"]["eval_loss"] == ([0], [3.0])
    assert store.curves(folder.id, first["next"]) == {"next": 3, "curves": {}}
    folder.events.append(step(3))
    assert store.curves(folder.id, 3)["curves"] == {"loss": ([3], [0.33333])}


def test_what_is_no_number_reaches_no_page(workspace: Workspace, folder: RunFolder) -> None:
    folder.events.append(
        StepDone(step=1, total_steps=2, seconds=1, tokens=1, metrics={"loss": float("nan"), "lr": 1.0})
    )
    folder.events.append(EvalDone(step=1, metrics={"eval_loss": float("inf")}))
    store = Store(workspace)
    assert store.curves(folder.id)["curves"] == {"lr": ([1], [1.0])}
    assert store.state(folder.id).last_eval is None


def test_a_page_that_is_ahead_of_a_shorter_log_starts_again(workspace: Workspace, folder: RunFolder) -> None:
    folder.events.append(step(1))
    assert Store(workspace).curves(folder.id, since=99)["curves"]["loss"] == ([1], [1.0])


def test_an_ended_run_is_remembered_without_its_curves_until_its_log_grows(workspace: Workspace) -> None:
    store = Store(workspace)
    runs = []
    for _ in range(VIEWS_KEPT + 5):
        run = workspace.new_run("lora")
        RunConfig.parse({"model": "tiny"}).save(run.config)
        run.events.append(step(1))
        run.events.append(Done())
        run.events.close()
        runs.append(run)
        assert store.state(run.id).status == "done"
    oldest = runs[0]
    assert oldest.id not in store._views
    assert store.state(oldest.id).status == "done"
    assert oldest.id not in store._views  # it was not read again
    oldest.events.append(Failed(problem="P.", remedy="R."))
    assert store.state(oldest.id).status == "failed"
    assert store.curves(oldest.id)["next"] == 1


def test_thinning_keeps_spikes_ends_and_order() -> None:
    xs = list(range(10_000))
    ys = [0.0] * 10_000
    ys[1234], ys[8000] = 9.0, -9.0
    kept_x, kept_y = thin(xs, ys, FIRST_POINTS)
    assert len(kept_x) <= FIRST_POINTS + 2
    assert {1234, 8000, 9999} <= set(kept_x)
    assert {9.0, -9.0} <= set(kept_y)
    assert kept_x == sorted(kept_x)


@pytest.mark.parametrize("name", ["", "..", "../runs", "a/b", "/etc", "no-such-run", "x" * 300, "a\x00b", "."])
def test_a_name_that_is_no_run_is_refused(workspace: Workspace, folder: RunFolder, name: str) -> None:
    with pytest.raises(RunError):
        Store(workspace).state(name)


def test_runs_that_were_deleted_meanwhile_are_left_out(workspace: Workspace, folder: RunFolder) -> None:
    other = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(other.config)
    store = Store(workspace)
    assert [state.id for state in store.there([folder.id, other.id])] == [folder.id, other.id]
    other.path.rename(workspace.root / "elsewhere")
    assert [state.id for state in store.there([folder.id, other.id, ".."])] == [folder.id]
    assert [state.id for state in store.states(also=[other.id])] == [folder.id]


@pytest.mark.parametrize("text", ["[]", "null", '{"method": null}', '{"dataset": 3}', "not json"])
def test_an_odd_config_spoils_no_list(workspace: Workspace, folder: RunFolder, text: str) -> None:
    folder.config.write_text(text)
    folder.events.append(Done())
    assert [state.status for state in Store(workspace).states()] == ["done"]


def test_one_that_goes_on_forgets_how_it_ended(workspace: Workspace, folder: RunFolder) -> None:
    store, me = Store(workspace), Identity.of(psutil.Process())
    for event in (
        Started(**asdict(me)),
        step(2),
        Saved(step=2, size=9),
        Stopped(step=2),
        Started(**asdict(me)),
        step(3),
    ):
        folder.events.append(event)
    state = store.state(folder.id)
    assert (state.status, state.saved, state.step) == ("training", None, 3)
