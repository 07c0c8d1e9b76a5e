"""What is said of models that were asked the same rows: the numbers, the differences, the labels, the errors."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from studio import cli_evaluate
from studio.adapter import save
from studio.config import RunConfig
from studio.data.labels import Head
from studio.errors import ConfigError, DatasetError
from studio.evaluate import Candidate, Evaluation, begin, look_up, of_run
from studio.evaluated import lines, report
from studio.evaluation.likelihood import read_texts
from studio.evaluation.measures import OTHER
from studio.evaluator import finish
from studio.methods import methods
from studio.models.heads import Headed
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.sandbox import available
from studio.workspace import Workspace
from tests.coached import rows, write_rows
from tests.test_evaluate import command, settings

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft

Make = Callable[..., RunConfig]


@pytest.fixture
def source(workspace: Workspace) -> str:
    return write_rows(workspace.root / "things.jsonl", rows(80))


# -- the numbers -------------------------------------------------------------------------------------------


def test_the_answers_likelihood_is_that_of_its_tokens_and_bits_are_per_byte(workspace: Workspace, source: str) -> None:
    evaluation = begin(workspace, settings({"model": "tiny"}, dataset={"source": source}, rows=3, answers=False))
    finish(workspace, evaluation)
    (part,) = evaluation.sets
    model, tokenizer = tiny_model(), tiny_tokenizer()
    total = [0.0, 0, 0]
    for place, row in enumerate(part.rows):
        prompt = tokenizer.apply_chat_template(row.asked, tokenize=False, add_generation_prompt=True)
        before = tokenizer(prompt)["input_ids"]
        answer = tokenizer(row.right + "<|im_end|>")["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([before + answer])).logits[0, len(before) - 1 : -1]
        nats = float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        found = part.likely[0][place]
        assert found
        assert found[0] == pytest.approx(nats, rel=5e-3)  # it is loaded in 16 bits
        assert found[1] == len(answer)
        total = [a + b for a, b in zip(total, (nats, len(answer), len(row.right.encode())), strict=True)]
    by_key = {each.measure.key: each.values[0].value for each in report(evaluation).parts[0].measured}
    assert by_key["bits_per_byte"] == pytest.approx(total[0] / math.log(2) / total[2], rel=5e-3)
    assert by_key["loss"] == pytest.approx(total[0] / total[1], rel=5e-3)
    assert by_key["perplexity"] == pytest.approx(math.exp(total[0] / total[1]), rel=3e-2)


CODE = [
    {
        "prompt": f"Write add{n}.",
        "completion": f"def add{n}(a): return a + {n}",
        "test_list": [f"assert add{n}(1) == {n + 1}"],
    }
    for n in range(1, 7)
]


@pytest.mark.skipif(not available()[0], reason=available()[1])
def test_programs_are_run_against_the_tests_of_their_rows(workspace: Workspace) -> None:
    source = write_rows(workspace.root / "code.jsonl", CODE)
    evaluation = begin(workspace, settings({"model": "tiny"}, dataset={"source": source}))
    (part,) = evaluation.sets
    assert part.kind == "code"
    said = [row.right if place < 3 else row.right.replace("+", "-") for place, row in enumerate(part.rows[:5])]
    evaluation.keep({"said": 0, "set": 0, "rows": [*map(list, enumerate([*said, "I cannot."]))]})
    finish(workspace, evaluation)
    evaluation = look_up(workspace, evaluation.binder.name)
    assert evaluation.done == evaluation.total
    found = report(evaluation).parts[0]
    values = {each.measure.key: each.values[0].value for each in found.measured}
    assert values["pass_at_1"] == pytest.approx(3 / 6)
    assert values["execution_rate"] == pytest.approx(5 / 6)
    assert found.ran[0] == {"passed": 3, "wrong": 2, "syntax": 1}
    shown = lines(evaluation, 0, "all", 0, 0, 6)
    assert shown.measure == "pass@1"
    assert [each.scores[0] for each in shown.lines] == [1, 1, 1, 0, 0, 0]
    assert shown.lines[0].ran[0] == "passed all tests"
    assert shown.lines[5].ran[0].startswith("is no Python (SyntaxError: ")


@pytest.mark.skipif(not available()[0], reason=available()[1])
def test_of_several_programs_a_task_one_may_pass(workspace: Workspace) -> None:
    source = write_rows(workspace.root / "code.jsonl", CODE)
    asked = settings({"model": "tiny"}, dataset={"source": source}, samples=3, max_new_tokens=4)
    evaluation, again = begin(workspace, asked), begin(workspace, asked)
    rights = [row.right for row in evaluation.sets[0].rows]
    passing = [0, 0, 1, 1, 2, 3]  # of three programs to each task
    texts = [[right] * good + ["x = ("] * (3 - good) for right, good in zip(rights, passing, strict=True)]
    evaluation.keep({"drawn": 0, "set": 0, "rows": [[place, some] for place, some in enumerate(texts)]})
    finish(workspace, evaluation)
    evaluation = look_up(workspace, evaluation.binder.name)
    assert evaluation.done == evaluation.total == 5 * 6
    values = {each.measure.title: each.values[0].value for each in report(evaluation).parts[0].measured}
    assert values["pass@1, of 3"] == pytest.approx(7 / 18)
    assert values["pass@2, of 3"] == pytest.approx((2 * 2 / 3 + 1 + 1) / 6)  # 1 - C(2, 2) / C(3, 2) where one passes
    assert values["pass@3, of 3"] == pytest.approx(4 / 6)

    finish(workspace, again)  # its own: drawn by chance, the same for the same seed
    other = begin(workspace, asked)
    finish(workspace, other)
    drawn = [each.sets[0].drawn[0] for each in (again, other)]
    assert drawn[0] == drawn[1]
    assert all(len(set(some)) == 3 for some in drawn[0].values())


def test_without_a_sandbox_no_program_is_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    source = write_rows(workspace.root / "code.jsonl", CODE)
    (part,) = begin(workspace, settings({"model": "tiny"}, dataset={"source": source})).sets
    assert part.kind != "code"
    assert any("only in a sandbox" in each for each in part.notes)


# -- what it says ------------------------------------------------------------------------------------------


def answered(workspace: Workspace, source: str, said: list[Callable[[int, str], str]], **changes: Any) -> Evaluation:
    """One whose candidates said such things to each row of each set."""
    names = [{"model": "tiny"}, *({"model": str(place)} for place in range(1, len(said)))]
    evaluation = begin(workspace, settings({"model": "tiny"}, dataset={"source": source}, **changes))
    about = evaluation.binder.about
    about["settings"]["candidates"] = [Candidate.parse(each).model_dump() for each in names]
    about["contenders"] = [{"title": title, "identity": ""} for title in ("One", "Two", "Three")[: len(said)]]
    evaluation = Evaluation(evaluation.binder)
    for who, say in enumerate(said):
        for place, part in enumerate(evaluation.sets):
            found = [[row, say(row, each.right)] for row, each in enumerate(part.rows)]
            evaluation.keep({"said": who, "set": place, "rows": found})
    return evaluation


def test_a_gain_a_loss_and_no_difference_are_told_apart(workspace: Workspace, source: str) -> None:
    def half(row: int, right: str) -> str:
        return right if row % 2 else "no"

    def otherwise(row: int, right: str) -> str:
        return "no" if row % 2 else right

    evaluation = answered(
        workspace, source, [half, lambda row, right: right, otherwise], rows=60, old={"source": source}
    )
    found = report(evaluation)
    head = found.parts[0].measured[0]
    assert head.measure.key == "token_f1"
    assert head.values[1].value == 1
    assert [head.verdict(who) for who in (0, 1, 2)] == ["", "better", "same"]
    words = [text for text, _ in found.words]
    assert words[0].startswith("Two is better than One on things.jsonl: Word overlap (F1) from 50.0% to 100.0%")
    assert words[1].startswith("No significant difference between Three and One")
    assert "on the old data" in words[2]
    assert [verdict for _, verdict in found.words] == ["better", "same", "better", "same"]
    worse = answered(workspace, source, [half, lambda row, right: ""], rows=20, old={"source": source})
    told = [text for text, _ in report(worse).words]
    assert told[0].startswith("Two is worse than One")
    assert "only large differences" in told[0]
    assert "It has forgotten" in told[1]
    assert report(worse).parts[0].silent == {0: 0, 1: 20}
    got_worse = lines(worse, 0, "worse", 1, 0, 6)
    assert got_worse.total == 10
    assert len(got_worse.lines) == 6
    assert all(each.place % 2 for each in got_worse.lines)
    assert got_worse.lines[0].scores == {0: 1, 1: 0}
    assert lines(worse, 0, "worse", 1, 6, 6).lines[-1].place == 19
    assert lines(worse, 0, "better", 1, 0, 6).total == 0
    assert lines(worse, 0, "changed", 1, 0, 6).total == 20
    assert [each.place for each in lines(worse, 0, "all", 1, 18, 6).lines] == [18, 19]


def test_labels_have_a_confusion_matrix_with_a_place_for_what_is_none(workspace: Workspace) -> None:
    told = [{"prompt": f"{each} {place}", "completion": each} for place in range(10) for each in ("red", "blue")]
    source = write_rows(workspace.root / "colours.jsonl", told)
    evaluation = answered(
        workspace, source, [lambda row, right: right, lambda row, right: "blue" if row % 4 else "a colour, perhaps"]
    )
    part = report(evaluation).parts[0]
    assert [each.measure.key for each in part.measured[:2]] == ["accuracy", "f1"]
    assert part.labels[0].labels == ["blue", "red"]
    assert part.labels[0].matrix == [[10, 0], [0, 10]]
    assert part.labels[1].labels == ["blue", "red", OTHER]
    assert sum(map(sum, part.labels[1].matrix)) == 20
    assert part.labels[1].matrix[2] == [0, 0, 0]
    assert [each["label"] for each in part.labels[1].per_label] == ["blue", "red"]
    assert (part.measured[0].values[0].value, part.measured[0].values[0].high) == (1, 1)
    assert 0.8 < part.measured[0].values[0].low < 0.9  # Wilson's: twenty of twenty prove no certainty


def test_a_run_that_names_labels_is_scored_by_its_head(
    workspace: Workspace, tiny_config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [{"text": f"{word} and {place}", "label": word} for place in range(12) for word in ("up", "down")]
    source = write_rows(workspace.root / "labels.jsonl", told)
    torch.manual_seed(0)
    runs = []
    for label in ("label", "other"):
        folder = workspace.new_run("labels")
        objective = {"name": "classify", "max_length": 64}
        tiny_config(dataset={"source": source, "validation_share": 0.5}, objective=objective).save(folder.config)
        model = Headed(methods()["lora"]().attach(tiny_model().model), [Head(label, "classes", ("down", "up"))])
        save(model, folder.adapter)
        runs.append(folder.id)
    evaluation = begin(workspace, settings({"run": runs[0]}, rows=10))
    finish(workspace, evaluation)
    (part,) = evaluation.sets
    assert part.kind == "labels"
    assert set(part.said[0].values()) <= {"up", "down"}
    by_key = {each.measure.key: each for each in report(evaluation).parts[0].measured}
    hits = [part.said[0][place] == row.right for place, row in enumerate(part.rows)]
    assert by_key["accuracy"].values[0].value == pytest.approx(np.mean(hits))
    assert "perplexity" not in by_key
    shares = [math.exp(-each[0]) for each in part.likely[0].values() if each]
    for share, hit in zip(shares, [hits[place] for place in part.likely[0]], strict=True):
        assert (share > 0.5) == hit
    assert of_run(workspace, runs[0]).candidates == (Candidate(run=runs[0]),)  # what it began with names nothing
    assert command(workspace, "evaluate", runs[0]) == 0
    assert "Macro F1" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no column of labels that all of these runs learnt"):
        begin(workspace, settings({"run": runs[0]}, {"run": runs[1]}))
    things = write_rows(workspace.root / "more.jsonl", rows(8))
    with pytest.raises(DatasetError, match="no labels in a column 'label'"):
        begin(workspace, settings({"run": runs[0]}, dataset={"source": things}))


def labelled(*columns: str) -> dict[str, Any]:
    """How such rows are read."""
    roles = dict(zip(("label", "label_2"), columns, strict=False))
    return {"format": "labelled", "columns": {"text": "text", **roles}}


def headed(workspace: Workspace, tiny_config: Make, source: str, *heads: Head, **objective: Any) -> str:
    """A run that names labels, or numbers, and held half of its rows out."""
    folder = workspace.new_run("heads")
    chosen = {"name": "classify", "max_length": 64, **objective}
    data = {"source": source, "validation_share": 0.5, **labelled(*(each.name for each in heads))}
    tiny_config(dataset=data, objective=chosen).save(folder.config)
    torch.manual_seed(0)
    save(Headed(methods()["lora"]().attach(tiny_model().model), heads), folder.adapter)
    return folder.id


def test_a_head_of_numbers_is_judged_by_its_error(workspace: Workspace, tiny_config: Make) -> None:
    told = [{"text": f"so many as {place}", "label": place + 0.25} for place in range(24)]
    source = write_rows(workspace.root / "numbers.jsonl", told)
    run = headed(workspace, tiny_config, source, Head("label", "number", mean=10.0, scale=5.0))
    evaluation = begin(workspace, settings({"run": run}, rows=6))
    assert evaluation.total == 6  # how likely a number is, nobody can say
    finish(workspace, evaluation)
    (part,) = evaluation.sets
    first = report(evaluation).parts[0].measured[0]
    off = [abs(float(part.said[0][place] or "") - float(each.right)) for place, each in enumerate(part.rows)]
    assert first.measure.key == "error"
    assert first.values[0].value == pytest.approx(np.mean(off))
    assert lines(evaluation, 0, "all", 0, 0, 1).lines[0].scores[0] == pytest.approx(off[0])
    with pytest.raises(ConfigError, match="cannot be told"):
        begin(workspace, settings({"run": run}, answers=False))


def test_labels_are_read_as_training_read_them(workspace: Workspace, tiny_config: Make) -> None:
    head = Head("label", "labels", ("a, b", "cold;dark", "wet"))
    cells = ["wet, cold;dark", "cold;dark", ""], [["wet", "a, b"], ["cold;dark"], []]
    rights = {'["cold;dark", "wet"]', '["cold;dark"]'}, {'["a, b", "wet"]', '["cold;dark"]', "[]"}
    for name, some, right in zip(("split", "listed"), cells, rights, strict=True):
        told = [{"text": f"weather number {place}", "label": some[place % 3]} for place in range(30)]
        source = write_rows(workspace.root / f"{name}.jsonl", told)
        run = headed(workspace, tiny_config, source, head, label_separator=",")
        evaluation = begin(workspace, settings({"run": run}))
        (part,) = evaluation.sets
        assert {each.right for each in part.rows} == right
        finish(workspace, evaluation)
        assert all(set(json.loads(each or "")) <= set(head.labels) for each in part.said[0].values())
        assert report(evaluation).parts[0].silent == {0: 0}


def test_classes_are_known_in_any_spelling_and_those_that_are_none_are_counted(
    workspace: Workspace, tiny_config: Make
) -> None:
    numbers = [{"text": f"stars for {place}", "label": ("1.0", "2", "3.0")[place % 3]} for place in range(30)]
    source = write_rows(workspace.root / "stars.jsonl", numbers)
    run = headed(workspace, tiny_config, source, Head("label", "classes", ("1", "2")))
    evaluation = begin(workspace, settings({"run": run}))
    (part,) = evaluation.sets
    assert {each.right for each in part.rows} == {"1", "2", "3.0"}
    finish(workspace, evaluation)
    unknown = sum(each.right == "3.0" for each in part.rows)
    found = report(evaluation).parts[0]
    assert found.unlikely == {0: unknown}
    assert {each.measure.key: each.rows for each in found.measured}["loss"] == len(part.rows) - unknown
    assert found.measured[0].rows == len(part.rows)


def test_runs_are_compared_by_a_column_that_all_of_them_learnt(workspace: Workspace, tiny_config: Make) -> None:
    told = [{"text": f"{word} and {place}", "one": word, "two": word} for place in range(12) for word in ("up", "down")]
    source = write_rows(workspace.root / "columns.jsonl", told)
    one, two = (Head(name, "classes", ("down", "up")) for name in ("one", "two"))
    both, single = headed(workspace, tiny_config, source, one, two), headed(workspace, tiny_config, source, two)
    for runs in ((both, single), (single, both)):
        chosen = settings(*({"run": run} for run in runs), dataset={"source": source, **labelled("one", "two")})
        assert [each.head for each in begin(workspace, chosen).contenders] == ["two", "two"]


def test_rows_that_one_cannot_read_are_counted_and_told(workspace: Workspace, source: str) -> None:
    evaluation = answered(workspace, source, [lambda row, right: right, lambda row, right: ""], rows=20)
    for who in range(2):
        found = [[row, None if who and row < 5 else 2.0, 4] for row in range(20)]
        evaluation.keep({"likely": who, "set": 0, "rows": found})
    evaluation.keep({"said": 1, "set": 0, "rows": [[0, None], [1, None]]})
    part = report(evaluation).parts[0]
    assert (part.unread, part.unlikely, part.silent) == ({0: 0, 1: 2}, {0: 0, 1: 5}, {0: 0, 1: 18})
    rows = {each.measure.key: each.rows for each in part.measured}
    assert (rows["token_f1"], rows["perplexity"]) == (20, 15)
    assert [*cli_evaluate._lines(report(evaluation))].count("    It wrote nothing to 18 rows.") == 1
    assert sum("(on 15 of 20 rows)" in each for each in cli_evaluate._lines(report(evaluation))) == 6


def test_answers_without_a_number_have_no_error_and_are_counted(workspace: Workspace) -> None:
    told = [{"prompt": f"how many {place}", "completion": str(place)} for place in range(30)]
    source = write_rows(workspace.root / "counts.jsonl", told)
    evaluation = answered(
        workspace,
        source,
        [lambda row, right: f"I say {int(right) + 2}", lambda row, right: right if row % 3 else "many"],
    )
    part = report(evaluation).parts[0]
    by_key = {each.measure.key: each for each in part.measured}
    assert evaluation.sets[0].kind == "number"
    assert part.unfit == {0: 0, 1: 10}
    assert by_key["error"].rows == 20
    assert (by_key["error"].values[0].value, by_key["error"].values[1].value) == (2, 0)
    assert by_key["exact_match"].rows == 30


def test_plain_text_is_read_and_not_answered(workspace: Workspace) -> None:
    path = workspace.root / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"So it goes, {place} times."}) for place in range(6)), "utf-8")
    evaluation = begin(workspace, settings({"model": "tiny"}, dataset={"source": str(path)}))
    finish(workspace, evaluation)
    assert evaluation.sets[0].kind == "text"
    assert evaluation.total == 6
    found = report(evaluation)
    assert [each.measure.key for each in found.parts[0].measured] == ["bits_per_byte", "loss", "perplexity"]
    assert found.words[0][0].startswith("Tiny")
    (nats, tokens), *_ = read_texts(tiny_model(), tiny_tokenizer(), [evaluation.sets[0].rows[0].right])
    assert evaluation.sets[0].likely[0][0] == pytest.approx((nats, tokens), rel=5e-3)
