"""Classification and multi-task runs on tiny real models, from preflight to what a saved run answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from studio.adapter import attach_saved
from studio.config import RunConfig
from studio.data.labels import Head, Labelled, count, read_cell, settle, target
from studio.data.tokens import Report
from studio.errors import ConfigError, DatasetError, ModelError, StudioError
from studio.evaluation.labelling import _named
from studio.events import EvalDone, Failed, LabelsScored, Note, Phase, StepDone
from studio.jobs import Jobs, create_run
from studio.methods import methods
from studio.models.base import load, placement
from studio.models.catalog import locate
from studio.models.heads import Headed, predict
from studio.models.tiny import tiny_tokenizer
from studio.objectives import objectives
from studio.objectives._labelled import LabelObjective, PreparedLabels
from studio.objectives.classify import Classify
from studio.preflight import check
from studio.store import Store, wait_for_end
from studio.training.classifying import HeadTrainer, head_loss, right_answers
from studio.training.settings import TrainingSettings
from studio.training.trainer import arguments
from studio.worker import execute
from studio.workspace import Workspace
from tests.models.test_heads import tiny_bert

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

Make = Callable[..., RunConfig]
SOUNDS = {"cat": "miau miau", "cow": "mooo mooo", "bee": "zzzz zzzz"}


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A BERT of a few thousand weights with a byte tokenizer, as a folder."""
    folder = tmp_path / "encoder"
    tiny_bert().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Callable[[list[dict[str, Any]]], str]:
    def write(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "labelled.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return str(path)

    return write


def sounds(count: int = 48) -> list[dict[str, Any]]:
    """Texts whose labels can be heard: an animal, how loud it is, what it does."""
    rows = []
    for i in range(count):
        animal = list(SOUNDS)[i % 3]
        loud = i // 3 % 2
        text = SOUNDS[animal].upper() if loud else SOUNDS[animal]
        rows.append({"text": f"{text} {i}", "animal": animal, "loud": loud + 0.25, "tags": ["loud"] * loud + [animal]})
    return rows


def config_for(make: Make, source: str, objective: dict[str, Any], steps: int = 30, **changes: Any) -> RunConfig:
    columns = {"text": "text", "label": "animal", "label_2": "loud", "label_3": "tags"}
    dataset = {"source": source, "validation_share": 0.25, "format": "labelled", "columns": columns}
    training = {"max_steps": steps, "eval_steps": 15, "learning_rate": 0.006, "per_device_train_batch_size": 12}
    values = make(dataset=dataset, training=training, **changes).to_dict()
    values["training"]["dtype"] = "float32"
    return RunConfig.parse(values | {"objective": objective})


def ran(config: RunConfig, workspace: Workspace) -> tuple[list[Any], Path]:
    """The events of a run in this process, and its adapter's folder."""
    folder = create_run(workspace, check(config, workspace))
    execute(folder, workspace)
    state = Store(workspace).state(folder.id)
    assert state.status == "done", state.problem
    return folder.events.read_from()[0], folder.adapter


def of(kind: type[Any], events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_an_encoder_learns_classes_and_a_saved_run_names_them(
    workspace: Workspace, encoder: Path, labelled: Any, tiny_config: Make
) -> None:
    config = config_for(tiny_config, labelled(sounds()), {"name": "classify"}, model=str(encoder))
    events, adapter = ran(config, workspace)
    scored = of(EvalDone, events)
    assert [event.step for event in scored] == [0, 15, 30]
    assert scored[-1].metrics["eval_f1"] > 0.9 > scored[0].metrics["eval_f1"]
    assert scored[-1].metrics["eval_loss"] < scored[0].metrics["eval_loss"]
    (result,) = of(LabelsScored, events)
    (head,) = result.heads
    assert (head["name"], head["kind"], head["labels"]) == ("animal", "classes", ["bee", "cat", "cow"])
    assert head["metrics"]["accuracy"] > 0.9 > head["baseline"]["accuracy"]
    assert sum(map(sum, head["confusion"])) == head["rows"] == 12
    assert [sum(row) for row in head["confusion"]] == [each["rows"] for each in head["per_label"]]
    assert len(result.examples) == 12
    assert result.examples[0].keys() == {"text", "head", "right", "predicted", "probability"}

    loaded = load(locate(str(encoder), workspace.models, lambda *_: None), placement("float32"), writes=False)
    said = predict(attach_saved(loaded.model, adapter), loaded.tokenizer, ["ZZZZ", "mooo mooo 7"], 64)
    likeliest = [max(dict(each["animal"]).items(), key=lambda pair: pair[1])[0] for each in said]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert likeliest == ["bee", "cow"]


def test_several_columns_are_learnt_at_once_each_with_its_curves(
    jobs: Jobs, workspace: Workspace, labelled: Any, tiny_config: Make
) -> None:
    rows = sounds()
    for row in rows[::5]:
        row["animal"] = None  # such rows count for the others only
    objective = {"name": "multitask", "weights": "animal=2, tags=0.5"}
    run_id = jobs.submit(config_for(tiny_config, labelled(rows), objective))
    state = wait_for_end(jobs.store, run_id, 120)
    assert state.status == "done", state.problem
    events = workspace.run(run_id).events.read_from()[0]
    first, last = (of(EvalDone, events)[i].metrics for i in (0, -1))
    for column in ("animal", "loud", "tags"):
        assert last[f"eval_loss_{column}"] < first[f"eval_loss_{column}"]
        assert f"loss_{column}" in of(StepDone, events)[0].metrics
    step = of(StepDone, events)[0].metrics
    weighted = 2 * step["loss_animal"] + step["loss_loud"] + 0.5 * step["loss_tags"]
    assert step["loss"] == pytest.approx(weighted / 3.5, rel=1e-4)  # however many of the rows name an animal
    assert {"eval_accuracy_animal", "eval_f1_tags", "eval_mae_loud"} <= last.keys()
    (result,) = of(LabelsScored, events)
    assert [(head["name"], head["kind"]) for head in result.heads] == [
        ("animal", "classes"), ("loud", "number"), ("tags", "labels"),
    ]  # fmt: skip
    held_out = result.heads[1]["rows"]
    assert held_out == 12 > result.heads[0]["rows"]
    weighted = sum(
        weight * last[f"eval_loss_{head['name']}"] for weight, head in zip((2, 1, 0.5), result.heads, strict=True)
    )
    assert last["eval_loss"] == pytest.approx(weighted / 3.5, rel=1e-4)


def test_held_out_labels_that_training_lacks_are_left_out_and_said(
    workspace: Workspace, encoder: Path, labelled: Any, tiny_config: Make
) -> None:
    rows = sounds(30)
    rows[0]["animal"] = "unicorn"
    base = config_for(tiny_config, labelled(rows), {"name": "classify"}, steps=1, model=str(encoder))
    seeds = (base.model_copy(update={"seed": seed}) for seed in range(20))
    config = next(each for each in seeds if "unicorn" in held_out_labels(each, workspace))
    events, _ = ran(config, workspace)
    assert any("no training row has" in note.text for note in of(Note, events))
    (head,) = of(LabelsScored, events)[0].heads
    assert "unicorn" not in head["labels"]
    assert head["rows"] == len(held_out_labels(config, workspace)) - 1


def held_out_labels(config: RunConfig, workspace: Workspace) -> list[str]:
    from studio.data.library import divided, open_source

    chosen = config.dataset
    opened = open_source(chosen.source, workspace, chosen.mapping())
    held_out = divided(opened, (chosen.validation_share, 0.0), config.seed).validation
    return [row["animal"] for row in held_out.rows] if held_out else []


def test_a_class_that_is_wholly_held_out_ends_the_run_before_the_model_is_loaded(
    workspace: Workspace, encoder: Path, labelled: Any, tiny_config: Make
) -> None:
    rows = sounds(20)
    for i, row in enumerate(rows):
        row["animal"] = "cat" if i else "unicorn"
    base = config_for(tiny_config, labelled(rows), {"name": "classify"}, steps=1, model=str(encoder))
    seeds = (base.model_copy(update={"seed": seed}) for seed in range(40))
    config = next(each for each in seeds if "unicorn" in held_out_labels(each, workspace))
    folder = create_run(workspace, check(config, workspace))
    execute(folder, workspace)
    events = folder.events.read_from()[0]
    (failed,) = of(Failed, events)
    assert failed.problem.startswith("Once rows are held out")
    assert "'stratified' and 'Column to split by' to 'animal'" in failed.remedy
    assert not any(phase.name.startswith("Loading") for phase in of(Phase, events))
    stratified = {"split": "stratified", "split_column": "animal"}
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update=stratified)})
    assert of(LabelsScored, ran(config, workspace)[0])  # as the remedy says


