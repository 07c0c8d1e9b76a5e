"""Tasks of lm-eval in an evaluation: files that could run code are refused, and the numbers are lm-eval's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
import yaml

import studio.evaluate
import studio.evaluation.harness
import tabs.evaluate
from studio.adapter import save
from studio.config import RunConfig
from studio.data.labels import Head
from studio.errors import ConfigError, DatasetError
from studio.evaluate import EvaluationSettings, begin, look_up, unfinished
from studio.evaluated import report
from studio.evaluation import tasks
from studio.evaluation.harness import Result, Score, _pulsing, table
from studio.evaluation.tasks import find_tasks
from studio.evaluator import finish
from studio.methods import methods
from studio.models.heads import Headed
from studio.models.tiny import tiny_model
from studio.trained import load_base, load_trained
from studio.workspace import Workspace
from tests.coached import rows, write_rows
from tests.test_evaluate import Left, _changed, command, settings

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of lm-eval and what it stands on
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

Make = Callable[..., RunConfig]


def of_file(name: str) -> dict[str, Any]:
    """A task of the rows in a file of that name."""
    lies = {"data_files": {"test": f"{name}.jsonl"}}
    return {"task": name, "dataset_path": "json", "dataset_kwargs": lies, "test_split": "test"}


SUMS = {
    **of_file("sums"),
    "output_type": "multiple_choice",
    "doc_to_text": "What is {{a}} + {{b}}?",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{right}}",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
    "metadata": {"version": 2},
}
ECHO = {
    **of_file("echo"),
    "output_type": "generate_until",
    "doc_to_text": "{{text}}",
    "doc_to_target": "{{said}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """Two tasks in the workspace: one to choose, one to write."""
    workspace.tasks.mkdir()
    sums = [{"a": n, "b": n % 3, "choices": [str(n + n % 3 + off) for off in (0, 1, 7)], "right": 0} for n in range(24)]
    write_rows(workspace.tasks / "sums.jsonl", sums)
    write_rows(workspace.tasks / "echo.jsonl", [{"text": f"say {n}", "said": "?"} for n in range(12)])
    for task in (SUMS, ECHO):
        (workspace.tasks / f"{task['task']}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return workspace.tasks


@pytest.fixture
def lm_eval() -> Any:
    return pytest.importorskip("lm_eval")


def of_lm_eval(
    lm_eval: Any, workspace: Workspace, task: dict[str, Any], cache: Path, loaded: Any = None
) -> dict[str, Any]:
    """What lm-eval says by itself of the tiny model, or of another with its tokenizer."""
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    model, tokenizer = loaded or load_base("tiny", workspace, lambda *_: None)
    files = {split: str(workspace.tasks / name) for split, name in task["dataset_kwargs"]["data_files"].items()}
    config = json.loads(json.dumps({**task, "dataset_kwargs": {"data_files": files, "cache_dir": str(cache)}}))
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4)
    manager = TaskManager(include_defaults=False)
    return lm_eval.simple_evaluate(lm, tasks=[config], apply_chat_template=True, task_manager=manager)


def test_a_task_says_what_lm_eval_says_of_the_same_model(
    lm_eval: Any, workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    spoken = of_lm_eval(lm_eval, workspace, ECHO, tmp_path / "first")["samples"]["echo"]
    echoed = [(each["doc"]["text"], each["resps"][0][0]) for each in spoken]
    right = [{"text": text, "said": said if place % 3 else "?"} for place, (text, said) in enumerate(echoed)]
    write_rows(folder / "echo.jsonl", right)  # so that two in three answers are right
    evaluation = begin(workspace, settings({"model": "tiny"}, tasks=["sums", "echo"]))
    finish(workspace, evaluation)
    evaluation = look_up(workspace, evaluation.binder.name)
    assert evaluation.done == evaluation.total == 24 + 12
    for task in (SUMS, ECHO):
        told = of_lm_eval(lm_eval, workspace, task, tmp_path / "again")["results"][task["task"]]
        scores = evaluation.scored[task["task"]][0].scores
        assert [each.metric for each in scores] == [each["metric"] for each in task["metric_list"]]
        for each in scores:
            assert each.value == told[f"{each.metric},none"]
            assert each.stderr == pytest.approx(told[f"{each.metric}_stderr,none"])
            assert each.higher is True
    assert evaluation.scored["echo"][0].scores[0].value == pytest.approx(8 / 12)
    assert 0 < (evaluation.scored["sums"][0].scores[0].value or 0) < 1
    first = report(evaluation).tasks[0]
    assert first.notes[0] == "24 rows."
    assert "Asked through its chat template: Tiny" in first.notes[1]
    assert "task version 2, 0 examples before each row" in first.notes[2]
    shown = tabs.evaluate._shown(workspace, evaluation)
    assert shown["sets"] == []
    assert shown["rows"]["lines"] == []
    assert shown["tasks"][1]["rows"][0]["values"]["0"][0] == pytest.approx(8 / 12)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # of peft
def test_what_a_run_learnt_is_asked_beside_what_it_began_with(
    lm_eval: Any, workspace: Workspace, folder: Path, tiny_config: Make, tmp_path: Path
) -> None:
    text = {
        **SUMS,
        "task": "text",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{a}}!",
    }
    text["metric_list"] = [{"metric": "bits_per_byte"}]
    text.pop("doc_to_choice")
    (folder / "text.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    run = workspace.new_run("learnt")
    tiny_config(dataset={"source": str(folder / "sums.jsonl")}).save(run.config)
    save(_changed(methods()["lora"]().attach(tiny_model())), run.adapter)
    other = write_rows(workspace.root / "things.jsonl", rows(4))
    both = settings({"run": run.id, "tuned": False}, {"run": run.id}, dataset={"source": other}, tasks=["text"])
    evaluation = begin(workspace, both)
    finish(workspace, evaluation)
    (row,) = report(evaluation).tasks[0].rows
    assert row.higher is False
    trained = load_trained(run, workspace)
    for who, loaded in enumerate((None, (trained.model, trained.tokenizer))):
        told = of_lm_eval(lm_eval, workspace, text, tmp_path / f"{who}", loaded)["results"]["text"]
        assert row.values[who] == (pytest.approx(told["bits_per_byte,none"]), None)
    assert row.values[0] != row.values[1]
    assert len(evaluation.sets[0].said[1]) == 4  # the rows are asked as well


def test_the_first_rows_and_the_examples_are_as_many_as_one_says(
    lm_eval: Any, workspace: Workspace, folder: Path
) -> None:
    asked = settings({"model": "tiny"}, tasks=["sums"], limit=5, num_fewshot=2)
    evaluation = begin(workspace, asked)
    finish(workspace, evaluation)
    assert evaluation.total == evaluation.done == 5
    found = evaluation.scored["sums"][0]
    assert "2 examples" in found.signature
    assert 5 * (found.scores[0].value or 0) == pytest.approx(round(5 * (found.scores[0].value or 0)))


def test_a_task_that_was_asked_is_not_asked_again_and_one_that_is_left_leaves_at_once(
    lm_eval: Any, workspace: Workspace, folder: Path
) -> None:
    asked = settings({"model": "tiny"}, tasks=["sums", "echo"])
    evaluation, told, pulses = begin(workspace, asked), [], 0

    def tell(doing: str, done: float, total: float) -> None:
        told.append((doing, done, total))

    def leave() -> None:
        nonlocal pulses
        pulses += 1
        if told[-1][0].startswith("echo: "):
            raise Left

    with pytest.raises(Left):
        finish(workspace, evaluation, tell, leave)
    before = pulses
    assert [done for doing, done, _ in told if doing.startswith("echo: ")] == [24]  # at the first token
    asked_so_far = [done for doing, done, _ in told if doing.startswith("sums: ")]
    assert len(set(asked_so_far)) > 10
    assert (asked_so_far[0], asked_so_far[-1], told[-1][2]) == (0, 24, 36)
    kept = evaluation.binder.steps.read_bytes()
    found = unfinished(workspace, asked)
    assert found
    assert (found.done, found.total) == (24, 36)
    pulses, told[:] = 0, []
    finish(workspace, found, tell, lambda: None)
    assert not [doing for doing, _, _ in told if doing.startswith("sums: ")]
    assert before > 1
    assert found.binder.steps.read_bytes().startswith(kept)
    assert [(each["scored"], each["task"]) for each in found.binder if "scored" in each] == [(0, "sums"), (0, "echo")]
    assert unfinished(workspace, asked) is None


def test_templates_reach_nothing_beyond_their_row(
    lm_eval: Any, workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    reach = "{{ cycler.__init__.__globals__.os.mkdir('" + str(made) + "') }}"
    (folder / "reach.yaml").write_text(yaml.safe_dump({**SUMS, "task": "reach", "doc_to_text": reach}), "utf-8")
    with pytest.raises(DatasetError, match=r"'reach' cannot be made ready \(SecurityError"):
        finish(workspace, begin(workspace, settings({"model": "tiny"}, tasks=["reach"])))
    assert not made.exists()


def test_the_metrics_that_are_taken_are_lm_evals_own(lm_eval: Any) -> None:
    import lm_eval.api.metrics as _  # noqa: F401 - it registers them  # pyright: ignore[reportMissingImports]
    from lm_eval.api.registry import metric_registry  # pyright: ignore[reportMissingImports]

    assert [name for name in tasks._METRICS if name not in metric_registry] == []


def test_a_task_that_lm_eval_brings_is_known_by_its_name(lm_eval: Any, workspace: Workspace) -> None:
    names = ["hellaswag", "mmlu"]
    assert [(each.name, each.config) for each in find_tasks(names, workspace.tasks)] == [(name, None) for name in names]
    for name in ("no_such_task", "hellaswag/hellaswag.yaml", "../tasks/hellaswag"):
        with pytest.raises(ConfigError, match="There is no task"):
            find_tasks([name], workspace.tasks)


def test_the_command_line_shows_candidates_beside_one_another(
    lm_eval: Any, workspace: Workspace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "evaluate.yaml"
    asked = {"candidates": [{"model": "tiny"}], "tasks": ["sums"], "include_path": str(folder), "limit": 4}
    config.write_text(yaml.safe_dump(asked), encoding="utf-8")
    assert command(workspace, "evaluate", str(config)) == 0
    told = capsys.readouterr().out
    assert "sums (lm-eval): 4 rows." in told
    assert any("acc (none)" in line and "±" in line for line in told.splitlines())
    assert command(workspace, "evaluate", str(config), "--json") == 0
    (first,) = json.loads(capsys.readouterr().out)["tasks"]
    assert [row["metric"] for row in first["rows"]] == ["acc", "acc_norm"]


# -- what needs no lm-eval ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "line", "problem"),
    [
        ("process_docs: !function utils.docs", 2, "the tag !function"),
        ("metric_list: [{metric: !function utils.mine}]", 2, "the tag !function"),
        ("description: !!python/object/apply:os.getcwd []", 2, "the tag !!python"),
        ("dataset_kwargs:\n  trust_remote_code: true", 3, "'trust_remote_code' is not taken in dataset_kwargs"),
        ("dataset_kwargs:\n  data_files: ../secret.jsonl", 3, "no file within"),
        ("dataset_kwargs: {data_files: {test: 'https://example.org/x.jsonl'}}", 2, "no file within"),
        ("generation_kwargs:\n  custom_generate: ./code", 3, "'custom_generate' is not taken in generation_kwargs"),
        ("unsafe_code: true", 2, "run programs that models write"),
        ("class: mine.Task", 2, "'class' is not taken"),
        ("custom_dataset: mine.rows", 2, "'custom_dataset' is not taken"),
        ("use_prompt: ./prompts.yaml:one", 2, "'use_prompt' is not taken"),
        ("metric_list: [{metric: ./mine.py}]", 2, "no metric of lm-eval's own"),
        ("metric_list: [{metric: acc, hf_evaluate: true}]", 2, "no metric of lm-eval's own"),
        ("repeats: }", 2, "expected"),
    ],
)
def test_a_file_that_could_run_code_or_reads_elsewhere_is_refused_by_its_line(
    folder: Path, added: str, line: int, problem: str
) -> None:
    (folder.parent / "secret.jsonl").write_text("{}\n", encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(f"task: mine\n{added}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as refused:
        find_tasks(["mine"], folder)
    assert f"{path}, line {line}: " in str(refused.value)
    # What it includes is read the same way.
    path.rename(folder / "part.yaml")
    (folder / "whole.yaml").write_text("task: whole\ninclude: part.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as refused:
        find_tasks(["whole"], folder)
    assert f"{folder / 'part.yaml'}, line {line}: " in str(refused.value)


def test_a_file_includes_others_of_its_folder_alone(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "base.yaml").write_text("description: Add up.\nnum_fewshot: 3\n", encoding="utf-8")
    child = {**SUMS, "task": "child", "include": "inner/base.yaml", "num_fewshot": 1}
    (folder / "child.yaml").write_text(yaml.safe_dump(child), encoding="utf-8")
    (task,) = find_tasks(["child"], folder)
    assert task.config
    assert (task.config["description"], task.config["num_fewshot"]) == ("Add up.", 1)
    assert task.config["dataset_kwargs"]["data_files"] == {"test": str(folder / "sums.jsonl")}
    (folder.parent / "outside.yaml").write_text("description: no\n", encoding="utf-8")
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")
    for include, problem in (("../outside.yaml", "outside"), ("link.yaml", "outside"), ("child.yaml", "itself")):
        (folder / "child.yaml").write_text(yaml.safe_dump({**child, "include": include}), encoding="utf-8")
        with pytest.raises(ConfigError, match=problem):
            find_tasks(["child"], folder)


def test_what_a_file_makes_of_much_by_little_is_refused(folder: Path) -> None:
    lines = ["task: mine", "description:", "- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (folder / "mine.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match="it holds too much"):
        find_tasks(["mine"], folder)


def test_a_task_is_named_once_and_its_rows_lie_in_files(folder: Path) -> None:
    (folder / "bare.yaml").write_text("task: bare\ndataset_path: someone/rows\n", encoding="utf-8")
    refused = {("sums", "sums"): "named twice", ("bare",): "not said to lie in files", ("gone",): "There is no task"}
    for names, problem in refused.items():
        with pytest.raises(ConfigError, match=problem):
            find_tasks(names, folder)
    (folder / "twin.yml").write_text(yaml.safe_dump(SUMS), encoding="utf-8")
    with pytest.raises(ConfigError, match="stands in"):
        find_tasks(["sums"], folder)


def test_where_lm_eval_is_missing_the_field_says_so_and_nothing_is_begun(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.evaluate, "installed", lambda: False)
    monkeypatch.setattr(tabs.evaluate, "installed", lambda: False)
    with pytest.raises(ConfigError, match=r"lm-eval is not installed .* pip install 'finetune-studio\[lm-eval\]'"):
        begin(workspace, settings({"model": "tiny"}, tasks=["sums"]))
    assert not list(workspace.evaluations.glob("*"))
    with gr.Blocks():
        group = tabs.evaluate._group()
    field: Any = group.widgets["tasks"]
    assert not field.interactive
    assert "not installed" in field.info
    assert EvaluationSettings.parse({**group.parse([each.value for each in group.components()])}).tasks == ()  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(studio.evaluate, "installed", lambda: True)
    monkeypatch.setattr(studio.evaluation.harness, "installed", lambda: False)
    with pytest.raises(ConfigError, match="lm-eval is not installed"):
        finish(workspace, begin(workspace, settings({"model": "tiny"}, tasks=["sums"])))
    monkeypatch.setattr(tabs.evaluate, "installed", lambda: True)
    with gr.Blocks():
        names = tabs.evaluate._group().widgets
    assert {"tasks", "include_path", "num_fewshot", "limit"} <= set(names)


def test_a_page_that_others_reach_takes_no_folder_by_name(workspace: Workspace) -> None:
    asked = EvaluationSettings.parse({"candidates": [{"model": "tiny"}], "tasks": ["sums"], "include_path": "/etc"})
    page: Any = SimpleNamespace(alone=False, workspace=workspace)
    with pytest.raises(ConfigError, match="open to others"):
        tabs.evaluate._begin(page, asked)
    assert not list(workspace.evaluations.glob("*"))


def test_rows_that_changed_since_are_refused(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.evaluate, "installed", lambda: True)
    evaluation = begin(workspace, settings({"model": "tiny"}, tasks=["sums"]))
    (folder / "sums.yaml").write_text("task: sums\n", encoding="utf-8")  # that is kept as it was
    (task,) = look_up(workspace, evaluation.binder.name).tasks
    task.check()
    assert task.config
    assert task.config["doc_to_text"] == SUMS["doc_to_text"]
    write_rows(folder / "sums.jsonl", [{"a": 1}])
    with pytest.raises(ConfigError, match=r"sums.jsonl has changed since this evaluation began"):
        task.check()


def test_a_run_that_names_labels_is_not_asked_and_that_is_said(
    workspace: Workspace, folder: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.evaluate, "installed", lambda: True)
    told = [{"text": f"{word} and {place}", "label": word} for place in range(12) for word in ("up", "down")]
    source = write_rows(workspace.root / "labels.jsonl", told)
    run = workspace.new_run("labels")
    objective = {"name": "classify", "max_length": 64}
    tiny_config(dataset={"source": source, "validation_share": 0.5}, objective=objective).save(run.config)
    torch.manual_seed(0)
    model = methods()["lora"]().attach(tiny_model().model)
    save(Headed(model, [Head("label", "classes", ("down", "up"))]), run.adapter)
    with pytest.raises(ConfigError, match="What names labels cannot be asked"):
        begin(workspace, settings({"run": run.id}, tasks=["sums"]))
    both = begin(workspace, settings({"run": run.id}, {"model": "tiny"}, tasks=["sums"]))
    without = begin(workspace, settings({"run": run.id}, {"model": "tiny"}))
    assert (both.unscored(0), both.unscored(1)) == ([], ["sums"])
    assert both.total == without.total + 1  # it is not known yet how many rows it has
    (first,) = report(both).tasks
    assert [each for each in first.notes if "names labels, so it cannot be asked" in each]


def test_it_can_be_left_at_each_row_that_is_made_ready_and_each_token_that_is_written() -> None:
    model, told = tiny_model(), []
    lm = SimpleNamespace(apply_chat_template=lambda each: each, tok_encode=len)
    with _pulsing(lm, model, lambda: told.append("")):
        assert (lm.apply_chat_template("a"), lm.tok_encode("ab"), len(told)) == ("a", 2, 2)
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, min_new_tokens=3, do_sample=False, pad_token_id=0)
    assert len(told) == 2 + 3
    model(torch.tensor([[5]]))
    assert len(told) == 2 + 3  # it is as it was


def test_a_table_has_a_column_for_each_and_a_gap_where_there_is_nothing() -> None:
    one = Result(
        [Score("sums", "acc", "none", 0.5, 0.1, True), Score("sums", "ppl", "none", None, None, False)], True, "s"
    )
    other = Result([Score("sums", "acc", "none", 0.75, None, True)], False, "s")
    found = table("sums", 4, ["One", "Two"], {0: one, 1: other}, [])
    assert [(each.metric, each.values) for each in found.rows] == [
        ("acc", {0: (0.5, 0.1), 1: (0.75, None)}),
        ("ppl", {0: (None, None)}),
    ]
    assert found.notes == ["4 rows.", "Asked through its chat template: One.", "Asked in plain text: Two.", "s."]
