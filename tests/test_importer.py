"""Adapters that peft itself saved, and models, brought from elsewhere; and what must never get in."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from studio import cli, foreign
from studio.adapter import save
from studio.child import Progress, Stopped
from studio.config import RunConfig
from studio.data.labels import Head
from studio.errors import ConfigError, ModelError
from studio.exports import Source
from studio.exports.card import model_card
from studio.importer import Importer, Report, base_of, bring, lines
from studio.intake import gather
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.models.base import Placement, load
from studio.models.catalog import imported, locate
from studio.models.heads import Headed, outputs, predict
from studio.models.starter import STARTER
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.proof import safetensors_shapes
from studio.store import Store
from studio.trained import load_trained, onto
from studio.workspace import Workspace
from tabs import _import, _voices
from tabs._data import seen

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),  # as it saves
]

LAYERS = ["q_proj", "down_proj"]
KINDS: dict[str, Any] = {  # one of each that we have as a method, with what peft would have of its maker
    "LORA": peft.LoraConfig(r=4, lora_alpha=8, target_modules=LAYERS, lora_dropout=0.05),
    "ADALORA": peft.AdaLoraConfig(init_r=6, target_r=4, total_step=10, target_modules=LAYERS),
    "IA3": peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "LOHA": peft.LoHaConfig(r=4, alpha=8, target_modules=LAYERS),
    "LOKR": peft.LoKrConfig(r=4, alpha=8, target_modules=LAYERS),
    "VERA": peft.VeraConfig(r=16, target_modules=["q_proj"]),
    "OFT": peft.OFTConfig(r=0, oft_block_size=16, target_modules=["q_proj"]),
    "C3A": peft.C3AConfig(block_size=16, target_modules=["q_proj"]),
    "FOURIERFT": peft.FourierFTConfig(n_frequency=50, target_modules=["q_proj"]),
    "GRALORA": peft.GraloraConfig(r=4, gralora_k=2, target_modules=["q_proj"]),
    "HIRA": peft.HiraConfig(r=4, target_modules=["q_proj"]),
    "MISS": peft.MissConfig(r=4, target_modules=["q_proj"]),
    "ROAD": peft.RoadConfig(group_size=16, target_modules=["q_proj"]),
    "SHIRA": peft.ShiraConfig(r=2, target_modules=["q_proj"]),
    "PREFIX_TUNING": peft.PrefixTuningConfig(num_virtual_tokens=3),
    "PROMPT_TUNING": peft.PromptTuningConfig(num_virtual_tokens=3),
    "P_TUNING": peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=16),
}


def quiet(doing: str, done: float, total: float) -> None:
    pass


def saved(folder: Path, config: Any = None, **changes: Any) -> Path:
    """An adapter of the tiny model as peft's own `save_pretrained` leaves it, its weights moved off their start."""
    torch.manual_seed(0)
    config = config or peft.LoraConfig(r=4, lora_alpha=8, target_modules=LAYERS)
    config.task_type = "CAUSAL_LM"
    config.base_model_name_or_path = "tiny"
    model: Any = peft.get_peft_model(tiny_model(), config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.eval().save_pretrained(folder)
    if changes:
        about = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        (folder / "adapter_config.json").write_text(json.dumps({**about, **changes}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `adapter` is a copy of."""
    return saved(tmp_path_factory.mktemp("pattern") / "brought")


@pytest.fixture
def adapter(tmp_path: Path, pattern: Path) -> Path:
    return Path(shutil.copytree(pattern, tmp_path / "brought"))


def packed(folder: Path, *, inside: str = "", **more: bytes) -> Path:
    """The folder as a .zip, its files in a folder `inside` of it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                archive.write(file, inside + file.name)
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def answers(model: Any) -> torch.Tensor:
    ids = torch.tensor([tiny_tokenizer()("hello world")["input_ids"]])
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()


def nothing_stays(workspace: Workspace) -> bool:
    left = [path for path in workspace.root.rglob("*") if path.is_file() and path.name not in (".lock", "importer.log")]
    return not left and not workspace.run_folders() and not list(workspace.runs.iterdir())


# -- adapters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(foreign.KINDS))
def test_what_peft_saved_becomes_a_run_that_says_the_same(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", KINDS[kind])
    report = bring(workspace, [folder], quiet)
    assert (report.kind, report.base) == ("adapter", "tiny")
    state = Store(workspace).state(report.key)
    assert (state.status, state.saved is not None, state.problem) == ("done", True, "")
    assert state.imported is not None
    assert state.imported.name == "mine"
    trained = load_trained(workspace.run(report.key), workspace)
    base = tiny_model().to(trained.model.dtype)
    theirs = peft.PeftModel.from_pretrained(base, str(folder)).eval()
    torch.testing.assert_close(answers(trained.model), answers(theirs))
    assert not torch.equal(answers(trained.model), answers(tiny_model().to(base.dtype)))  # it says something
    assert not any("changes nothing" in note for note in report.notes)
    assert trained.config.method_name == foreign.KINDS[kind]


def test_its_settings_are_those_of_its_form(workspace: Workspace, tmp_path: Path) -> None:
    ranks = {"layers.0.self_attn.q_proj": 2}
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=r".*\.(q_proj|down_proj)",
        rank_pattern=ranks,
        alpha_pattern={},
        use_rslora=True,
    )
    report = bring(workspace, [saved(tmp_path / "mine", config)], quiet, title="A\nname")
    run = RunConfig.parse(json.loads(workspace.run(report.key).config.read_text(encoding="utf-8")))
    assert isinstance(run.method, Lora)
    assert (run.method.r, run.method.lora_alpha, run.method.use_rslora) == (4, 8, True)
    assert run.method.target_modules == "down_proj, q_proj"
    assert run.method.rank_pattern == "0.self_attn.q_proj=2"
    assert (run.label, run.dataset.source) == ("A name", "")
    assert Store(workspace).state(report.key).title == "LoRA · tiny · A name"
    assert report.rank == 4
    assert dict(lines(report))["Learnt weights"] == f"{report.parameters:,}"
    learnt = load_file(tmp_path / "mine" / "adapter_model.safetensors")
    assert report.parameters == sum(weight.numel() for weight in learnt.values())


def test_what_settings_cannot_say_is_told(workspace: Workspace, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=3000, target_modules=[*LAYERS, "lm_head"], bias="lora_only")
    report = bring(workspace, [saved(tmp_path / "mine", config)], quiet)
    told = " ".join(report.notes)
    assert "'Alpha' is 3000" in told
    assert "layers that methods here leave alone, such as lm_head" in told
    state = Store(workspace).state(report.key)
    assert any("'Alpha' is 3000" in note for note in state.notes)
    card = model_card(Source.of(workspace, report.key))["README.md"]
    assert "of its data and its training nothing is known here" in card
    assert "'Alpha' is 3000" in card
    assert not any(word in card for word in ("Steps", "Seed", "own held-out rows"))


@pytest.mark.parametrize("inside", ["", "run/adapter/"])
def test_an_archive_is_as_good_as_a_folder(inside: str, adapter: Path, workspace: Workspace) -> None:
    path = packed(adapter, inside=inside, **{"__MACOSX/._adapter_config.json": b"\0", "notes/train.py": b"1/0"})
    report = bring(workspace, [path], quiet)
    kept = workspace.run(report.key).adapter
    assert {each.name for each in kept.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert any("train.py" in note for note in report.notes)
    assert not any(workspace.imports.glob("*/"))


def test_single_files_are_enough(adapter: Path, workspace: Workspace) -> None:
    files = [adapter / "adapter_model.safetensors", adapter / "adapter_config.json"]
    assert bring(workspace, files, quiet).method == "LoRA"


def test_our_own_adapters_come_back(workspace: Workspace, tmp_path: Path) -> None:
    """Those of a method that peft lacks, and those with heads."""
    model = Full().attach(tiny_model())
    with torch.no_grad():
        for weight in model.learnt_weights().values():
            weight += 0.01
    save(model, tmp_path / "full")
    report = bring(workspace, [tmp_path / "full"], quiet, base="tiny")
    assert report.method == "Full fine-tuning"
    assert Store(workspace).state(report.key).config["method"]["name"] == "full"

    body = Lora(r=4).attach(tiny_model().model)
    save(Headed(body, [Head("mood", "classes", ("good", "bad"))]), tmp_path / "headed")
    report = bring(workspace, [tmp_path / "headed"], quiet, base="tiny")
    assert not report.writes
    config = Store(workspace).state(report.key).config["objective"]
    assert (config["name"], config["label_column"], config["kind"]) == ("classify", "mood", "classes")
    load_trained(workspace.run(report.key), workspace)
    fetched = bring(workspace, [], quiet, name="somebody/headed", base="tiny", hub=FakeHub(tmp_path / "headed"))
    assert Store(workspace).state(fetched.key).config["objective"]["name"] == "classify"


# -- adapters of classifiers ---------------------------------------------------------------------------

EXACT = Placement("cpu", "float32", "")
MOODS = {"id2label": {"0": "good", "1": "bad", "2": "neither"}}
TEXTS = ["hello world", "a longer text than the first", "x"]
SMALL_GPT2 = GPT2Config(
    vocab_size=len(tiny_tokenizer()), n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=2
)
SMALL_BERT = BertConfig(
    vocab_size=len(tiny_tokenizer()), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32
)


def classifier(folder: Path, model: Any, config: Any, about: dict[str, Any] | None = None) -> Any:
    """The model with an adapter as peft leaves it in `folder`, `about` being the model's own config beside it."""
    torch.manual_seed(0)
    config.task_type = "SEQ_CLS"
    model.config.pad_token_id = tiny_tokenizer().pad_token_id
    tuned: Any = peft.get_peft_model(model, config)
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    tuned.eval().save_pretrained(folder)
    if about is not None:
        (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    return tuned


def small_llama(labels: int) -> Any:
    """transformers' classifier on the tiny model's body."""
    base = tiny_model()
    model = LlamaForSequenceClassification(LlamaConfig(**{**base.config.to_diff_dict(), "num_labels": labels}))
    model.model.load_state_dict(base.model.state_dict())
    return model


def said_of(tuned: Any) -> torch.Tensor:
    """Its logits of each text, read alone."""
    rows = [torch.tensor([tiny_tokenizer()(each)["input_ids"]]) for each in TEXTS]
    with torch.inference_mode():
        return torch.cat([tuned(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for ids in rows])


def said_here(workspace: Workspace, report: Report) -> tuple[Any, torch.Tensor]:
    """The run's model in float32, and its logits of all texts in one batch."""
    folder = workspace.run(report.key)
    config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
    loaded = load(locate(config.model, workspace.models, quiet), EXACT, writes=config.objective.writes)
    trained = onto(loaded, folder, config)
    rows = [trained.tokenizer(each)["input_ids"] for each in TEXTS]
    ((logits,),) = outputs(trained.model, rows, trained.tokenizer.pad_token_id, len(rows))
    return trained, logits


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=4, target_modules="all-linear", rank_pattern={"model.layers.0.self_attn.q_proj": 2}),
        peft.LoraConfig(r=4, target_modules=["model.layers.1.mlp.down_proj", "q_proj"], use_dora=True),
        peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        peft.VeraConfig(r=16, target_modules=["q_proj"]),
    ],
    ids=["lora", "dora", "ia3", "vera"],
)
def test_a_classifier_of_peft_is_one_here(config: Any, workspace: Workspace, tmp_path: Path) -> None:
    tuned = classifier(tmp_path / "moods", small_llama(3), config, MOODS)
    report = bring(workspace, [tmp_path / "moods"], quiet, base="tiny")
    assert (report.kind, report.writes, report.base) == ("adapter", False, "tiny")
    trained, logits = said_here(workspace, report)
    torch.testing.assert_close(logits, said_of(tuned))
    objective = Store(workspace).state(report.key).config["objective"]
    assert (objective["name"], objective["label_column"], objective["kind"]) == ("classify", "label", "classes")
    for found, row in zip(predict(trained.model, trained.tokenizer, TEXTS, 64), logits, strict=True):
        (shares,) = found.values()
        assert isinstance(shares, list)
        assert shares[0][0] == MOODS["id2label"][str(int(row.argmax()))]
    kept = {each.name for each in workspace.run(report.key).adapter.iterdir()}
    assert kept == {"adapter_config.json", "adapter_model.safetensors", "heads.json", "heads.safetensors"}
    assert not any("replaces whole layers" in note or "changes nothing" in note for note in report.notes)


def test_one_whose_body_has_another_name_is_one_too(workspace: Workspace, tmp_path: Path) -> None:
    """And one output is a number; that of a reward model of TRL's looks the same."""
    torch.manual_seed(1)
    base = GPT2LMHeadModel(SMALL_GPT2)
    base.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    model: Any = GPT2ForSequenceClassification(GPT2Config(**{**SMALL_GPT2.to_diff_dict(), "num_labels": 1}))
    model.transformer.load_state_dict(base.transformer.state_dict())
    tuned = classifier(tmp_path / "stars", model, peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True))
    report = bring(workspace, [packed(tmp_path / "stars", inside="x/")], quiet, base=str(tmp_path / "base"))
    _, logits = said_here(workspace, report)
    torch.testing.assert_close(logits, said_of(tuned))
    assert Store(workspace).state(report.key).config["objective"]["kind"] == "number"
    assert any("taken for a number" in note for note in report.notes)


def test_labels_of_which_several_are_right_stay_so(workspace: Workspace, tmp_path: Path) -> None:
    about = {**MOODS, "problem_type": "multi_label_classification"}
    classifier(tmp_path / "moods", small_llama(3), peft.LoraConfig(r=4, target_modules=LAYERS), about)
    report = bring(workspace, [], quiet, name="somebody/moods", base="tiny", hub=FakeHub(tmp_path / "moods"))
    assert Store(workspace).state(report.key).config["objective"]["kind"] == "labels"


@pytest.mark.parametrize(
    "about",
    [
        None,
        {},
        {"id2label": ["good", "bad", "neither"]},
        {"id2label": {"0": "good", "1": "bad"}},
        {"id2label": {"0": "good", "1": "bad", "2": "bad"}},
        {"id2label": {"0": "good", "1": "bad", "2": 7}},
        {"id2label": {"0": "good", "1": "bad", "2": "ne\x1bither"}},
        {"id2label": {**MOODS["id2label"], "3": "more"}},
    ],
)
def test_labels_without_names_are_refused(about: Any, workspace: Workspace, tmp_path: Path) -> None:
    classifier(tmp_path / "moods", small_llama(3), peft.LoraConfig(r=4, target_modules=LAYERS), about)
    with pytest.raises(ModelError, match="nothing says what they are called") as refused:
        bring(workspace, [tmp_path / "moods"], quiet, base="tiny")
    assert "id2label" in refused.value.remedy
    assert nothing_stays(workspace)


def test_several_numbers_at_once_are_no_labels(workspace: Workspace, tmp_path: Path) -> None:
    about = {"id2label": {str(place): f"LABEL_{place}" for place in range(3)}, "problem_type": "regression"}
    classifier(tmp_path / "stars", small_llama(3), peft.LoraConfig(r=4, target_modules=LAYERS), about)
    with pytest.raises(ModelError, match="predicts 3 numbers at once"):
        bring(workspace, [tmp_path / "stars"], quiet, base="tiny")


def test_a_head_as_large_as_its_labels_say_is_not_made_before_it_is_there(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label takes some bytes of a file; a row of the head takes thousands in memory."""
    classifier(tmp_path / "moods", small_llama(3), peft.LoraConfig(r=4, target_modules=LAYERS), MOODS)
    path = tmp_path / "moods" / "adapter_model.safetensors"
    weights = load_file(path)
    (name,) = (name for name in weights if name.endswith("score.weight"))
    save_file({**weights, name: torch.zeros(3, 1)}, path, metadata={"format": "pt"})
    monkeypatch.setattr(Headed, "__init__", lambda *_: pytest.fail("it was made"))
    with pytest.raises(ModelError, match="damaged, or belong to another base"):
        bring(workspace, [tmp_path / "moods"], quiet, base="tiny")


def test_what_the_base_says_of_itself_beside_an_adapter_is_not_asked(adapter: Path, workspace: Workspace) -> None:
    (adapter / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "x.Y"}}), encoding="utf-8")
    report = bring(workspace, [adapter], quiet)
    assert not (workspace.run(report.key).adapter / "config.json").exists()


def test_other_heads_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    bert = BertForSequenceClassification(SMALL_BERT)
    classifier(tmp_path / "bert", bert, peft.LoraConfig(r=4, target_modules=["query"]), MOODS)
    with pytest.raises(ModelError, match=r"not one linear layer over the last token \(.*classifier"):
        bring(workspace, [tmp_path / "bert"], quiet, base="tiny")
    classifier(tmp_path / "moods", small_llama(3), peft.LoraConfig(r=4, target_modules=LAYERS), MOODS)
    path = tmp_path / "moods" / "adapter_config.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**about, "modules_to_save": "score"}), encoding="utf-8")
    with pytest.raises(ModelError, match="modules_to_save are no names"):
        bring(workspace, [tmp_path / "moods"], quiet, base="tiny")
    classifier(tmp_path / "prompt", small_llama(3), peft.PromptTuningConfig(num_virtual_tokens=3), MOODS)
    with pytest.raises(ModelError, match="learnt prompt in front of a classifier"):
        bring(workspace, [tmp_path / "prompt"], quiet, base="tiny")
    assert nothing_stays(workspace)


def test_one_that_learnt_nothing_is_said_to(workspace: Workspace, tmp_path: Path) -> None:
    save(Lora(r=4).attach(tiny_model()), tmp_path / "fresh")
    assert any("changes nothing" in note for note in bring(workspace, [tmp_path / "fresh"], quiet, base="tiny").notes)


def test_it_is_brought_by_a_process_of_its_own(adapter: Path, workspace: Workspace) -> None:
    importer = Importer(workspace)
    try:
        *progress, report = importer.bring([adapter], title="Mine")
        assert isinstance(report, Report)
        assert any(isinstance(each, Progress) and each.doing == "Attaching the adapter" for each in progress)
        assert report.key in {folder.id for folder in workspace.run_folders()}
        with pytest.raises(ModelError, match="no adapter and no model"):
            list(importer.bring([adapter / "README.md"]))
    finally:
        importer.close()


def test_who_leaves_leaves_nothing(adapter: Path, workspace: Workspace) -> None:
    def tell(doing: str, done: float, total: float) -> None:
        if doing == "Keeping it":
            raise Stopped

    with pytest.raises(Stopped):
        bring(workspace, [adapter], tell)
    assert nothing_stays(workspace)


def test_what_a_killed_import_left_goes_with_the_next(adapter: Path, workspace: Workspace) -> None:
    (workspace.imports / "0123" / "adapter").mkdir(parents=True)
    bring(workspace, [adapter], quiet)
    assert [each.name for each in workspace.imports.iterdir()] == [".lock"]


def test_whole_embeddings_beside_it_are_the_bases_or_refused(adapter: Path, workspace: Workspace) -> None:
    path, name = adapter / "adapter_model.safetensors", "base_model.model.model.embed_tokens.weight"
    weights, own = load_file(path), tiny_model().model.embed_tokens.weight.detach()
    for other, refused in ((own.clone(), False), (own + 1, True), (torch.cat([own, own[:1]]), True)):
        save_file({**weights, name: other}, path, metadata={"format": "pt"})
        if refused:
            with pytest.raises(ModelError, match="embeddings of its own"):
                bring(workspace, [adapter], quiet)
        else:
            report = bring(workspace, [adapter], quiet)
            assert name not in load_file(workspace.run(report.key).adapter / "adapter_model.safetensors")


# -- its base ------------------------------------------------------------------------------------------


def test_another_base_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    base = LlamaForCausalLM(LlamaConfig(**{**tiny_model().config.to_diff_dict(), "hidden_size": 32, "head_dim": 8}))
    model: Any = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=LAYERS, task_type="CAUSAL_LM"))
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="trained on another base model"):
        bring(workspace, [tmp_path / "other"], quiet, base="tiny")
    assert nothing_stays(workspace)


def test_the_base_is_found_by_what_the_adapter_calls_it(workspace: Workspace, tmp_path: Path) -> None:
    assert base_of(STARTER.hub_name, "", workspace) == ("starter", [])
    assert base_of("tiny", "", workspace) == ("tiny", [])
    assert base_of("Qwen/Qwen3-0.6B", "", workspace) == ("Qwen/Qwen3-0.6B", [])
    assert base_of("Qwen/Qwen3-0.6B", "tiny", workspace) == (
        "tiny",
        ["Its config names another base, 'Qwen/Qwen3-0.6B'."],
    )
    (tmp_path / "there").mkdir()
    for named in ("", "/etc", "../x", "~/x", str(tmp_path / "there"), "C:\\models\\x", "not a name", "a/b/c"):
        with pytest.raises(ModelError) as refused:
            base_of(named, "", workspace)
        assert refused.value.remedy == "Choose the base model that it was trained on."


# -- models --------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "My model"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_a_model_is_among_those_to_choose(model: Path, workspace: Workspace) -> None:
    report = bring(workspace, [packed(model, inside="x/")], quiet, title="Mine & yours")
    found = imported(workspace.models)
    assert [(each.model, each.title, each.writes) for each in found] == [(report.key, "Mine & yours", True)]
    assert Path(report.key).parent == workspace.models
    assert Path(report.key).name.startswith("mine-yours-")
    assert found[0].parameters == report.parameters == sum(weight.numel() for weight in tiny_model().parameters())
    assert locate(report.key, workspace.models, quiet).path == Path(report.key)
    page: Any = SimpleNamespace(workspace=workspace)
    assert ("Mine & yours", report.key) in seen._models(page)
    again = bring(workspace, [saved(model.parent / "adapter")], quiet, base=report.key)  # and adapters sit on it
    assert load_trained(workspace.run(again.key), workspace).config.model == report.key


def test_one_whose_index_leads_elsewhere_is_refused(model: Path, workspace: Workspace) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"model.norm.weight": "../../secret.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match="index of the weights names"):
        bring(workspace, [model], quiet)
    assert nothing_stays(workspace)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"auto_map": {"AutoModel": "modeling_x.X"}}, "names code"),
        ({"text_config": {"auto_map": {"AutoModel": "modeling_x.X"}}}, "names code"),
        ({"attn_implementation": "someone/kernel"}, "names code"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised already"),
        ({"num_hidden_layers": 9}, "lacks"),
        ({"model_type": "nobody_knows_it", "architectures": ["XForCausalLM"]}, "does not know"),
    ],
)
def test_a_model_that_is_not_what_it_should_be_is_refused(
    changes: dict[str, Any], why: str, model: Path, workspace: Workspace
) -> None:
    about = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**about, **changes}), encoding="utf-8")
    with pytest.raises(ModelError, match=why):
        bring(workspace, [model], quiet)
    assert nothing_stays(workspace)


def test_a_model_with_code_of_its_own_is_refused(model: Path, workspace: Workspace) -> None:
    (model / "modeling_x.py").write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(ModelError, match="its own Python code"):
        bring(workspace, [model], quiet)
    assert nothing_stays(workspace)


# -- hostile adapters ----------------------------------------------------------------------------------


class Harm:
    """What unpickling would run."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["HARM"],)


def header(**weights: Any) -> bytes:
    text = json.dumps(weights).encode()
    return struct.pack("<Q", len(text)) + text


def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, buffer)
    return buffer.getvalue()


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
WEIGHTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickle": (lambda: pickle.dumps(Harm()), "pickled"),
    "an old pickle": (lambda: pickle.dumps(Harm(), protocol=2), "pickled"),
    "what torch.save writes": (torch_file, "pickled"),
    "text": (lambda: b"hello, I am weights", "no safetensors file"),
    "nothing": (lambda: b"", "no safetensors file"),
    "a header beyond the file": (lambda: struct.pack("<Q", 2**40) + b"{}", "no safetensors file"),
    "a header of all the file": (lambda: struct.pack("<Q", 26_000_000) + b"{" + b" " * 26_000_000, "far too long"),
    "a header that is no JSON": (lambda: struct.pack("<Q", 3) + b"{{{", "damaged"),
    "a header without end": (lambda: struct.pack("<Q", 200_001) + b'{"a":' + b"[" * 199_996, "damaged"),
    "weights one over another": (lambda: header(a=TENSOR, b=TENSOR) + bytes(4), "damaged"),
    "weights beyond the file": (lambda: header(a={**TENSOR, "shape": [9], "data_offsets": [0, 36]}), "damaged"),
    "more than its weights": (lambda: header(a=TENSOR) + bytes(400), "damaged"),
    "another size than it says": (lambda: header(a={**TENSOR, "shape": [2**40]}) + bytes(4), "damaged"),
    "weights of no size": (lambda: header(a={**TENSOR, "shape": [2**40, 0], "data_offsets": [0, 0]}), "no size"),
    "sizes below nothing": (lambda: header(a={**TENSOR, "shape": [-1]}) + bytes(4), "damaged"),
}


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_weights_that_are_none_are_refused(
    name: str, adapter: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    make, why = WEIGHTS[name]
    (adapter / "adapter_model.safetensors").write_bytes(make())
    with pytest.raises(ModelError, match=why):
        bring(workspace, [adapter], quiet)
    assert nothing_stays(workspace)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "weights.pth", "last.ckpt"])
