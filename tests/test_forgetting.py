"""Old data in a run: scored beside the new, mixed in, measured; and new tokens, from the queue to the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig
from studio.data.templates import Mapping
from studio.errors import ConfigError, DatasetError
from studio.events import DataReady, EvalDone, Note, Phase, StepDone, VocabularyExtended
from studio.jobs import Jobs
from studio.models.tiny import tiny_tokenizer
from studio.old_data import guard
from studio.preflight import check
from studio.store import wait_for_end
from studio.training.batching import Rows, collate
from studio.workspace import Workspace

Make = Callable[..., RunConfig]


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "old.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"an old text, number {i}"}) for i in range(30)), encoding="utf-8")
    return path


def guarded(config: RunConfig, workspace: Workspace) -> Any:
    """The run's rows with old data among them, and before."""
    from studio.data.library import divided, open_source

    opened = open_source(config.dataset.source, workspace)
    sides = divided(opened, (0.2, 0.0), config.seed)
    tokenizer = tiny_tokenizer()
    prepared = config.objective.prepare(sides.train, sides.validation, opened.mapping, tokenizer, lambda *_: None)
    return guard(check(config, workspace), workspace, prepared, tokenizer, lambda *_: None), prepared


def test_a_run_scores_replays_and_holds_back_old_data(
    jobs: Jobs, workspace: Workspace, tiny_config: Make, old_file: Path
) -> None:
    old = {"source": str(old_file), "replay_share": 0.2, "rows": 6}
    run_id = jobs.submit(tiny_config(old=old, penalty={"name": "ewc", "fisher_rows": 5}, objective={"packing": False}))
    state = wait_for_end(jobs.store, run_id, 120)
    folder = workspace.run(run_id)
    assert state.status == "done", folder.log.read_text()
    events, _ = folder.events.read_from()
    scored = [event for event in events if isinstance(event, EvalDone)]
    assert scored[0].step == 0
    assert all({"eval_loss", "eval_old_loss"} <= event.metrics.keys() for event in scored)
    steps = [event.metrics for event in events if isinstance(event, StepDone)]
    assert steps[0]["ewc"] == 0 < steps[-1]["ewc"]
    data = next(event for event in events if isinstance(event, DataReady))
    assert data.train_rows == 32 + 17
    assert any("17 rows of old data" in event.text for event in events if isinstance(event, Note))
    phases = [event for event in events if isinstance(event, Phase)]
    assert any(event.name == "Measuring what old data needs" for event in phases)
    config = RunConfig.parse(json.loads(folder.config.read_text()))
    assert (config.old.format, config.old.columns) == ("text", {"text": "text"})


def test_old_data_alone_can_be_scored_and_no_term_found_is_said(
    jobs: Jobs, workspace: Workspace, tiny_config: Make, old_file: Path
) -> None:
    config = tiny_config(
        old={"source": str(old_file)},
        vocabulary={"new_tokens": 2, "min_count": 1000},
        dataset={"validation_share": 0.0},
        training={"max_steps": 1},
    )
    run_id = jobs.submit(config)
    state = wait_for_end(jobs.store, run_id, 120)
    folder = workspace.run(run_id)
    assert state.status == "done", folder.log.read_text()
    events, _ = folder.events.read_from()
    scored = [event for event in events if isinstance(event, EvalDone)]
    assert [event.step for event in scored] == [0, 1]
    assert all("eval_old_loss" in event.metrics and "eval_loss" not in event.metrics for event in scored)
    assert any("the vocabulary stays" in event.text for event in events if isinstance(event, Note))
    assert not (folder.adapter / "vocabulary.json").exists()


def test_new_tokens_are_found_learnt_and_kept_beside_the_adapter(
    jobs: Jobs, workspace: Workspace, tiny_config: Make
) -> None:
    run_id = jobs.submit(tiny_config(vocabulary={"new_tokens": 2, "min_count": 5}))
    state = wait_for_end(jobs.store, run_id, 120)
    folder = workspace.run(run_id)
    assert state.status == "done", folder.log.read_text()
    extended = next(event for event in folder.events.read_from()[0] if isinstance(event, VocabularyExtended))
    assert [term["term"] for term in extended.terms] == [" number", " row"]
    assert extended.tokens_before - extended.tokens_after == 32 * (6 + 3)
    assert json.loads((folder.adapter / "vocabulary.json").read_text())["terms"] == [" number", " row"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.75])