@pytest.mark.parametrize(
    ("objective", "change", "kind", "said"),
    [
        ({"name": "classify"}, {"animal": "cat"}, DatasetError, "nothing to tell apart"),
        ({"name": "classify", "label_column": "mood"}, {}, ConfigError, "'mood' is not a label column"),
        ({"name": "classify", "kind": "number"}, {}, DatasetError, "to be learnt as numbers but holds 'cat'"),
        ({"name": "multitask", "weights": "animal=much"}, {}, ConfigError, "cannot be read at 'animal=much'"),
        ({"name": "multitask", "weights": "mood=2"}, {}, ConfigError, "names 'mood'"),
        ({"name": "multitask", "classes": "mood"}, {}, ConfigError, "'Columns with classes' names 'mood'"),
        ({"name": "multitask", "numbers": "tags"}, {}, DatasetError, "column 'tags' is to be learnt as numbers"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_anything_starts(
    objective: dict[str, Any],
    change: dict[str, Any],
    kind: type[StudioError],
    said: str,
    workspace: Workspace,
    labelled: Any,
    tiny_config: Make,
) -> None:
    source = labelled([row | change for row in sounds()])
    with pytest.raises(kind, match=said) as caught:
        check(config_for(tiny_config, source, objective), workspace)
    assert caught.value.remedy


def test_a_column_of_floats_and_words_is_refused(workspace: Workspace, labelled: Any, tiny_config: Make) -> None:
    rows = [{"text": f"t{i}", "animal": 1.5 if i % 2 else "cat", "loud": 1, "tags": ["x"]} for i in range(8)]
    with pytest.raises(DatasetError, match="mix numbers and words"):
        check(config_for(tiny_config, labelled(rows), {"name": "classify"}), workspace)


def test_one_label_column_is_no_multitask(workspace: Workspace, labelled: Any, tiny_config: Make) -> None:
    config = config_for(tiny_config, labelled(sounds()), {"name": "multitask"})
    dataset = config.dataset.model_copy(update={"columns": {"text": "text", "label": "animal"}})
    with pytest.raises(ConfigError, match="Only one label column"):
        check(config.model_copy(update={"dataset": dataset}), workspace)


def test_an_encoder_is_refused_where_text_must_be_written(
    workspace: Workspace, encoder: Path, tiny_config: Make
) -> None:
    for model, said in ((str(encoder), "BertModel, which does not write"), ("minilm", "cannot write")):
        with pytest.raises(ModelError, match=said) as caught:
            check(tiny_config(model=model), workspace)
        assert "Classification" in caught.value.remedy


def test_a_method_that_needs_a_model_that_writes_is_refused(
    workspace: Workspace, labelled: Any, tiny_config: Make
) -> None:
    config = config_for(tiny_config, labelled(sounds()), {"name": "classify"}, method={"name": "lora"})
    for cls in filter(lambda cls: cls.writes_only, methods().values()):
        with pytest.raises(ConfigError, match=f"{cls.title} cannot learn on a model that only reads"):
            check(config.model_copy(update={"method": cls()}), workspace)


def test_a_checkpoint_for_guessing_masked_words_is_read_without_its_own_head(tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    bert = tiny_bert()
    BertForMaskedLM(bert.config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load(locate(str(tmp_path), tmp_path, lambda *_: None), placement("float32"), writes=False)
    assert loaded.parameters == bert.num_parameters()
    assert loaded.tokenizer.model_max_length == 64  # it has no positions beyond


def test_a_column_of_numbers_is_taken_for_classes_where_a_person_says_so() -> None:
    multitask = objectives()["multitask"](classes="area, x", numbers="stars")  # pyright: ignore[reportCallIssue]
    assert isinstance(multitask, LabelObjective)
    kinds = {
        column: multitask.head(column, count([i + 0.5 for i in range(30)] * 9))[0].kind
        for column in ("area", "stars", "size")
    }
    assert kinds == {"area": "classes", "stars": "number", "size": "number"}


def test_the_body_never_learns_slower_than_suits_its_method() -> None:
    for name, cls in methods().items():
        rate = Classify().learning_rate(cls())
        assert cls.learning_rate <= rate <= max(1e-3, cls.learning_rate), name
    assert Classify().learning_rate(methods()["full"]()) <= 3e-4


def test_heads_learn_at_a_rate_of_their_own(tmp_path: Path) -> None:
    trainer = head_trainer(tmp_path, learning_rate=0.1, head_rate=2e-3)
    trainer.create_optimizer()
    rates = {id(each): group["lr"] for group in trainer.optimizer.param_groups for each in group["params"]}
    for name, each in learning(trainer.model).items():
        assert rates[id(each)] == pytest.approx(2e-3 if name.startswith("heads.") else 0.1), name
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1  # the first one's is the run's curve


def test_a_rare_label_column_counts_by_its_weight_and_accumulation_changes_nothing(tmp_path: Path) -> None:
    gradients = []
    for accumulation in (1, 2, 8):
        trainer = head_trainer(tmp_path, size=8 // accumulation, gradient_accumulation_steps=accumulation)
        trainer.add_callback(kept := _Gradients())
        trainer.train()
        gradients.append(kept.found)
        (step,) = [entry for entry in trainer.state.log_history if "loss" in entry]
        assert step["loss"] == pytest.approx((step["loss_often"] + 3 * step["loss_once"]) / 4, rel=1e-4)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-3, atol=1e-6)


class _Gradients(TrainerCallback):
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.found = {name: each.grad.clone() for name, each in learning(kwargs["model"]).items()}


def learning(model: Any) -> dict[str, Any]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def head_trainer(folder: Path, *, size: int = 8, head_rate: float = 1e-3, **changes: Any) -> HeadTrainer:
    """One update over eight rows, of which one has a label of the second head, on a body without dropout."""
    heads = (Head("often", "classes", ("a", "b")), Head("once", "classes", ("c", "d"), weight=3.0))
    rows = [Labelled([65 + i] * (i + 2), [i % 2, 1.0 if i == 5 else math.nan], "", False) for i in range(8)]
    method = methods()["lora"]()
    torch.manual_seed(0)
    model = Headed(method.attach(tiny_bert()), heads)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = TrainingSettings(
        **{"max_steps": 1, "per_device_train_batch_size": size, "learning_rate": 1e-3} | changes
    )
    return HeadTrainer(
        model=model,
        tokenizer=tiny_tokenizer(),
        prepared=PreparedLabels(rows, [], Report(0, 0, 0, 0), heads=heads, head_rate=head_rate),
        training=settings,
        listener=TrainerCallback(),
        method=method,
        arguments=arguments(settings, rows=8, held_out=0, device="cpu", seed=0, output_dir=str(folder)),
    )


def test_a_right_number_is_shown_as_the_cell_holds_it() -> None:
    cells = [0, 3.25, -7.5, 12345, 0.001]
    head, _ = settle("x", count(cells), kind="number")
    targets = torch.tensor([target(head, read_cell(cell), ";") for cell in cells])
    shown = [_named(head, answer) for answer in right_answers(head, targets)]
    assert shown == ["0", "3.2", "-7.5", "12345", "0"]  # of numbers that are thousands apart
    small, _ = settle("x", count([0, 1e-4, 3e-4]), kind="number")
    targets = torch.tensor([target(small, "0.0001", ";"), target(small, "0", ";")])
    assert [_named(small, answer) for answer in right_answers(small, targets)] == ["0.0001", "0"]


def test_balanced_labels_count_one_on_average() -> None:
    cells = [["a"], ["a", "b"], ["a"], []]
    head, _ = settle("x", count(cells), balanced=True)
    targets = torch.tensor([target(head, read_cell(cell), ";") for cell in cells])
    assert float(head_loss(head, torch.zeros(4, 2), targets)) == pytest.approx(4 * math.log(2))
    each = [float(head_loss(head, torch.zeros(1, 2), row[None])) / math.log(2) for row in targets]
    assert each == pytest.approx([(4 / 6 + 4 / 6) / 2, (4 / 6 + 4 / 2) / 2, (4 / 6 + 4 / 6) / 2, (4 / 2 + 4 / 6) / 2])


def test_losses_of_heads() -> None:
    classes = Head("x", "classes", ("a", "b"), balance=(0.5, 2.0))
    output = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert float(head_loss(classes, output, torch.tensor([[0.0], [1.0]]))) == pytest.approx(2.5 * 0.693147)
    labels = Head("x", "labels", ("a", "b"))
    assert float(head_loss(labels, output, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))) == pytest.approx(2 * 0.693147)
    number = Head("x", "number", scale=9.0)
    assert float(head_loss(number, torch.tensor([[1.0]]), torch.tensor([[4.0]]))) == pytest.approx(4.5)