def test_pickled_weights_are_refused_by_their_names(name: str, adapter: Path, workspace: Workspace) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / name)
    with pytest.raises(ModelError, match="unpickling a file can run any code"):
        bring(workspace, [adapter], quiet)
    with pytest.raises(ModelError, match="unpickling a file can run any code"):
        bring(workspace, [packed(adapter)], quiet)
    assert nothing_stays(workspace)


DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
CONFIGS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "damaged"),
    "a list": ([], "damaged"),
    "endless brackets": ("[" * 100_000, "damaged"),
    "a kind of tomorrow": ({"peft_type": "QUANTUM"}, "not known here"),
    "one that loads others": ({"peft_type": "XLORA", "adapters": {"1": "someone/x"}}, "not known here"),
    "another task": ({"task_type": "TOKEN_CLS"}, "another task"),
    "lists within lists": ({"layers_pattern": DEEP}, "lists within lists"),
    "a head that is missing": ({"task_type": "SEQ_CLS"}, "whose head is not one linear layer"),
    "modules to import": ({"megatron_config": {"x": 1}, "megatron_core": "os"}, "'megatron_config'"),
    "a pickle to load": ({"corda_config": {"cache_file": "/tmp/x.pt"}}, "'corda_config'"),
    "others to fetch": ({"arrow_config": {"x": 1}}, "'arrow_config'"),
    "code to trust": ({"tokenizer_kwargs": {"trust_remote_code": True}}, "names code"),
    "code of its own": ({"auto_map": {"AutoModel": "x.Y"}}, "names code"),
    "a start that changes the base": ({"init_lora_weights": "pissa"}, "changes the base"),
    "a start that quantised it": ({"init_lora_weights": "loftq"}, "changes the base"),
    "a rank that fills memory": ({"r": 10**9}, "do not belong together"),
    "a rank by layer that does": ({"rank_pattern": {"q_proj": 10**9}}, "do not belong together"),
    "a number where names belong": ({"target_modules": 7}, "(cannot be put onto|another base|damaged)"),
    "names where a number belongs": ({"r": "four"}, "(cannot be put onto|another base|damaged)"),
    "a pattern that is none": ({"target_modules": "(("}, "pattern that is none"),
    "layers that are not there": ({"target_modules": ["nowhere"]}, "none of its layers"),
    "a method of ours that is none": ({"peft_type": "STUDIO", "method": {"name": "../x"}}, "cannot be used here"),
    "a base by its path": ({"base_model_name_or_path": "/etc"}, "folder of another machine"),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_configs_that_want_more_are_refused(name: str, adapter: Path, workspace: Workspace) -> None:
    told, why = CONFIGS[name]
    path = adapter / "adapter_config.json"
    values = {**json.loads(path.read_text(encoding="utf-8")), **told} if isinstance(told, dict) else told
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match=why):
        bring(workspace, [adapter], quiet)
    assert nothing_stays(workspace)


