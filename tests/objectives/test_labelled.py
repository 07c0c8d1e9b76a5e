"""Classification and multi-task runs on tiny real models, from preflight to what a saved run answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.adapter import attach_saved
from studio.config import RunConfig
from studio.data.labels import Head
from studio.errors import ConfigError, DatasetError, ModelError, StudioError
from studio.events import EvalDone, LabelsScored, Note, StepDone
from studio.jobs import Jobs, create_run
from studio.methods import methods
from studio.models.base import load, placement
from studio.models.catalog import locate
from studio.models.heads import predict
from studio.models.tiny import tiny_tokenizer
from studio.preflight import check
from studio.store import Store, wait_for_end
from studio.training.classifying import head_loss
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
    training = {"max_steps": steps, "eval_steps": 15, "learning_rate": 0.02, "per_device_train_batch_size": 12}
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
    others = 12 * (step["loss_loud"] + 0.5 * step["loss_tags"])
    wanted = [(n * 2 * step["loss_animal"] + others) / (24 + n) for n in range(13)]  # n of 12 rows name an animal
    assert any(step["loss"] == pytest.approx(each, rel=1e-4) for each in wanted)
    assert {"eval_accuracy_animal", "eval_f1_tags", "eval_mae_loud"} <= last.keys()
    (result,) = of(LabelsScored, events)
    assert [(head["name"], head["kind"]) for head in result.heads] == [
        ("animal", "classes"), ("loud", "number"), ("tags", "labels"),
    ]  # fmt: skip
    held_out = result.heads[1]["rows"]
    assert held_out == 12 > result.heads[0]["rows"]
    weighted = sum(
        weight * last[f"eval_loss_{head['name']}"] * head["rows"]
        for weight, head in zip((2, 1, 0.5), result.heads, strict=True)
    )
    assert last["eval_loss"] == pytest.approx(weighted / sum(head["rows"] for head in result.heads), rel=1e-4)


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


@pytest.mark.parametrize(
    ("objective", "change", "kind", "said"),
    [
        ({"name": "classify"}, {"animal": "cat"}, DatasetError, "nothing to tell apart"),
        ({"name": "classify", "label_column": "mood"}, {}, ConfigError, "'mood' is not a label column"),
        ({"name": "classify", "kind": "number"}, {}, DatasetError, "to be learnt as numbers but holds 'cat'"),
        ({"name": "multitask", "weights": "animal=much"}, {}, ConfigError, "cannot be read at 'animal=much'"),
        ({"name": "multitask", "weights": "mood=2"}, {}, ConfigError, "names 'mood'"),
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


def test_losses_of_heads() -> None:
    classes = Head("x", "classes", ("a", "b"), balance=(0.5, 2.0))
    output = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert float(head_loss(classes, output, torch.tensor([[0.0], [1.0]]))) == pytest.approx(2.5 * 0.693147)
    labels = Head("x", "labels", ("a", "b"))
    assert float(head_loss(labels, output, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))) == pytest.approx(2 * 0.693147)
    number = Head("x", "number", scale=9.0)
    assert float(head_loss(number, torch.tensor([[1.0]]), torch.tensor([[4.0]]))) == pytest.approx(4.5)
