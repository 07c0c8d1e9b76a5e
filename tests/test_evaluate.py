"""Models asked the same rows: which rows are asked, what is refused, what is kept, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from studio import cli
from studio.adapter import save
from studio.config import RunConfig
from studio.errors import ConfigError, DatasetError, ModelError, RunError, StudioError
from studio.evaluate import EvaluationSettings, begin, look_up, of_run, unfinished
from studio.evaluated import report
from studio.evaluator import AT_ONCE, Evaluator, finish
from studio.events import Done, Saved
from studio.methods import methods
from studio.models.generate import answer_batch
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.workspace import Workspace
from tests.coached import rows, write_rows

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft

Make = Callable[..., RunConfig]


class Left(Exception):
    pass


@pytest.fixture
def source(workspace: Workspace) -> str:
    return write_rows(workspace.root / "things.jsonl", rows(80))


@pytest.fixture
def run(workspace: Workspace, source: str, tiny_config: Make) -> str:
    """One whose adapter says other things than its base; 24 of its 80 rows were held out."""
    folder = workspace.new_run("things")
    tiny_config(dataset={"source": source, "validation_share": 0.3}).save(folder.config)
    save(_changed(methods()["lora"]().attach(tiny_model())), folder.adapter)
    folder.events.append(Saved(step=4, size=2_000_000))
    folder.events.append(Done())
    return folder.id


def _changed(model: Any) -> Any:
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


def settings(*candidates: dict[str, Any], **changes: Any) -> EvaluationSettings:
    return EvaluationSettings.parse({"candidates": list(candidates), "max_new_tokens": 4, **changes})


def command(workspace: Workspace, *arguments: str) -> int:
    return cli.main(lambda *_: None, ["--workspace", str(workspace.root), *arguments])


def test_rows_that_a_run_learnt_are_not_asked(workspace: Workspace, run: str, source: str, tiny_config: Make) -> None:
    evaluation = begin(workspace, of_run(workspace, run))
    (part,) = evaluation.sets
    assert len(part.rows) == 24
    assert "56 rows are left out" in part.notes[0]
    near = [{**each, "prompt": each["prompt"].upper()} for each in rows(80)]
    other = write_rows(workspace.root / "near.jsonl", [*near, *rows(90)[80:]])
    (again,) = begin(workspace, settings({"run": run}, dataset={"source": other})).sets
    asked = {each.asked[0]["content"].lower() for each in again.rows}
    assert {each.asked[0]["content"] for each in part.rows} <= asked
    assert len(asked) == 24 + 10  # what it held out, and what is new
    whole_run = workspace.new_run("all")
    tiny_config(dataset={"source": source, "validation_share": 0.0}).save(whole_run.config)
    save(methods()["lora"]().attach(tiny_model()), whole_run.adapter)
    with pytest.raises(DatasetError, match="was trained on by one of the models"):
        begin(workspace, settings({"run": whole_run.id}))


def test_a_question_that_was_learnt_is_not_asked_again_for_another_answer(workspace: Workspace, run: str) -> None:
    edited = [{**each, "completion": f"{place} quite different words now"} for place, each in enumerate(rows(90))]
    source = write_rows(workspace.root / "edited.jsonl", edited)
    (part,) = begin(workspace, settings({"run": run}, dataset={"source": source})).sets
    assert len(part.rows) == 24 + 10
    assert "56 rows are left out: one of the models learnt their question" in part.notes[0]


def test_test_rows_are_asked_where_there_are_any_and_else_it_is_told_what_had_a_say(
    workspace: Workspace, source: str, tiny_config: Make
) -> None:
    parts = []
    for test_share in (0.1, 0.0):
        folder = workspace.new_run("chosen")
        data = {"source": source, "validation_share": 0.2, "test_share": test_share}
        tiny_config(dataset=data, training={"load_best_model_at_end": True}).save(folder.config)
        save(methods()["lora"]().attach(tiny_model()), folder.adapter)
        parts += begin(workspace, settings({"run": folder.id})).sets
    assert [len(each.rows) for each in parts] == [8, 16]
    assert "Only test rows are asked" in parts[0].notes[0]
    assert ["kept its best state by rows" in each.notes[-1] for each in parts] == [False, True]


def test_what_cannot_be_evaluated_is_one_sentence_and_leaves_nothing(
    workspace: Workspace, run: str, source: str, tiny_config: Make
) -> None:
    empty = workspace.root / "blank.jsonl"
    empty.write_text('{"prompt": "what?", "completion": ""}\n' * 3, encoding="utf-8")
    untrained = workspace.new_run("untrained")
    tiny_config(dataset={"source": source}).save(untrained.config)
    labels = workspace.new_run("labels")
    tiny_config(objective={"name": "classify"}).save(labels.config)
    scores = workspace.new_run("scores")
    tiny_config(objective={"name": "reward_model"}).save(scores.config)
    refused: list[tuple[EvaluationSettings, type[StudioError], str]] = [
        (settings(), ConfigError, "Nobody is to be asked"),
        (settings({"model": "tiny"}, {"model": "tiny"}, dataset={"source": source}), ConfigError, "chosen twice"),
        (settings({"model": "tiny"}), ConfigError, "No data set is chosen"),
        (settings({"model": "minilm"}, dataset={"source": source}), ModelError, "cannot write any"),
        (settings({"model": "tiny"}, dataset={"source": "nothing"}), DatasetError, "no data set or file"),
        (settings({"model": "tiny"}, dataset={"source": str(empty)}), DatasetError, "a question and an answer"),
        (settings({"run": "../things"}), RunError, "no such run"),
        (settings({"run": untrained.id}), ModelError, "saved no adapter"),
        (settings({"run": labels.id, "tuned": False}), ModelError, "no head that names labels"),
        (settings({"run": scores.id}), ModelError, "neither answers nor names labels"),
    ]
    for asked, kind, problem in refused:
        with pytest.raises(kind, match=problem):
            begin(workspace, asked)
    assert not list(workspace.evaluations.glob("*"))


def test_what_was_left_goes_on_and_nothing_is_asked_twice(workspace: Workspace, run: str) -> None:
    chosen = settings({"run": run, "tuned": False}, {"run": run}, rows=20)
    whole_one, halved = begin(workspace, chosen), begin(workspace, chosen)
    finish(workspace, whole_one)

    def leave(doing: str, done: float, total: float) -> None:
        if done >= 40:
            raise Left

    with pytest.raises(Left):
        finish(workspace, halved, leave)
    kept = halved.binder.steps.read_bytes()
    found = unfinished(workspace, chosen)
    assert found
    assert found.binder.name == halved.binder.name
    assert 0 < found.done < found.total == 80
    assert [each.values.keys() for each in report(found).parts[0].measured] == [{0}] * len(
        report(found).parts[0].measured
    )
    finish(workspace, found)
    assert found.binder.steps.read_bytes().startswith(kept)
    asked = [
        (how, each[how], row)
        for each in found.binder
        for how in ("likely", "said")
        if how in each
        for row, *_ in each["rows"]
    ]
    assert len(asked) == len(set(asked)) == 80
    after = look_up(workspace, halved.binder.name)
    assert after.done == after.total
    assert unfinished(workspace, chosen) is None
    assert [each.said for each in after.sets] == [each.said for each in whole_one.sets]
    assert after.sets[0].said[0] != after.sets[0].said[1]
    lone = report(after).parts[0].measured
    assert [each.values for each in lone] == [each.values for each in report(whole_one).parts[0].measured]


def test_answers_in_batches_are_those_of_one_at_a_time(workspace: Workspace, source: str) -> None:
    evaluation = begin(workspace, settings({"model": "tiny"}, dataset={"source": source}, rows=AT_ONCE + 4))
    finish(workspace, evaluation)
    (part,) = evaluation.sets
    for place in (0, 7, AT_ONCE + 3):
        (alone,) = answer_batch(
            tiny_model(), tiny_tokenizer(), [part.rows[place].asked], max_new_tokens=4, adapter=False
        )
        assert part.said[0][place] == alone


def test_a_run_that_learnt_more_since_is_asked_no_further(workspace: Workspace, run: str) -> None:
    evaluation = begin(workspace, settings({"run": run}, rows=4))
    folder = workspace.run(run)
    save(methods()["lora"]().attach(tiny_model()), folder.adapter)
    with pytest.raises(RunError, match="trained on since"):
        finish(workspace, evaluation)


def test_a_process_of_its_own_evaluates_and_can_be_left(workspace: Workspace, run: str) -> None:
    evaluation = begin(workspace, settings({"run": run, "tuned": False}, {"run": run}))
    name = evaluation.binder.name
    with closing(Evaluator(workspace)) as evaluator:
        with closing(evaluator.run(name)) as asked:  # pyright: ignore[reportArgumentType] - a generator
            next(each for each in asked if each.done)
        assert look_up(workspace, name).done < evaluation.total
        last = list(evaluator.run(name))[-1]
        assert (last.done, last.total) == (evaluation.total, evaluation.total)
        assert look_up(workspace, name).done == evaluation.total
        evaluator.delete(name)
    with pytest.raises(RunError):
        look_up(workspace, name)


# -- the command line --------------------------------------------------------------------------------------


def test_the_command_line_evaluates_a_run_and_goes_on(
    workspace: Workspace,
    run: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "evaluate.yaml"
    asked = {"candidates": [{"run": run, "tuned": False}, {"run": run}], "max_new_tokens": 4, "rows": 12}
    config.write_text(yaml.safe_dump(asked), encoding="utf-8")
    left = begin(workspace, EvaluationSettings.parse(asked))
    assert command(workspace, "evaluate", str(config), "--resume") == 0
    told = capsys.readouterr().out
    assert "Word overlap (F1)" in told
    assert "rows are left out" in told
    assert told.splitlines()[-1] == str(left.binder.folder)
    assert command(workspace, "evaluate", str(config), "--resume", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sets"][0]["measures"][0]["key"] == "token_f1"
    assert set(found["sets"][0]["measures"][0]["changes"]["1"]) == {"gain", "low", "high", "p", "verdict"}
    assert [set(each["said"]) for each in found["rows"][0]] == [{"0", "1"}] * 12
    assert command(workspace, "evaluate", "nothing") == 1
    assert "no such run" in capsys.readouterr().err
