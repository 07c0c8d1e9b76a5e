"""Runs that learn from judged answers, on tiny real models: from preflight to what a saved reward model scores."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import RunConfig
from studio.data.library import divided, open_source
from studio.errors import ConfigError, DatasetError
from studio.evaluation.preferences import judged
from studio.events import EvalDone, Failed, PreferencesScored, StepDone
from studio.job import Job
from studio.jobs import create_run
from studio.methods.freeze import Freeze
from studio.methods.lora import Lora
from studio.models.base import load, placement
from studio.models.catalog import locate
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.objectives import objectives
from studio.preflight import check
from studio.preparation import Rest
from studio.rewards import Answered, Tools
from studio.rewards.learned import Learned
from studio.store import Store
from studio.trained import load_trained
from studio.training.callbacks import EventCallback
from studio.training.route import Padded, SideBySide
from studio.training.settings import TrainingSettings
from studio.training.trainer import arguments
from studio.worker import execute
from studio.workspace import RunFolder, Workspace
from tabs._result import result

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

Make = Callable[..., RunConfig]
KINDS = ("dpo", "kto", "reward_model")
RATES = {"dpo": 0.003, "kto": 0.01, "reward_model": 0.003}


def rows(kind: str, count: int = 40) -> list[dict[str, Any]]:
    """Questions to which a is liked and z is not; some answers are longer than others."""
    good, bad = ("a" * (3 + i % 4) for i in range(count)), ("z" * (3 + i % 3) for i in range(count))
    if kind != "kto":
        pairs = zip(good, bad, strict=True)
        return [{"prompt": f"say {i}", "chosen": a, "rejected": z} for i, (a, z) in enumerate(pairs)]
    return [
        {"prompt": f"say {i}", "completion": a if i % 2 else z, "label": bool(i % 2)}
        for i, (a, z) in enumerate(zip(good, bad, strict=True))
    ]


@pytest.fixture
def make(tmp_path: Path, tiny_config: Make) -> Callable[..., RunConfig]:
    """A config that learns from such rows."""

    def config(
        kind: str, data: list[dict[str, Any]] | None = None, objective: Any = None, **training: Any
    ) -> RunConfig:
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("\n".join(map(json.dumps, data if data is not None else rows(kind))), encoding="utf-8")
        values = tiny_config(
            dataset={"source": str(path), "validation_share": 0.25},
            method={"name": "lora", "r": 4, "lora_dropout": 0.2},
            training={
                "max_steps": 12,
                "eval_steps": 6,
                "per_device_train_batch_size": 4,
                "learning_rate": RATES[kind],
                "dtype": "float32",
                "answer_rows": 0,
                "sample_rows": 0,
                **training,
            },
        ).to_dict()
        return RunConfig.parse(values | {"objective": {"name": kind, "max_length": 64, **(objective or {})}})

    return config


def of(kind: type[Any], folder: RunFolder) -> list[Any]:
    return [event for event in folder.events.read_from()[0] if isinstance(event, kind)]


def ran(config: RunConfig, workspace: Workspace) -> RunFolder:
    """A run from preflight to its end, in this process."""
    folder = create_run(workspace, check(config, workspace))
    execute(folder, workspace)
    assert not of(Failed, folder), of(Failed, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_liked_becomes_likelier_or_scores_higher(kind: str, make: Any, workspace: Workspace) -> None:
    folder = ran(make(kind), workspace)
    scored = of(EvalDone, folder)
    first, last = scored[0].metrics, scored[-1].metrics
    assert [event.step for event in scored] == [0, 6, 12]
    assert last["eval_loss"] < first["eval_loss"]
    assert last["eval_reward_accuracy"] > 0.9
    assert last["eval_rewards_chosen"] > last["eval_rewards_rejected"]
    step = of(StepDone, folder)[0].metrics
    assert {"rewards_chosen", "rewards_rejected", "reward_accuracy"} <= step.keys()
    if kind == "dpo":
        assert step["loss"] == pytest.approx(math.log(2), abs=1e-4)  # that of a coin
    if kind != "reward_model":  # before the first update the model is the reference
        assert step["reward_accuracy"] == 0.5
        assert step["kl"] == first["eval_kl"] == 0 < last["eval_kl"]
        assert last["eval_logps_chosen"] - last["eval_logps_rejected"] > (
            first["eval_logps_chosen"] - first["eval_logps_rejected"]
        )


def told(folder: RunFolder) -> tuple[list[Any], list[Any]]:
    steps = [(e.step, e.metrics["loss"], e.metrics["grad_norm"], e.tokens) for e in of(StepDone, folder)]
    return steps, [(e.step, e.metrics["eval_loss"]) for e in of(EvalDone, folder)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pause_changes_nothing(kind: str, make: Any, workspace: Workspace) -> None:
    config = check(make(kind, max_steps=5, gradient_accumulation_steps=2, eval_steps=3, eval_rows=4), workspace)
    whole, paused = create_run(workspace, config), create_run(workspace, config)
    Job(whole, workspace).run()

    def pause() -> None:
        while not of(StepDone, paused):
            time.sleep(0.001)
        paused.pause_flag.touch()

    waiting = threading.Thread(target=pause)
    waiting.start()
    with pytest.raises(Rest):
        Job(paused, workspace).run()
    waiting.join()
    assert 0 < len(told(paused)[0]) < 5
    paused.pause_flag.unlink()
    Job(paused, workspace).run()
    assert told(paused) == told(whole)
    saved = [(each.adapter / "adapter_model.safetensors").read_bytes() for each in (paused, whole)]
    assert saved[0] == saved[1]


@pytest.mark.parametrize("kind", KINDS)
def test_padded_rows_teach_the_same(kind: str, tmp_path: Path, make: Any) -> None:
    """Losses and gradients of a batch, side by side and one below the other; nothing is left to chance."""
    found = []
    for route in (SideBySide, Padded):
        trainer = trainer_of(make(kind), tmp_path)
        trainer.route = route(getattr(trainer.model, "backbone", trainer.model), None)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
        with trainer.route.running():
            loss, items = trainer.summed_loss(batch)
            loss.backward()
        assert items == 5
        found.append((loss.detach(), [w.grad for w in trainer.model.parameters() if w.requires_grad]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def prepared_of(config: RunConfig, folder: Path) -> Any:
    opened = open_source(config.dataset.source, Workspace(folder / "there").create(), None, "")
    sides = divided(opened, (0.0, 0.0), 0, "random", "")
    return config.objective.prepare(sides.train, None, opened.mapping, tiny_tokenizer(), lambda *_: None)


def trainer_of(config: RunConfig, folder: Path) -> Any:
    torch.manual_seed(0)
    prepared = prepared_of(config, folder)
    base = tiny_model() if config.objective.writes else tiny_model().model
    method = Lora(r=4, lora_dropout=0.5 if config.objective.writes else 0.0)  # of what is compared nothing is dropped
    model = config.objective.assemble(method.attach(base), prepared).train()
    for name, weight in model.named_parameters():
        if "lora_B" in name or "heads" in name:  # they start at zero
            torch.nn.init.normal_(weight, std=0.05)
    training = TrainingSettings.parse({"max_steps": 1, "learning_rate": 1e-3})
    return config.objective.trainer()(
        model=model,
        tokenizer=tiny_tokenizer(),
        prepared=prepared,
        method=method,
        training=training,
        listener=EventCallback(RunFolder(folder)),
        arguments=arguments(training, rows=10, held_out=0, device="cpu", seed=0, output_dir=str(folder)),
    )


def test_an_update_weighs_each_pair_alike_however_it_is_cut(make: Any, workspace: Workspace) -> None:
    """Batches of 1 and 4 accumulate to the same update as one of 4."""
    cut = [{"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size} for size in (4, 1)]
    whole, parts = (ran(make("dpo", max_steps=2, **sizes), workspace) for sizes in cut)
    for one, other in zip(told(whole)[0], told(parts)[0], strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_a_reward_model_says_how_good_it_is_and_scores_answers(make: Any, workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="'' is no run here that learnt one"):
        Learned().check(workspace)
    config = check(make("reward_model"), workspace)
    folder = create_run(workspace, config)
    with pytest.raises(ConfigError, match="has saved nothing yet"):
        Learned(run=folder.id).check(workspace)
    execute(folder, workspace)
    (scored,) = of(PreferencesScored, folder)
    assert scored.rows == sum(scored.counts) == sum(each["rows"] for each in scored.calibration) == 10
    assert scored.low < scored.accuracy <= scored.high <= 1.0
    state = Store(workspace).state(folder.id)
    assert not state.talks  # the chat has no use for it
    shown = result(state)
    assert shown
    assert "of 10 held-out pairs" in shown["preferences"]["sentence"]
    assert shown["headlines"][0]["what"] == "Right preferences"

    score = Learned(run=folder.id).scorer(Tools(workspace))
    liked, disliked, empty = score([Answered("say 7", answer) for answer in ("aaaa", "zzzz", "")])
    assert liked > disliked
    assert liked != empty
    assert score([Answered("say 7", "zzzz"), Answered("say something else", "a")])[0] == pytest.approx(
        disliked, abs=1e-5
    )
    assert score([]) == []
    long = "x" * 100  # longer than the reward model reads: of the prompt its end counts, of the answer all
    assert score([Answered(long, "aaaa"), Answered(long, "zzzz")]) == pytest.approx(
        score([Answered("y" + long, "aaaa"), Answered("y" + long, "zzzz")]), abs=1e-5
    )
    assert score([Answered(long, "aaaa")])[0] > score([Answered(long, "zzzz")])[0]


def test_a_reward_model_reads_the_weights_that_the_policy_has_in_memory(make: Any, workspace: Workspace) -> None:
    folder = ran(make("reward_model", max_steps=2), workspace)
    asked = [Answered("say 7", "aaaa"), Answered("say 7", "z")]
    alone = Learned(run=folder.id).scorer(Tools(workspace))(asked)
    policy = Lora(r=4).attach(load(locate("tiny", workspace.models, lambda *_: None), placement("float32")).model)
    learns = [name for name, weight in policy.named_parameters() if weight.requires_grad]
    ids = torch.arange(12)[None]
    before = policy(input_ids=ids).logits
    beside = load_trained(folder, workspace, beside=policy).model
    assert beside.get_input_embeddings().weight is policy.get_input_embeddings().weight
    assert Learned(run=folder.id).scorer(Tools(workspace, policy))(asked) == pytest.approx(alone, abs=1e-6)
    assert torch.equal(policy(input_ids=ids).logits, before)
    assert [name for name, weight in policy.named_parameters() if weight.requires_grad] == learns

    own = Freeze().attach(load(locate("tiny", workspace.models, lambda *_: None), placement("float32")).model)
    apart = load_trained(folder, workspace, beside=own).model  # a base that learns is no base for another
    assert apart.get_input_embeddings().weight is not own.get_input_embeddings().weight


def test_margins_are_counted_and_sureness_held_against_what_was_right() -> None:
    found = judged([2.0, 2.0, -2.0, 2.0, 0.1, 0.0])
    assert found.accuracy == (4 + 0.5) / 6
    assert sum(found.counts) == 6
    assert 0.0 in found.edges
    assert sum(count for edge, count in zip(found.edges, found.counts, strict=False) if edge < 0) == 1
    unsure, sure = found.calibration
    assert (unsure["rows"], sure["rows"]) == (2, 4)
    assert sure["right"] == 0.75
    assert sure["sure"] == pytest.approx(0.8808, abs=1e-4)
    assert found.calibration_error == pytest.approx((4 * (0.8808 - 0.75) + 2 * (0.75 - 0.5125)) / 6, abs=1e-3)


def test_pairs_that_all_tie_are_still_drawn() -> None:
    found = judged([0.0, 0.0])
    assert (found.accuracy, sum(found.counts)) == (0.5, 2)


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("dpo", [{"prompt": "a", "completion": "b"}] * 4, "holds 'prompt_completion' data"),
        ("reward_model", [{"prompt": "a", "chosen": "b"}] * 4, "no columns that are known"),
        ("kto", [{"prompt": "a", "completion": str(i), "label": True} for i in range(4)], "All answers are good ones"),
        ("kto", [{"prompt": "a", "completion": "b", "label": "perhaps"}] * 4, "perhaps|cannot learn from"),
    ],
)
def test_rows_that_teach_nothing_are_refused_before_anything_starts(
    kind: str, data: list[dict[str, Any]], sentence: str, make: Any, workspace: Workspace
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        check(make(kind, data), workspace)


def test_prompts_that_fill_the_cut_off_end_a_run_in_a_sentence(make: Any, workspace: Workspace) -> None:
    folder = create_run(workspace, check(make("dpo", objective={"max_length": 16}), workspace))
    execute(folder, workspace)
    (failed,) = of(Failed, folder)
    assert "longer than the cut-off of 16 tokens" in failed.problem


def test_uneven_judgements_are_told_with_the_weight_that_evens_them(make: Any, tmp_path: Path) -> None:
    data = [{**row, "label": i % 4 == 0} for i, row in enumerate(rows("kto"))]
    (note,) = prepared_of(make("kto", data), tmp_path).notes
    assert "'Weight of good answers' at 3 and the other at 1" in note
    assert not prepared_of(make("kto", data, {"desirable_weight": 3}), tmp_path).notes


def test_all_three_are_offered() -> None:
    assert set(KINDS) <= objectives().keys()
