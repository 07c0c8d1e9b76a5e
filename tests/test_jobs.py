"""Runs in real worker processes, from the queue to the adapter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio import launch
from studio.config import RunConfig
from studio.data.splits import split_indices
from studio.errors import ConfigError, DatasetError, ModelError, RunError
from studio.events import AnswersScored, DataReady, EvalDone, ModelReady, Phase, StepDone
from studio.jobs import Jobs, create_run
from studio.launch import WorkerProcess, worker_environment
from studio.store import Store, wait_for_end
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def many_steps(make: Make) -> RunConfig:
    return make(training={"max_steps": 5000, "num_train_epochs": 1000, "eval_steps": 5000})


def test_a_run_trains_saves_and_tells(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    run_id = jobs.submit(tiny_config(training={"max_steps": 12, "eval_steps": 6}))
    state = wait_for_end(jobs.store, run_id, 120)
    folder = workspace.run(run_id)
    assert state.status == "done", folder.log.read_text()
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    events, _ = folder.events.read_from()
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(1, 13))
    assert steps[-1].metrics["loss"] < steps[0].metrics["loss"]
    assert {"loss", "grad_norm", "learning_rate", "tokens_per_second", "memory"} <= steps[0].metrics.keys()
    assert [event.step for event in events if isinstance(event, EvalDone)] == [0, 6, 12]
    data = next(event for event in events if isinstance(event, DataReady))
    assert (data.train_rows, data.validation_rows) == (32, 8)
    model = next(event for event in events if isinstance(event, ModelReady))
    assert 0 < model.trainable_parameters < model.parameters
    answers = next(event for event in events if isinstance(event, AnswersScored))
    assert answers.rows == 2
    assert [event.name for event in events if isinstance(event, Phase)][:1] == ["Preparing data"]


def test_the_config_of_a_run_says_what_it_used(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    run_id = jobs.submit(tiny_config())
    wait_for_end(jobs.store, run_id, 120)
    config = RunConfig.parse(json.loads(workspace.run(run_id).config.read_text()))
    assert config.dataset.format == "prompt_completion"
    assert config.dataset.columns == {"prompt": "prompt", "completion": "completion"}
    assert Path(config.dataset.source).is_absolute()


def test_held_out_rows_are_never_trained_on(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    run_id = jobs.submit(tiny_config())
    wait_for_end(jobs.store, run_id, 120)
    held_out = [json.loads(line) for line in workspace.run(run_id).held_out.read_text().splitlines()]
    assert len(held_out) == 8
    assert all(turns[-1]["role"] == "assistant" for turns in held_out)


def test_stop_ends_between_steps_and_saves(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    run_id = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(run_id).step > 3)
    jobs.stop(run_id)
    state = wait_for_end(jobs.store, run_id, 30)
    assert state.status == "stopped"
    assert 3 < state.step < 5000
    assert (workspace.run(run_id).adapter / "adapter_model.safetensors").is_file()
    wait_until(lambda: state.process() is None, 10)


def test_a_stop_while_it_waits_ends_it_at_once(jobs: Jobs, tiny_config: Make) -> None:
    first = jobs.submit(many_steps(tiny_config))
    second = jobs.submit(tiny_config())
    wait_until(lambda: jobs.store.state(first).status == "training")
    assert jobs.store.state(second).status == "queued"
    jobs.stop(second)
    assert jobs.store.state(second).status == "stopped"
    jobs.stop(first)
    wait_for_end(jobs.store, first, 30)


def test_the_queue_runs_one_after_the_other(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    ids = [jobs.submit(tiny_config()) for _ in range(2)]
    ends = [wait_for_end(jobs.store, run_id, 120).ended for run_id in ids]
    started = [
        next(e.time for e in workspace.run(i).events.read_from()[0] if type(e).__name__ == "Started") for i in ids
    ]
    assert ends[0] <= started[1]


@pytest.mark.filterwarnings("ignore:.*Popen.__del__:pytest.PytestUnraisableExceptionWarning")  # it is left to live
def test_a_run_outlives_its_server_and_the_next_one_finds_it(workspace: Workspace, tiny_config: Make) -> None:
    first = Jobs(workspace, Store(workspace), keep_warm=False)
    first.start()
    run_id = first.submit(many_steps(tiny_config))
    waiting = first.submit(tiny_config())
    wait_until(lambda: first.store.state(run_id).step > 1)
    first.close()
    before = Store(workspace).state(run_id).step
    wait_until(lambda: Store(workspace).state(run_id).step > before)
    second = Jobs(workspace, Store(workspace), keep_warm=False)
    second.start()
    assert second.store.state(run_id).status == "training"
    assert second.queue() == [waiting]
    second.stop(run_id)
    assert wait_for_end(second.store, run_id, 30).status == "stopped"
    assert wait_for_end(second.store, waiting, 120).status == "done"
    second.close()


def test_a_killed_worker_is_reported_and_the_queue_goes_on(jobs: Jobs, tiny_config: Make) -> None:
    run_id = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(run_id).step > 1)
    process = jobs.store.state(run_id).process()
    assert process is not None
    process.kill()
    state = wait_for_end(jobs.store, run_id, 10)
    assert state.status == "failed"
    assert "ended without a word" in state.problem
    assert wait_for_end(jobs.store, jobs.submit(tiny_config()), 120).status == "done"


def test_kill_ends_a_run_that_does_not_answer(jobs: Jobs, tiny_config: Make) -> None:
    run_id = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(run_id).step > 1)
    jobs.kill(run_id)
    state = jobs.store.state(run_id)
    assert (state.status, state.process()) == ("stopped", None)


def test_a_second_worker_for_the_same_run_leaves_it_alone(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    run_id = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(run_id).step > 1)
    worker = jobs.store.state(run_id).worker
    folder = workspace.run(run_id)
    second = subprocess.run([sys.executable, "-m", "studio.worker", str(folder.path)], timeout=60, check=False)
    assert second.returncode == 0
    assert jobs.store.state(run_id).worker == worker
    jobs.stop(run_id)
    wait_for_end(jobs.store, run_id, 30)
    assert sum(type(event).__name__ == "Started" for event in folder.events.read_from()[0]) == 1


def test_two_studios_do_not_share_a_workspace(jobs: Jobs, workspace: Workspace) -> None:
    with pytest.raises(RunError, match="Another studio"):
        Jobs(workspace, Store(workspace), keep_warm=False).start()


def test_a_warm_worker_takes_a_run_and_leaves_when_nobody_is_left(
    workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = WorkerProcess(workspace, "0")
    monkeypatch.setattr("studio.launch.memory_kills", lambda: 7)  # others were killed while it waited
    folder = create_run(workspace, tiny_config())
    assert worker.take(folder)
    assert worker.kills == 7
    assert wait_for_started(workspace, folder)
    assert wait_for_end(Store(workspace), folder.id, 120).status == "done"
    worker.process.wait(timeout=10)
    idle = WorkerProcess(workspace, "0")
    assert idle.process.stdin is not None
    idle.process.stdin.close()  # as the kernel does when the server dies
    assert idle.process.wait(timeout=30) == 0


def wait_for_started(workspace: Workspace, folder: RunFolder) -> bool:
    wait_until(lambda: bool(folder.events.read_from()[0]))
    return True


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"dataset": {"source": "no-such-file.csv"}}, DatasetError, "no-such-file.csv"),
        (
            {"dataset": {"format": "instruction", "columns": {"instruction": "nope", "output": "completion"}}},
            DatasetError,
            "nope",
        ),
        ({"model": "not a model/at all"}, ModelError, "not a model/at all"),
        ({"model": "./no-such-folder"}, ModelError, "no-such-folder"),
        ({"model": "~nosuchuser/x"}, ModelError, "nosuchuser"),
        ({"model": "x" * 400}, ModelError, "xxx"),
        ({"dataset": {"source": "~nosuchuser/x.csv"}}, DatasetError, "nosuchuser"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_made(
    jobs: Jobs, workspace: Workspace, tiny_config: Make, changes: dict[str, object], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        jobs.submit(tiny_config(**changes))
    assert list(workspace.runs.iterdir()) == []


def test_one_row_cannot_be_split(jobs: Jobs, tmp_path: Path, tiny_config: Make) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}')
    with pytest.raises(ConfigError, match="only one row"):
        jobs.submit(tiny_config(dataset={"source": str(path)}))


def test_a_fault_in_the_worker_is_a_sentence(jobs: Jobs, tiny_config: Make) -> None:
    """Only tokens show that every row is longer than the cut-off; it must end the run in words."""
    state = wait_for_end(jobs.store, jobs.submit(tiny_config(objective={"max_length": 8})), 120)
    assert state.status == "failed"
    assert "longer than the cut-off" in state.problem
    assert "Cut-off length" in state.remedy


def test_a_deleted_run_does_not_hold_the_queue(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    first = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(first).step > 1)
    process = jobs.store.state(first).process()
    shutil.rmtree(workspace.run(first).path)
    assert process is not None
    process.kill()
    assert wait_for_end(jobs.store, jobs.submit(tiny_config()), 120).status == "done"


def test_a_comparison_that_fails_does_not_fail_the_run(jobs: Jobs, workspace: Workspace, tiny_config: Make) -> None:
    """Answers longer than the model's window: trained and saved all the same, and the page says why."""
    run_id = jobs.submit(tiny_config(training={"max_new_tokens": 4000}))
    state = wait_for_end(jobs.store, run_id, 120)
    assert state.status == "done"
    assert state.saved
    assert any("were not compared" in note for note in state.notes)


