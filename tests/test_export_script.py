"""The program that a run is written out as: it gives the run's losses, and nothing of a run's words becomes code."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import runpy
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers.normalizers import Replace

from studio.config import RunConfig
from studio.data.library import divided, open_source
from studio.errors import ConfigError, DatasetError
from studio.events import DataReady, Done, ModelReady, StepDone
from studio.exports import Source, _recipe, exports
from studio.exports._written import dpo
from studio.jobs import Jobs, create_run
from studio.methods import methods
from studio.models.structure import Structure
from studio.models.tiny import tiny_tokenizer
from studio.objectives.dpo import Dpo
from studio.preflight import check
from studio.store import wait_for_end
from studio.training.preferences import LOSSES, Pairs
from studio.worker import execute
from studio.workspace import Workspace
from tests.models.test_heads import tiny_bert

APART = 2e-5  # in nats, of losses of about 5: what another order of sums makes of float32


def quiet(*_: Any) -> None:
    pass


@pytest.fixture
def finished(jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> Callable[..., Source]:
    """A run that came to its end, in float32 on the CPU."""

    def run(**changes: Any) -> Source:
        exact = {"dtype": "float32", "answer_rows": 0, "sample_rows": 0, "eval_steps": 2}
        config = tiny_config(**{**changes, "training": {**exact, **changes.get("training", {})}, "method": "lora"})
        method = changes.get("method", {"name": "lora", "r": 4})
        run_id = jobs.submit(RunConfig.parse({**config.to_dict(), "method": method}))
        state = wait_for_end(jobs.store, run_id, timeout=120)
        assert state.status == "done", state.problem
        return Source.of(jobs.workspace, run_id)

    return run


def exported(source: Source, form: str, folder: Path, *, really: bool = False) -> Path:
    """Unpacked. `really`: of a run whose rows were counted, which must be as many as the program's."""
    folder.mkdir(exist_ok=True)
    to = folder / f"{form}.zip"
    chosen = exports()[form]()
    chosen.check(source)
    said = chosen.write(source, to, quiet)
    assert said[0].endswith("as in the run.") or not really
    assert to.stat().st_size <= chosen.room(source)
    with zipfile.ZipFile(to) as archive:
        archive.extractall(folder / form)
    to.unlink()
    return folder / form


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def curves(said: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    return {(name, each["step"]): each[name] for each in said for name in ("loss", "eval_loss") if name in each}


def furthest(folder: Path) -> float:
    """How far the program's losses are from the run's, at most."""
    mine, there = curves(lines(folder / "out" / "losses.jsonl")), curves(lines(folder / "curve.jsonl"))
    assert mine.keys() == there.keys()
    assert len(there) >= 6
    assert all(map(math.isfinite, mine.values()))  # of which `max` would say nothing
    print("APART", max(abs(mine[key] - there[key]) for key in there))
    return max(abs(mine[key] - there[key]) for key in there)


def ran(folder: Path, monkeypatch: pytest.MonkeyPatch, model: str = "") -> float:
    """Run it within this process, which has its libraries already."""
    named = ["--model", model] if model else []
    monkeypatch.setattr(sys, "argv", ["train.py", "--out", str(folder / "out"), *named])
    with warnings.catch_warnings():  # of libraries about one another
        warnings.simplefilter("ignore")
        runpy.run_path(str(folder / "train.py"))
    return furthest(folder)


def libraries(folder: Path) -> set[str]:
    """What the program takes names from."""
    code = ast.parse((folder / "train.py").read_text(encoding="utf-8"))
    used = {node.module or "" for node in ast.walk(code) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in used}


def test_the_script_needs_no_studio_and_gives_the_same_losses(finished: Callable[..., Source], tmp_path: Path) -> None:
    source = finished(training={"max_steps": 12, "gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine"})
    folder = exported(source, "script", tmp_path)
    assert libraries(folder) == {"pathlib", "peft", "torch", "transformers"}
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "train.py"],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert furthest(folder) < APART
    assert "away from the run's, at 12 steps" in done.stdout
    from safetensors.torch import load_file

    mine, there = (load_file(each / "adapter_model.safetensors") for each in (folder / "out", source.folder.adapter))
    assert mine.keys() == there.keys()
    assert all((mine[name] - there[name]).abs().max() < 1e-3 for name in there)