@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("old_is_new", [False, True])
def test_the_share_is_one_of_all_training_tokens(
    workspace: Workspace, tiny_config: Make, old_file: Path, share: float, packing: bool, old_is_new: bool
) -> None:
    """Packed rows are blocks, longer than the others: in one case the old ones, in the other the new ones."""
    config = tiny_config(
        old={"source": str(old_file), "replay_share": share}, objective={"packing": packing, "max_length": 64}
    )
    if old_is_new:
        new, old = config.old.source, config.dataset.source
        dataset = config.dataset.model_copy(update={"source": new})
        config = config.model_copy(
            update={"dataset": dataset, "old": config.old.model_copy(update={"source": old, "rows": 4})}
        )
    found, before = guarded(config, workspace)
    replayed = found.prepared.train[len(before.train) :]
    report = found.prepared.report
    assert report.tokens == sum(len(row.input_ids) for row in found.prepared.train)
    old_tokens = sum(len(row.input_ids) for row in replayed)
    assert (len(replayed) >= 1) == (share > 0)
    assert abs(old_tokens - share * report.tokens) <= 64 + 1  # the longest row
    if share:
        assert any(f"{old_tokens / report.tokens:.1%} of the tokens" in note for note in found.prepared.notes)
    learnt = [collate([row]) for row in Rows(found.prepared.train)]
    assert report.trained_tokens == sum(int((batch["labels"] >= 0).sum()) for batch in learnt)


def test_scored_rows_are_never_replayed_and_the_seed_decides(
    workspace: Workspace, tiny_config: Make, old_file: Path
) -> None:
    old = {"source": str(old_file), "replay_share": 0.75, "rows": 100}
    config = tiny_config(old=old, objective={"packing": False})
    found, before = guarded(config, workspace)
    replayed = {tuple(row.input_ids) for row in found.prepared.train[len(before.train) :]}
    scored = {tuple(row.input_ids) for row in found.prepared.old}
    assert len(replayed) == len(scored) == 15  # of 30 rows, half at most are scored
    assert not replayed & scored
    assert any("come again" in note for note in found.prepared.notes)
    again, _ = guarded(config, workspace)
    assert again == found
    other, _ = guarded(config.model_copy(update={"seed": 1}), workspace)
    assert other.prepared.train != found.prepared.train


def test_old_data_of_blanks_only_is_none(workspace: Workspace, tiny_config: Make) -> None:
    found, before = guarded(tiny_config(old={"source": "  "}), workspace)
    assert found.prepared is before


def test_a_share_that_leaves_next_to_nothing_new_is_refused(tiny_config: Make, old_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"replay_share. is 0\.99999"):
        tiny_config(old={"source": str(old_file), "replay_share": 0.99999})


def test_without_old_data_rows_stay_as_they_are(workspace: Workspace, tiny_config: Make) -> None:
    found, before = guarded(tiny_config(), workspace)
    assert found.prepared is before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"old": {"replay_share": 0.1}}, "no old data is chosen"),
        ({"penalty": "ewc"}, "needs old data to measure"),
        ({"old": {"source": "no such data"}}, "There is no data set or file"),
        ({"vocabulary": {"new_tokens": 5}, "method": {"name": "prompt"}}, "cannot learn the embeddings"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    workspace: Workspace, tiny_config: Make, changes: dict[str, Any], said: str
) -> None:
    config = tiny_config()
    values = {**config.to_dict(), **changes}
    with pytest.raises((ConfigError, DatasetError), match=said):
        check(RunConfig.parse(values), workspace)


def test_a_penalty_beside_an_objective_that_measures_no_old_data_leads_in_no_circle(
    workspace: Workspace, tiny_config: Make, tmp_path: Path
) -> None:
    rows = [{"text": f"this is {kind}", "label": kind} for kind in ("good", "bad") * 6]
    (tmp_path / "kinds.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    values = tiny_config(dataset={"source": str(tmp_path / "kinds.jsonl")}).to_dict()
    config = RunConfig.parse({**values, "objective": "classify", "penalty": "ewc"})
    with pytest.raises(ConfigError, match="cannot be used with 'Classification'") as caught:
        check(config, workspace)
    assert caught.value.remedy == "Choose the penalty 'None'."


def test_a_data_set_is_not_its_own_old_data(workspace: Workspace, tiny_config: Make, rows_file: Path) -> None:
    with pytest.raises(ConfigError, match="the data set and the old data at once"):
        check(tiny_config(old={"source": str(rows_file)}), workspace)


def test_a_single_old_row_is_refused(workspace: Workspace, tiny_config: Make, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": "alone"}\n{"text": ""}'[:17], encoding="utf-8")
    with pytest.raises(DatasetError, match="fewer than two rows"):
        check(tiny_config(old={"source": str(tmp_path / "one.jsonl")}), workspace)


def test_old_rows_that_teach_nothing_are_named(workspace: Workspace, tiny_config: Make, tmp_path: Path) -> None:
    long = tmp_path / "long.jsonl"
    long.write_text("\n".join(json.dumps({"prompt": f"{i}" * 200, "completion": "x"}) for i in range(4)))
    config = tiny_config(old={"source": str(long), "replay_share": 0.5})
    with pytest.raises(DatasetError, match=r"The old data, long.jsonl: All 2 rows are longer"):
        guarded(config, workspace)


def test_the_mapping_of_old_data_is_its_own(workspace: Workspace, tiny_config: Make, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps({"a": f"ask {i}", "b": f"say {i}"}) for i in range(4)))
    columns = {"prompt": "a", "completion": "b"}
    config = tiny_config(old={"source": str(other), "format": "prompt_completion", "columns": columns})
    assert check(config, workspace).old.mapping() == Mapping("prompt_completion", columns)