def test_held_out_rows_that_teach_nothing_do_not_stop_training(jobs: Jobs, tmp_path: Path, tiny_config: Make) -> None:
    path = tmp_path / "long.jsonl"
    rows = [{"prompt": "a" * 10, "completion": f"b{i}"} for i in range(9)]
    held = {"prompt": "a" * 4000, "completion": "c"}
    # A seed that holds out just the long row.
    whole = [*rows, held]
    drawn = (split_indices(whole, how="random", shares=(0.1, 0), seed=seed)[1] for seed in range(50))
    seed = next(seed for seed, indices in enumerate(drawn) if [whole[i] for i in indices] == [held])
    path.write_text("\n".join(map(json.dumps, [*rows, held])), encoding="utf-8")
    config = tiny_config(dataset={"source": str(path), "validation_share": 0.1}, seed=seed)
    state = wait_for_end(jobs.store, jobs.submit(config), 120)
    assert state.status == "done", state.problem
    assert state.data is not None
    assert state.data.validation_rows == 0


def test_without_held_out_rows_it_trains_all_the_same(jobs: Jobs, tiny_config: Make) -> None:
    state = wait_for_end(jobs.store, jobs.submit(tiny_config(dataset={"validation_share": 0})), 120)
    assert state.status == "done", state.problem
    assert state.data is not None
    assert (state.data.train_rows, state.data.validation_rows) == (40, 0)
    assert state.answers is None


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    """A local folder as base models come: weights, a tokenizer, and no chat template."""
    from studio.models.tiny import tiny_model, tiny_tokenizer

    folder = tmp_path / "base"
    tiny_model().save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_without_a_chat_template_is_a_sentence_and_a_way_out(
    jobs: Jobs, tiny_config: Make, base_model: Path
) -> None:
    without = wait_for_end(jobs.store, jobs.submit(tiny_config(model=str(base_model))), 120)
    assert without.status == "failed"
    assert "no chat template" in without.problem
    assert "'Chat template'" in without.remedy
    given = tiny_config(model=str(base_model), objective={"chat_template": "plain"})
    assert wait_for_end(jobs.store, jobs.submit(given), 120).status == "done"