def test_a_pattern_that_would_never_end_is_refused(
    adapter: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_PATTERN_SECONDS", 0.2)
    path = adapter / "adapter_config.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["target_modules"] = r"(([a-z0-9_.]+)+)+!"
    path.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ModelError, match="would take for ever"):
        bring(workspace, [adapter], quiet)
    assert nothing_stays(workspace)


def test_what_a_config_names_elsewhere_is_not_kept(workspace: Workspace, tmp_path: Path) -> None:
    folder = saved(
        tmp_path / "mine",
        peft.PromptTuningConfig(num_virtual_tokens=3),
        prompt_tuning_init="TEXT",
        tokenizer_name_or_path="someone/tokenizer",
        auto_mapping={"base_model_class": "X", "parent_library": "os"},
        tomorrow="x",
    )
    report = bring(workspace, [folder], quiet)
    text = (workspace.run(report.key).adapter / "adapter_config.json").read_text(encoding="utf-8")
    assert not any(word in text for word in ("someone", "auto_mapping", "TEXT", "tomorrow"))
    assert any("left out: tomorrow" in note for note in report.notes)


def test_weights_that_are_no_numbers_are_refused(adapter: Path, workspace: Workspace) -> None:
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    weights[min(weights)].fill_(float("nan"))
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="hold no numbers"):
        bring(workspace, [adapter], quiet)
    assert nothing_stays(workspace)