def test_another_rate_another_mask_or_another_order_shows(
    finished: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(finished(), "script", tmp_path)
    assert ran(folder, monkeypatch) < APART
    whole = (folder / "train.py").read_text(encoding="utf-8")
    for right, wrong in [
        ("LEARNING_RATE = 0.01", "LEARNING_RATE = 0.011"),
        ('for start, end in row["learnt"]', 'for start, end in [(0, len(row["text"]))]'),
        ("random.Random(SEED + epoch)", "random.Random(SEED + epoch + 1)"),
        ("set_seed(SEED)", "set_seed(SEED + 1)"),
    ]:
        assert whole.count(right) == 1
        (folder / "train.py").write_text(whole.replace(right, wrong), encoding="utf-8")
        assert ran(folder, monkeypatch) > 10 * APART, wrong


OTHERS: dict[str, dict[str, Any]] = {
    "packed texts": {
        "dataset": {"format": "text", "columns": {"text": "completion"}},
        "objective": {"max_length": 16},  # so that few texts are more blocks than are scored
        "training": {"eval_rows": 3},
    },
    "everything packed": {"objective": {"loss_on": "everything", "max_length": 60}, "method": {"name": "ia3"}},
    "a learnt prompt": {"method": {"name": "prompt", "num_virtual_tokens": 4}},
    "all weights": {"method": {"name": "full"}, "training": {"weight_decay": 0.1, "max_grad_norm": 0}},
    "dora, picked layers": {
        "method": {"name": "dora", "target_modules": "q_proj, layers.0.mlp.down_proj", "rank_pattern": "q_proj=2"},
        "training": {"label_smoothing_factor": 0.1, "gradient_checkpointing": True, "lr_scheduler_type": "constant"},
    },
    "the last answer, another template": {
        "objective": {"loss_on": "last_answer", "chat_template": "plain"},
        "training": {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 2, "optim": "adamw_torch"},
    },
}
QUICK = ("packed texts", "a learnt prompt")  # other text of the program; what else differs is tested below in parts


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]
)
def test_whatever_is_asked_for_the_losses_are_the_same(
    finished: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = finished(**OTHERS[name])
    assert ran(exported(source, "script", tmp_path), monkeypatch) < APART


# -- other objectives ------------------------------------------------------------------------------------

SOUNDS = ("miau miau", "mooo mooo", "zzzz zzzz")
UNREAD = "\N{SNOWMAN}"  # of which the encoder's tokenizer makes nothing


def sounds() -> list[dict[str, Any]]:
    """Texts of unlike length with a label, any number of them, and a number; some lack a label, one what is read."""
    return [
        {
            "text": f"{SOUNDS[i % 3]} {'louder ' * (i % 4)}{i}" if i != 5 else UNREAD,
            "animal": ("cat", "cow", "bee")[i % 3] if i % 11 else "",
            "tags": ["loud"] * (i % 2) + ["long"] * (i % 4 > 2),
            "volume": i % 4 + i / 8,
        }
        for i in range(40)
    ]


def pairs() -> list[dict[str, Any]]:
    """Answers of unlike length to prompts of unlike length; one prompt fills the cut-off."""
    return [
        {"prompt": f"say {'please ' * (i % 5)}{i}", "chosen": "a" * (3 + i % 4), "rejected": "z" * (2 + i % 3)}
        for i in range(40)
    ] + [{"prompt": "say " * 60, "chosen": "a", "rejected": "z"}]


def encoder(folder: Path) -> str:
    """A small BERT that drops nothing out."""
    model = tiny_bert()
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = Replace(UNREAD, "")
    tokenizer.save_pretrained(folder)
    return str(folder)


def learnt(workspace: Workspace, config: RunConfig, rows: list[dict[str, Any]], **changes: Any) -> Source:
    """A run over such rows, from preflight to its end, by the worker's own code within this process."""
    path = workspace.root / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    training = {
        "max_steps": 6, "eval_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "learning_rate": 0.01, "dtype": "float32", "answer_rows": 0, "sample_rows": 0,
    }  # fmt: skip
    values = config.to_dict() | changes
    values["dataset"] = {"source": str(path), "validation_share": 0.25, **changes.get("dataset", {})}
    values["training"] = training | changes.get("training", {})
    folder = create_run(workspace, check(RunConfig.parse(values), workspace))
    execute(folder, workspace)
    source = Source.of(workspace, folder.id)
    assert source.state.status == "done", source.state.problem
    return source


LABELS = {"format": "labelled", "columns": {"text": "text", "label": "animal", "label_2": "tags", "label_3": "volume"}}
OF_OTHERS: dict[str, dict[str, Any]] = {  # with a place of the program that, changed so, gives other losses
    "one label": {
        "rows": sounds,
        "wrong": ("shown.sum(1) - 1]", "shown.sum(1) - 2]"),
        "dataset": LABELS,
        "objective": {"name": "classify", "class_weights": "balanced", "max_length": 20},
        "training": {"label_smoothing_factor": 0.1, "weight_decay": 0.1, "eval_rows": 4},
    },
    "several labels, by an encoder": {
        "rows": sounds,
        "wrong": ("[WEIGHTS, ABSENT]", "[WEIGHTS, WEIGHTS]"),
        "model": encoder,
        "dataset": LABELS,
        "objective": {"name": "classify", "label_column": "tags", "class_weights": "balanced"},
        "training": {"label_smoothing_factor": 0.1},
    },
    "a number, all weights": {
        "rows": sounds,
        "wrong": ('"rate": HEAD_LEARNING_RATE', '"rate": LEARNING_RATE'),
        "dataset": LABELS,
        "objective": {"name": "classify", "label_column": "volume"},
        "method": {"name": "full"},
    },
    "a reward model": {
        "rows": pairs,
        "wrong": ("CENTRING = 0.5", "CENTRING = 0.0"),
        "objective": {"name": "reward_model", "center_rewards_coefficient": 0.5, "max_length": 80},
        "training": {"eval_rows": 4},
    },
    "preferences": {
        "rows": pairs,
        "wrong": ("layer.p = 0.0", "layer.p = 0.3"),
        "objective": {"name": "dpo", "max_length": 80},
        "method": {"name": "lora", "r": 4, "lora_dropout": 0.3},
    },
    "preferences by another loss, with a learnt prompt": {
        "rows": pairs,
        "wrong": ("- RPO_ALPHA * chosen", "- chosen"),
        "objective": {"name": "dpo", "max_length": 80, "loss_type": "aot", "label_smoothing": 0.1, "rpo_alpha": 0.5},
        "method": {"name": "prompt", "num_virtual_tokens": 4},
    },
}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", OF_OTHERS)
def test_other_objectives_give_the_same_losses(
    workspace: Workspace,
    tiny_config: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    changes = dict(OF_OTHERS[name])
    right, wrong = changes.pop("wrong")
    rows, model = changes.pop("rows")(), changes.pop("model", lambda folder: "tiny")(tmp_path / "model")
    source = learnt(workspace, tiny_config(), rows, model=model, **changes)
    folder, named = exported(source, "script", tmp_path, really=True), model if model != "tiny" else ""
    assert ran(folder, monkeypatch, named) < APART
    assert libraries(folder) <= {"pathlib", "peft", "safetensors", "torch", "transformers"}
    whole = (folder / "train.py").read_text(encoding="utf-8")
    assert max(map(len, whole.splitlines())) <= 120
    assert whole.count(right) == 1
    (folder / "train.py").write_text(whole.replace(right, wrong), encoding="utf-8")
    assert ran(folder, monkeypatch, named) > 10 * APART


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_over_pairs_is_the_studios(name: str, smoothing: float) -> None:
    import torch
    from torch.nn.functional import logsigmoid

    beta, generator = 0.7, torch.Generator().manual_seed(0)
    chosen, rejected, *before = -20 * torch.rand(4, 6, generator=generator)
    tokens = torch.tensor([[3, 2], [5, 9], [1, 1], [4, 2], [7, 7], [2, 3]])
    source: Any = SimpleNamespace(
        config=SimpleNamespace(objective=Dpo(loss_type=name, label_smoothing=smoothing, beta=beta)),  # pyright: ignore[reportArgumentType]
    )
    program = dpo.Program(source, *[None] * 4)  # pyright: ignore[reportArgumentType]
    space: dict[str, Any] = {name: value for name, (_, value) in program.settings().items()}
    space |= {"torch": torch, "math": math, "logsigmoid": logsigmoid, "chosen": chosen, "rejected": rejected}
    won, lost = chosen - before[0], rejected - before[1]
    space |= {"won": won, "lost": lost, "margin": won - lost, "tokens": tokens, "reference": torch.stack(before, dim=1)}
    exec(cleandoc(program.each()), space)
    pairs = Pairs(chosen, rejected, *before, *tokens.T)
    assert torch.allclose(space["each"], LOSSES[name](pairs, beta, smoothing), atol=1e-6)


# -- without training ------------------------------------------------------------------------------------


def told(workspace: Workspace, config: RunConfig) -> Source:
    """A run that its log says took four steps."""
    folder = create_run(workspace, config)
    config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
    chosen = config.dataset
    sides = divided(
        open_source(chosen.source, workspace, chosen.mapping()), (chosen.validation_share, 0.0), config.seed
    )
    report = DataReady(
        train_rows=len(sides.train.rows), validation_rows=0, truncated_rows=0, skipped_rows=0, tokens=1,
        trained_tokens=1, fingerprint=sides.train.fingerprint,
    )  # fmt: skip
    model = ModelReady(name="", parameters=1, trainable_parameters=1, device="cpu", dtype="float32", reason="")
    for event in (report, model, StepDone(step=4, total_steps=4, seconds=1, tokens=1, metrics={"loss": 1.0}), Done()):
        folder.events.append(event)
    folder.events.close()
    return Source.of(workspace, folder.id)


HOSTILE = "'''\"\"\"\\\n__import__('os').abort()\n#{peft}\u202e\u2028"
PLACES = sorted({  # that are filled in, of all fixed text
    place
    for file in Path(_recipe.__file__).parent.rglob("*.py")
    for place in re.findall(r"«\w+»", file.read_text(encoding="utf-8"))
})  # fmt: skip


def as_program(code: str) -> str:
    """Its structure: all that it does, whatever its literals say."""

    class Blank(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant(type(node.value).__name__)

    return ast.dump(Blank().visit(ast.parse(code)))


@pytest.mark.parametrize(
    ("objective", "format", "roles"),
    [("next_token", "prompt_completion", ("prompt", "completion")), ("classify", "labelled", ("text", "label"))],
)
def test_no_word_of_a_run_becomes_code(
    workspace: Workspace,
    tiny_config: Callable[..., RunConfig],
    tmp_path: Path,
    objective: str,
    format: str,
    roles: tuple[str, str],
) -> None:
    from studio.models.tiny import tiny_model

    def source(word: str, places: list[str]) -> Source:
        """Names of files have no room for all `places`."""
        said, folder = word + "".join(places), tmp_path / f"models {word}{''.join(places[::2])}"
        tiny_model().save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        path = tmp_path / f"{word}{''.join(places[1::2])}.jsonl"
        rows = [{f"{said} p": f"{said} {at}", f"{said} c": f"{said} {at % 2}"} for at in range(9)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        columns = dict(zip(roles, (f"{said} p", f"{said} c"), strict=True))
        dataset = {"source": str(path), "format": format, "columns": columns}
        chosen = {"name": objective, "max_length": 2048}
        return told(workspace, tiny_config(model=str(folder), dataset=dataset, label=word, objective=chosen))

    assert len(PLACES) > 20

    plain, hostile = (
        {form: exported(run, form, tmp_path / each) for form in ("script", "notebook")}
        for run, each in ((source("word", []), "plain"), (source(HOSTILE, PLACES), "hostile"))
    )
    one, other = ((each["script"] / "train.py").read_text(encoding="utf-8") for each in (plain, hostile))
    compile(other, "train.py", "exec")
    assert as_program(one) == as_program(other)
    assert all("".join(places) in other for places in (PLACES[::2], PLACES[1::2]))
    comments = [re.findall(r"(?m)#.*$", code.replace(repr(HOSTILE)[1:-1], "")) for code in (one, other)]
    assert comments[0] == comments[1]
    assert str(tmp_path) not in other
    written = [
        [str(cell).count(HOSTILE) for cell in each.values()] for each in lines(hostile["script"] / "train.jsonl")
    ]
    assert list(map(sum, written)) == [2] * 7
    cells = [
        json.loads((each["notebook"] / "train.ipynb").read_text(encoding="utf-8"))["cells"] for each in (plain, hostile)
    ]
    assert [as_program("".join(cell["source"])) for cell in cells[0] if cell["cell_type"] == "code"] == [
        as_program("".join(cell["source"])) for cell in cells[1] if cell["cell_type"] == "code"
    ]
    assert [cell for cell in cells[0] if cell["cell_type"] == "markdown"] == [
        cell for cell in cells[1] if cell["cell_type"] == "markdown"
    ]


def test_the_notebook_is_the_scripts_own_code_in_cells(
    workspace: Workspace, tiny_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    source = told(workspace, tiny_config())
    script, notebook = (exported(source, form, tmp_path) for form in ("script", "notebook"))
    book = json.loads((notebook / "train.ipynb").read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in book["cells"] if cell["cell_type"] == "code")
    whole = (script / "train.py").read_text(encoding="utf-8")
    assert [cell for cell in code[3:] if cell not in whole] == []
    assert "argparse" not in "".join(code)
    kinds = [cell["cell_type"] for cell in book["cells"]]
    assert kinds == ["markdown", *["markdown", "code"] * len(code)]
    files = {path.relative_to(notebook).as_posix() for path in notebook.rglob("*") if path.is_file()}
    beside = {"train.jsonl", "eval.jsonl", "curve.jsonl", "requirements.txt", "model/model.safetensors"}
    assert beside < files
    assert "transformers==" in (script / "requirements.txt").read_text(encoding="utf-8")


REFUSED: dict[str, dict[str, Any]] = {
    "is not written out: its loss": {"objective": "kto"},
    "rates of LoRA\\+": {"method": {"name": "lora", "loraplus_lr_ratio": 4}},
    "a start with pissa": {"method": {"name": "lora", "init_lora_weights": "pissa"}},
    "is the studio's own code": {"method": "lora_scratch"},
    "takes AdaLoRA's ranks": {"method": "adalora"},
    "a first text is put in": {"method": {"name": "prompt", "prompt_tuning_init_text": "Say"}},
    "its vocabulary was extended": {"vocabulary": {"new_tokens": 3}},
    "it guarded old data": {"old": {"source": "customer_messages"}},
    "it trained on several devices": {"training": {"num_processes": 2}},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_written_out_is_refused_with_the_reason(
    workspace: Workspace, tiny_config: Callable[..., RunConfig], why: str
) -> None:
    source = told(workspace, tiny_config())
    changes = {
        key: {**(source.config.to_dict()[key] if key not in ("method", "objective") else {}), **each}
        if isinstance(each, dict)
        else each
        for key, each in REFUSED[why].items()
    }
    config = RunConfig.parse({**source.config.to_dict(), **changes})
    for form in ("script", "notebook"):
        with pytest.raises(ConfigError, match=why):
            exports()[form]().check(replace(source, config=config))


def test_rows_that_changed_since_are_refused(
    workspace: Workspace, tiny_config: Callable[..., RunConfig], rows_file: Path, tmp_path: Path
) -> None:
    source = told(workspace, tiny_config())
    rows_file.write_text(rows_file.read_text(encoding="utf-8").replace("row 7", "row 8"), encoding="utf-8")
    with pytest.raises(DatasetError, match="others than when this run learnt"):
        exports()["script"]().write(source, tmp_path / "a.zip", quiet)
    assert not (tmp_path / "a.zip").exists()
    rows_file.unlink()
    with pytest.raises(DatasetError, match="There is no data set or file"):
        exports()["script"]().check(source)


# -- what learns -----------------------------------------------------------------------------------------

WRITTEN = [name for name, cls in methods().items() if not cls().only_here() and "bits" not in cls.model_fields]


def learning(model: Any) -> list[Any]:
    return [weight.detach() for weight in model.parameters() if weight.requires_grad]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("name", "writes"),
    [(name, writes) for name in WRITTEN for writes in (True, False) if writes or not methods()[name].writes_only],
)
def test_every_method_that_is_pefts_own_begins_as_in_the_studio(name: str, writes: bool) -> None:
    import peft
    from transformers import set_seed

    from studio.models.tiny import tiny_model, tiny_shapes

    method, whole = methods()[name](), Structure(tiny_shapes())
    config: Any = SimpleNamespace(method=method, objective=SimpleNamespace(writes=writes))
    attached = _recipe._attached(config, whole if writes else whole.body(), 10)
    space = {**vars(peft), "set_seed": set_seed, "SEED": 3}
    exec(_recipe._method(config, attached), space)
    one, other = (tiny_model() if writes else tiny_model().model for _ in range(2))
    mine = learning(space["attach"](one))
    set_seed(3)
    there = learning(method.attach(other, 10))
    assert len(mine) == len(there) > 0
    assert all(one.equal(other) for one, other in zip(mine, there, strict=True))


def test_most_of_pefts_methods_are_written_out() -> None:
    assert {"lora", "dora", "ia3", "oft", "vera", "prompt", "prefix", "full"} <= set(WRITTEN)