def test_a_worker_keeps_its_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With huge pages, and with Google's allocator in front of whatever else is preloaded."""
    monkeypatch.setattr("studio.launch.find_library", lambda name: "libtcmalloc_minimal.so.4")
    monkeypatch.setattr("studio.launch.sys.platform", "linux")
    monkeypatch.setenv("LD_PRELOAD", "libother.so")
    launch._preloads.cache_clear()
    environment = worker_environment()
    launch._preloads.cache_clear()
    assert environment["LD_PRELOAD"] == "libother.so:libtcmalloc_minimal.so.4"
    assert environment["THP_MEM_ALLOC_ENABLE"] == "1"
    assert environment["GOMP_SPINCOUNT"] == "2000"


def test_a_worker_is_not_told_otherwise_than_the_person_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    environment = worker_environment()
    assert environment["THP_MEM_ALLOC_ENABLE"] == "0"
    assert "GOMP_SPINCOUNT" not in environment


@pytest.mark.parametrize(
    ("seen", "told"), [(None, "0"), ("1", "1"), ("2,0", "2"), ("GPU-8a,GPU-9b", "GPU-8a"), ("", "")]
)
def test_a_worker_sees_one_gpu(seen: str | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several, transformers would divide each batch among all."""
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert worker_environment()["CUDA_VISIBLE_DEVICES"] == told


def test_a_run_rests_and_goes_on_once_however_often_it_is_asked(
    jobs: Jobs, workspace: Workspace, tiny_config: Make
) -> None:
    run_id = jobs.submit(many_steps(tiny_config))
    wait_until(lambda: jobs.store.state(run_id).step > 1)
    jobs.pause(run_id)
    assert jobs.store.state(run_id).status in ("pausing", "paused")
    rested = wait_for_end(jobs.store, run_id, 30)
    assert rested.status == "paused"
    wait_until(lambda: rested.process() is None, 10)
    reached = rested.step
    threads = [threading.Thread(target=jobs.resume, args=[run_id]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: jobs.store.state(run_id).step > reached)
    jobs.resume(run_id)  # it trains: nothing to do
    jobs.stop(run_id)
    wait_for_end(jobs.store, run_id, 30)
    kinds = [type(event).__name__ for event in workspace.run(run_id).events.read_from()[0]]
    assert kinds.count("Started") == kinds.count("Queued") == 2


def test_one_that_waits_rests_at_once_and_one_that_is_done_stays_so(jobs: Jobs, tiny_config: Make) -> None:
    first = jobs.submit(tiny_config())
    second = jobs.submit(tiny_config())
    jobs.pause(second)
    assert jobs.store.state(second).status == "paused"
    assert wait_for_end(jobs.store, first, 120).status == "done"
    with pytest.raises(RunError, match="is done"):
        jobs.resume(first)
    jobs.resume(second)
    assert wait_for_end(jobs.store, second, 120).status == "done"


def test_as_many_runs_at_once_as_devices(workspace: Workspace, tiny_config: Make) -> None:
    several = Jobs(workspace, Store(workspace), keep_warm=False, devices=["0", "1"])
    several.start()
    ids = [several.submit(many_steps(tiny_config)) for _ in range(3)]
    try:
        wait_until(lambda: all(several.store.state(each).step for each in ids[:2]))
        assert several.store.state(ids[2]).status == "queued"
        assert {several.store.state(each).device for each in ids[:2]} == {"0", "1"}
        several.stop(ids[1])
        wait_until(lambda: several.store.state(ids[2]).step > 0)
        assert several.store.state(ids[2]).device == "1"
    finally:
        for each in ids:
            several.kill(each)
        several.close()


def test_a_run_that_the_system_killed_for_its_memory_goes_on_in_smaller_batches(
    jobs: Jobs, workspace: Workspace, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system counts such kills; ours is told apart from others by that count alone."""
    config = many_steps(tiny_config)
    config = config.model_copy(update={"training": config.training.model_copy(update={"save_steps": 1})})
    kills = [3]
    for module in ("jobs", "launch"):
        monkeypatch.setattr(f"studio.{module}.memory_kills", lambda: kills[0])
    run_id = jobs.submit(config)
    wait_until(lambda: jobs.store.state(run_id).step > 2)
    kills[0] += 1
    process = jobs.store.state(run_id).process()
    assert process is not None
    process.kill()
    wait_until(
        lambda: (shrunk := jobs.store.state(run_id).shrunk) is not None and shrunk.per_device_train_batch_size == 2
    )
    before = jobs.store.state(run_id).step
    wait_until(lambda: jobs.store.state(run_id).step > before)
    process = jobs.store.state(run_id).process()
    assert process is not None
    process.kill()  # this time by somebody
    assert wait_for_end(jobs.store, jobs.submit(tiny_config()), 60).status == "done"  # it would go on before others
    state = jobs.store.state(run_id)
    assert state.status == "failed"
    assert "ended without a word" in state.problem