def linked(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


MEMBERS: dict[str, tuple[Callable[[], zipfile.ZipInfo], bytes, str]] = {
    "above": (lambda: zipfile.ZipInfo("../adapter_config.json"), b"{}", "leads out of it"),
    "far above": (lambda: zipfile.ZipInfo("x/../../y"), b"{}", "leads out of it"),
    "absolute": (lambda: zipfile.ZipInfo("/etc/cron.d/x"), b"{}", "leads out of it"),
    "of a drive": (lambda: zipfile.ZipInfo("C:/x"), b"{}", "leads out of it"),
    "with backslashes": (lambda: zipfile.ZipInfo("..\\x"), b"{}", "leads out of it"),
    "a long name": (lambda: zipfile.ZipInfo("x" * 300), b"{}", "leads out of it"),
    "a link": (lambda: linked(zipfile.ZipInfo("heads.json")), b"/etc/passwd", "a link"),
    "a bomb": (lambda: zipfile.ZipInfo("heads.safetensors"), bytes(12_000_000), "as no weights do"),
    "twice": (lambda: zipfile.ZipInfo("adapter_config.json"), b"{}", "twice"),
    "a second adapter": (lambda: zipfile.ZipInfo("b/adapter_config.json"), b"{}", "more than one"),
}


@pytest.mark.parametrize("name", list(MEMBERS))
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_archives_with_more_in_them_are_refused(name: str, adapter: Path, workspace: Workspace, tmp_path: Path) -> None:
    make, content, why = MEMBERS[name]
    path = packed(adapter, inside="a/" if name == "a second adapter" else "")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        info = make()
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    before = {each for each in tmp_path.rglob("*") if not each.is_relative_to(workspace.root)}
    with pytest.raises(ModelError, match=why):
        bring(workspace, [path], quiet)
    assert nothing_stays(workspace)
    assert before == {each for each in tmp_path.rglob("*") if not each.is_relative_to(workspace.root)}


def test_an_archive_of_countless_files_is_refused_before_they_are_listed(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2_001):
            archive.writestr(f"{number:0200}", b"")
    with pytest.raises(ModelError, match="far too many files"):
        bring(workspace, [path], quiet)
    whole = path.read_bytes()
    size, at = struct.unpack("<II", whole[-10:-2])
    directory = whole[at : at + size] * 12  # 6 MB of it
    end = whole[-22:-10] + struct.pack("<II", len(directory), at) + whole[-2:]
    path.write_bytes(whole[:at] + directory + end)
    with pytest.raises(ModelError, match="far too many files"):
        bring(workspace, [path], quiet)
    assert nothing_stays(workspace)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing more", b"\x1f\x8b tar"])
def test_an_archive_that_is_none_is_refused(content: bytes, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ModelError, match=r"no whole \.zip"):
        bring(workspace, [tmp_path / "x.zip"], quiet)


def test_a_damaged_archive_leaves_nothing(adapter: Path, workspace: Workspace) -> None:
    path = packed(adapter)
    whole = bytearray(path.read_bytes())
    middle = whole.index(b"adapter_model.safetensors") + 2_000
    whole[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(bytes(whole))
    with pytest.raises(ModelError, match=r"no whole \.zip"):
        bring(workspace, [path], quiet)
    assert nothing_stays(workspace)


def test_links_and_devices_are_not_followed(adapter: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (adapter / "heads.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match="links are not followed"):
        bring(workspace, [adapter], quiet)
    (adapter / "heads.json").unlink()
    os.mkfifo(adapter / "heads.json")
    with pytest.raises(ModelError, match="is no file"):
        bring(workspace, [adapter], quiet)
    (tmp_path / "adapter_config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match="links are not followed"):
        bring(workspace, [tmp_path / "adapter_config.json"], quiet)
    assert nothing_stays(workspace)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "missing"])
def test_names_that_are_none_are_refused(name: str, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        bring(workspace, [tmp_path / name], quiet)


def test_a_full_disk_is_told_before(adapter: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.intake.SPARE", 10**18)
    with pytest.raises(ModelError, match="are free on this disk"):
        bring(workspace, [adapter], quiet)
    assert nothing_stays(workspace)


def test_two_at_once_are_one_too_many(adapter: Path, workspace: Workspace) -> None:
    def tell(doing: str, done: float, total: float) -> None:
        with pytest.raises(ModelError, match="Something else is being imported"):
            bring(workspace, [adapter], quiet)

    bring(workspace, [adapter], tell)


# -- the Hub -------------------------------------------------------------------------------------------


class FakeHub:
    """What `studio.models.hub.Hub` asks, answered from a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reachable(self) -> bool:
        return True

    def files(self, model: str) -> dict[str, int]:
        return {each.name: each.stat().st_size for each in self.folder.iterdir() if each.is_file()}

    def download(self, model: str, names: Any, progress: Any, folder: Path | None = None) -> Path:
        assert folder is not None
        folder.mkdir()
        for name in names:
            progress(f"Fetching {model}", 0, 1)
            (folder / name).write_bytes((self.folder / name).read_bytes())
        return folder

    def cached(self, model: str) -> Path | None:
        return None


def test_an_adapter_of_the_hub_is_brought_by_its_name(adapter: Path, workspace: Workspace) -> None:
    report = bring(workspace, [], quiet, name="somebody/an-adapter", hub=FakeHub(adapter))
    assert report.title == "somebody/an-adapter"
    for name in ("starter", "tiny", "/etc", "not a name"):
        with pytest.raises(ModelError):
            bring(workspace, [], quiet, name=name, hub=FakeHub(adapter))
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match="holds no adapter"):
        bring(workspace, [], quiet, name="somebody/an-adapter", hub=FakeHub(adapter))


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_begins_as_a_pickle_is_none(length: int, tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"x": ""})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    for more in range(length - short - 8, length - short + 1):
        save_file({"a": torch.zeros(1)}, path, metadata={"x": "x" * more})
        if int.from_bytes(path.read_bytes()[:8], "little") == length:
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert safetensors_shapes(path) == {"a": (1,)}


def test_gathering_reads_in_pieces(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    said: list[tuple[str, float, float]] = []
    brought = gather([packed(adapter)], tmp_path / "to", lambda *each: said.append(each))
    assert brought.size == sum(each.stat().st_size for each in (tmp_path / "to").iterdir()) == said[-1][2]
    assert {doing for doing, _, _ in said} == {"Copying adapter_config.json", "Copying adapter_model.safetensors"}


@pytest.fixture(autouse=True)
def no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    yield
    assert not (tmp_path / "harm").exists()


# -- where people ask for it ---------------------------------------------------------------------------


def test_the_command_says_what_it_made(adapter: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--workspace", str(workspace.root)]
    assert cli.main(lambda *_: None, ["import", str(packed(adapter)), *where]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split(maxsplit=1) == ["Kind", "LoRA adapter"]
    run = Path(told[-1]).name
    assert Store(workspace).state(run).status == "done"
    assert cli.main(lambda *_: None, ["import", str(adapter / "README.md"), *where, "--base", "tiny"]) == 1
    assert "no adapter and no model" in capsys.readouterr().err


@pytest.fixture
def page(workspace: Workspace) -> Iterator[Any]:
    importer = Importer(workspace)
    yield SimpleNamespace(workspace=workspace, importer=importer, alone=True, store=Store(workspace))
    importer.close()


def test_the_page_tells_how_far_it_is_and_what_was_found(page: Any, adapter: Path) -> None:
    title = "<img src=x onerror=alert(1)>"
    bad = adapter.rename(adapter.with_name(title))
    first, *_, last = _import._bring(page, None, str(bad), "", "tiny")
    assert "Starting" in first[0]
    told, start, stop, key, chat, train, base = last
    assert "&lt;img src=x" in told
    assert "<img" not in told
    assert (start.interactive, stop.visible, chat.visible, train.visible) == (True, False, True, False)
    assert page.store.state(key).status == "done"
    assert [value for _, value in base.choices][:2] == ["", "starter"]


def test_the_page_offers_an_imported_model_to_train_on(page: Any, model: Path) -> None:
    report = bring(page.workspace, [model], quiet)
    assert report.key in [value for _, value in _import._arrive(page).choices]
    assert report.key in [value.removeprefix("model:") for _, value in _voices.model_choices(page, [])]
    config, _ = _import._wanted(page, report.key, "reviews")
    assert (config["model"], config["dataset"]["source"]) == (report.key, "reviews")
    with pytest.raises(ConfigError, match="not there any more"):
        _import._wanted(page, "/etc", "")


def test_the_page_takes_one_thing_and_no_folder_from_strangers(page: Any, adapter: Path) -> None:
    for files, folder, hub in ((None, " ", ""), ([str(adapter)], "", "a/b"), (None, str(adapter), "a/b")):
        with pytest.raises(ConfigError):
            next(_import._bring(page, files, folder, hub, ""))
    page.alone = False
    with pytest.raises(ConfigError, match="open to others"):
        next(_import._bring(page, None, str(adapter), "", ""))
    for base in (str(adapter), "/", "~", "../x"):
        with pytest.raises(ConfigError, match="folder of the machine"):
            next(_import._bring(page, [str(adapter)], "", "", base))
    assert nothing_stays(page.workspace)
