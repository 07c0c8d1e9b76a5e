"""What leaves the studio: each form of it, read back by what others read it with."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gguf import GGUFReader
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from studio import cli, exporter
from studio.adapter import save
from studio.child import Progress
from studio.config import RunConfig
from studio.data.labels import Head
from studio.data.rendering import CHAT_TEMPLATES
from studio.errors import ConfigError, ModelError, RunError
from studio.events import EventLog, Queued
from studio.exporter import Exported, Exporter, delete, made
from studio.exports import Export, Source, exports
from studio.exports import _gguf as writing
from studio.exports import gguf as catalogued
from studio.exports._whole import Agreement, whole
from studio.exports.adapter import Adapter
from studio.exports.gguf import Gguf
from studio.exports.merged import SHARD, Merged
from studio.models.base import Placement, load
from studio.models.catalog import locate
from studio.models.heads import Headed, outputs, with_saved_heads
from studio.models.vocabulary import extend, remembered
from studio.rehearsal import device_now
from studio.trained import onto
from studio.workspace import Workspace
from tabs import _downloads

pytestmark = [
    # peft asks transformers under a name that transformers has just renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

Config = Callable[..., RunConfig]
IDS = torch.tensor([[1, 87, 85, 71, 84, 201, 74, 75, 2, 201]])
EXACT = Placement("cpu", "float32", "")
ASKED = [
    [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": f"the number is {n}"}] for n in range(3)
]


def quiet(*_: Any) -> None:
    """Nobody listens."""


def base_of(config: RunConfig, workspace: Workspace) -> Any:
    located = locate(config.model, workspace.models, quiet)
    quantised = config.method.quantization("float32")
    return load(located, EXACT, quantised, writes=config.objective.writes)


def learnt(
    workspace: Workspace, config: RunConfig, terms: tuple[str, ...] = (), heads: tuple[Head, ...] = ()
) -> Source:
    """A run at its end, in which each weight that learns has moved."""
    folder = workspace.new_run(config.method_name)
    config.save(folder.config)
    folder.held_out.write_text("\n".join(map(json.dumps, ASKED)), encoding="utf-8")
    loaded = base_of(config, workspace)
    if terms:
        extend(loaded.model, loaded.tokenizer, terms)
    model = config.method.attach(loaded.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    save(Headed(model, heads) if heads else model, folder.adapter, remembered(terms))
    return Source.of(workspace, folder.id)


def answers_apart(source: Source) -> Any:
    """Base and adapter, neither merged nor rounded."""
    return onto(base_of(source.config, source.workspace), source.folder, source.config).model


def unpacked(export: Export, source: Source, folder: Path) -> Path:
    folder.mkdir()
    to = folder / f"made{export.ending}"
    assert export.write(source, to, quiet)
    assert [each.name for each in folder.iterdir()] == [to.name]  # nothing is left beside it
    with zipfile.ZipFile(to) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(folder / "all")
    return folder / "all"


@torch.inference_mode()
def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(input_ids=ids).logits.float()


# -- models for GGUF -------------------------------------------------------------------------------------

SHAPE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.15, "eos_token_id": 2,
    "bos_token_id": None, "pad_token_id": 0,
}  # fmt: skip
WIDE = {**SHAPE, "hidden_size": 256, "intermediate_size": 512}
KINDS: dict[str, Callable[[int], Any]] = {
    "llama, wide": lambda size: LlamaForCausalLM(LlamaConfig(vocab_size=size, tie_word_embeddings=True, **WIDE)),
    "llama": lambda size: LlamaForCausalLM(LlamaConfig(vocab_size=size, tie_word_embeddings=True, **SHAPE)),
    "llama, untied": lambda size: LlamaForCausalLM(LlamaConfig(vocab_size=size, tie_word_embeddings=False, **SHAPE)),
    "qwen2": lambda size: Qwen2ForCausalLM(Qwen2Config(vocab_size=size, tie_word_embeddings=True, **SHAPE)),
    "qwen3": lambda size: Qwen3ForCausalLM(Qwen3Config(vocab_size=size, head_dim=128, **SHAPE)),
}


def split_by(pattern: str) -> Any:
    """As tokenizers of newer models do."""
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), last])


SPLITS: dict[str, Any] = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": split_by(PRETOKENIZE_REGEX),
    "llama-bpe": split_by(GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"]),
}


def small_tokenizer(split: str) -> Any:
    """A byte-level BPE that has merges, unlike the tiny model's."""
    built = Tokenizer(BPE())
    built.pre_tokenizer = SPLITS[split]
    built.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = ["the number is 12, the user said the number", "say 3 and the assistant says three"] * 4
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    built.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    found = PreTrainedTokenizerFast(
        tokenizer_object=built, pad_token=special[0], eos_token=special[2], clean_up_tokenization_spaces=False
    )
    found.chat_template = CHAT_TEMPLATES["chatml"]
    return found


def small_model(folder: Path, kind: str = "llama", split: str = "gpt-2") -> str:
    tokenizer = small_tokenizer(split)
    torch.manual_seed(1)
    KINDS[kind](len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


# -- every form ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", exports())
def test_every_form_makes_one_file_in_the_room_it_asked_for(
    name: str, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    export = exports()[name]()
    assert export.title
    assert export.about.endswith(".")
    assert export.ending.startswith(".")
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base")))
    folder = tmp_path / "made"
    folder.mkdir()
    to = folder / f"file{export.ending}"
    if name in ("notebook", "script"):  # a run that took no step can be written out by nobody
        with pytest.raises(RunError, match="took no step"):
            export.check(source)
        return
    export.check(source)
    told = export.write(source, to, quiet)
    assert told
    assert all(each.endswith((".", "?")) for each in told)
    assert [each.name for each in folder.iterdir()] == [to.name]
    assert 0 < to.stat().st_size <= export.room(source)


def test_no_form_is_made_of_a_run_that_is_under_way_or_saved_nothing(workspace: Workspace, tiny_config: Config) -> None:
    source = learnt(workspace, tiny_config())
    EventLog(source.folder.path / "events.jsonl").append(Queued())
    with pytest.raises(RunError, match="under way"):
        Source.of(workspace, source.folder.id)
    shutil.rmtree(source.folder.adapter)
    for form in (Adapter(), Merged(), Gguf()):
        with pytest.raises(RunError, match="saved no adapter"):
            form.check(source)


# -- the adapter -----------------------------------------------------------------------------------------


def test_the_adapter_loads_in_peft_beside_its_base(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    base = small_model(tmp_path / "secret place" / "base")
    source = learnt(workspace, tiny_config(model=base))
    folder = unpacked(Adapter(), source, tmp_path / "made")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder))
    torch.testing.assert_close(logits(model.eval()), logits(answers_apart(source)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == CHAT_TEMPLATES["chatml"]
    assert (folder / "README.md").is_file()
    texts = [each for each in folder.rglob("*") if each.suffix != ".safetensors"]
    assert all("secret place" not in each.read_text(encoding="utf-8") for each in texts)


def test_the_same_run_makes_the_same_zip(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    source = learnt(workspace, tiny_config())
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    for each in (one, other):
        Adapter().write(source, each, quiet)
    assert one.read_bytes() == other.read_bytes()


def test_an_adapter_whose_numbers_are_none_is_refused(
    workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, tiny_config())
    file = source.folder.adapter / "adapter_model.safetensors"
    weights = load_file(file)
    next(iter(weights.values()))[0, 0] = math.nan
    save_file(weights, file)
    with pytest.raises(ModelError, match="numbers that are none"):
        Adapter().write(source, tmp_path / "made.zip", quiet)


def test_who_can_load_it_is_said(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    source = learnt(workspace, _with("bottleneck", tiny_config))
    told = " ".join(Adapter().write(source, tmp_path / "made.zip", quiet))
    assert "not one of PEFT's" in told
    assert "tiny model" in told


def _with(method: str, tiny_config: Config) -> RunConfig:
    values = tiny_config().to_dict() | {"method": {"name": method}}
    return RunConfig.parse(values)


# -- merged ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "dora", "full", "freeze", "oft", "lora_scratch"])
def test_a_merged_model_is_base_and_adapter_in_one(
    method: str, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, _with(method, tiny_config))
    folder = unpacked(Merged(precision="float32"), source, tmp_path / "made")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config._name_or_path == str(folder)  # what it says is where it lies now
    expected = logits(answers_apart(source))
    assert (expected - logits(base_of(source.config, workspace).model)).abs().max() > 0.01  # it did learn
    torch.testing.assert_close(logits(model), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float16"])
def test_it_is_rounded_once_after_it_was_added_up(
    precision: Any, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, tiny_config())
    weights = load_file(unpacked(Merged(precision=precision), source, tmp_path / "made") / "model.safetensors")
    exact = load_file(unpacked(Merged(precision="float32"), source, tmp_path / "exact") / "model.safetensors")
    for name, weight in weights.items():
        assert torch.equal(weight, exact[name].to(getattr(torch, precision)))


@pytest.mark.parametrize("method", ["prompt", "prefix", "bottleneck"])
def test_what_is_no_update_of_weights_is_not_merged(method: str, workspace: Workspace, tiny_config: Config) -> None:
    source = learnt(workspace, _with(method, tiny_config))
    for form in (Merged(), Gguf()):
        with pytest.raises(ModelError, match="no update of the base's weights") as refused:
            form.check(source)
        assert "adapter" in refused.value.remedy
    Adapter().check(source)


def test_qlora_is_merged_into_the_base_as_it_was_before_rounding(
    workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    source = learnt(workspace, _with("qlora", tiny_config))
    to = tmp_path / "made.zip"
    told = Merged(precision="float32").write(source, to, quiet)
    assert "before it was quantised" in told[1]
    with zipfile.ZipFile(to) as archive:
        archive.extractall(tmp_path / "all")
    weights = load_file(tmp_path / "all" / "model.safetensors")
    plain = load(locate("tiny", workspace.models, quiet), EXACT).model
    unquantised = onto(SimpleNamespace(model=plain, tokenizer=plain.tokenizer), source.folder, source.config).model
    merged = dict(unquantised.merge_and_unload().named_parameters())
    assert all(torch.equal(weight, merged[name]) for name, weight in weights.items())


def test_what_reads_back_as_another_model_is_refused(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    found = whole(learnt(workspace, tiny_config()), quiet)
    found.save(tmp_path, "float32", SHARD, quiet)
    assert "100.0%" in found.held_against_disk(tmp_path, "float32", quiet)[0]
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"] += 0.05
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="does not answer as the run's model"):
        found.held_against_disk(tmp_path, "float32", quiet)


def test_agreement_by_hand() -> None:
    before, after = torch.tensor([[0.0, 2.0], [4.0, 2.0]]), torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    found = Agreement.of([before], [after])
    assert (found.largest, found.mean, found.same) == (2.0, 1.0, 0.5)
    assert found.spread == pytest.approx(math.sqrt(8 / 3))
    found.check(1.0)
    with pytest.raises(ModelError, match="off by 1 on average"):
        found.check(0.5)
    with pytest.raises(ModelError):
        Agreement(math.nan, math.nan, 1.0, 0.0).check(1.0)


def test_new_words_come_along(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    source = learnt(workspace, tiny_config(), terms=("zygote", "Übelkeit"))
    merged = unpacked(Merged(precision="float32"), source, tmp_path / "made")
    tokenizer = AutoTokenizer.from_pretrained(merged)
    (token,) = tokenizer("zygote", add_special_tokens=False)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(merged)
    ids = torch.tensor([[1, 87, token]])
    torch.testing.assert_close(logits(model, ids), logits(answers_apart(source), ids), rtol=1e-3, atol=1e-3)
    beside = unpacked(Adapter(), source, tmp_path / "adapter")
    assert AutoTokenizer.from_pretrained(beside)("zygote", add_special_tokens=False)["input_ids"] == [token]


def test_heads_lie_beside_a_merged_body(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    config = RunConfig.parse(tiny_config().to_dict() | {"objective": {"name": "classify"}})
    source = learnt(workspace, config, heads=(Head("mood", "classes", ("good", "bad")),))
    with pytest.raises(ModelError, match="names labels"):
        Gguf().check(source)
    folder = unpacked(Merged(precision="float32"), source, tmp_path / "made")
    again = with_saved_heads(AutoModel.from_pretrained(folder).eval(), folder)
    rows = IDS.tolist()
    (one,), (other,) = (next(outputs(each, rows, 0, 1)) for each in (again, answers_apart(source)))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


# -- GGUF ------------------------------------------------------------------------------------------------


def read_gguf(file: Path) -> Any:
    options: Any = {"gguf_file": file.name, "dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True)}
    return AutoModelForCausalLM.from_pretrained(file.parent, **options).eval()


@pytest.mark.parametrize(
    ("kind", "split"),
    [("llama", "smollm"), ("llama, untied", "llama-bpe"), ("qwen2", "qwen2"), ("qwen3", "qwen2")],
)
def test_a_gguf_file_answers_as_base_and_adapter(
    kind: str, split: str, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base", kind, split)))
    to = tmp_path / "made.gguf"
    compared, answered = Gguf(quantization="f32").write(source, to, quiet)
    assert "100.0%" in compared
    assert "the same answer 3 times" in answered
    model, apart = read_gguf(to), answers_apart(source)
    torch.testing.assert_close(logits(model), logits(apart), rtol=1e-3, atol=1e-3)
    written = [each.generate(IDS, max_new_tokens=12, do_sample=False, pad_token_id=0) for each in (model, apart)]
    assert torch.equal(*written)


def test_fewer_bits_take_less_room_and_are_further_off(
    workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base")))
    expected, sizes, apart = logits(answers_apart(source)), [], []
    for kind in ("f16", "q8_0", "q4_0"):
        to = tmp_path / f"{kind}.gguf"
        Gguf(quantization=kind).write(source, to, quiet)  # pyright: ignore[reportArgumentType]
        sizes.append(to.stat().st_size)
        apart.append(float((logits(read_gguf(to)) - expected).abs().mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert apart == sorted(apart)
    assert 0 < apart[0] < 0.01 < apart[2]


def test_a_file_that_reads_back_as_another_model_is_refused(
    workspace: Workspace, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be if rows were left as transformers has them."""
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base")))
    monkeypatch.setattr(writing, "_interleaved", lambda weight, heads: weight)
    with pytest.raises(ModelError, match="does not answer as the run's model"):
        Gguf(quantization="f16").write(source, tmp_path / "made.gguf", quiet)


def test_a_tokenizer_that_reads_back_as_another_is_refused(
    workspace: Workspace, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base")))
    monkeypatch.setattr(catalogued, "_split_of", lambda tokenizer: "qwen2")
    described = writing._describe_tokenizer

    def without_merges(writer: Any, tokenizer: Any, size: int, split: str) -> None:
        writer.add_token_merges = lambda merges: type(writer).add_token_merges(writer, merges[:1])
        described(writer, tokenizer, size, split)

    monkeypatch.setattr(writing, "_describe_tokenizer", without_merges)
    with pytest.raises(ModelError, match="splits text otherwise"):
        Gguf(quantization="f16").write(source, tmp_path / "made.gguf", quiet)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "gpt2"}, "only llama, qwen2, qwen3 were proven"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "positions are scaled"),
        ({"attention_bias": True}, "biases"),
        ({"use_sliding_window": True}, "sliding window"),
        ({"model_type": "qwen3", "head_dim": 64}, "heads are 64 wide"),
    ],
)
def test_what_was_not_proven_is_refused(
    changes: dict[str, Any], why: str, workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    source = learnt(workspace, tiny_config(model=small_model(base)))
    Gguf().check(source)
    config = json.loads((base / "config.json").read_text()) | changes
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=why):
        Gguf().check(source)


def test_a_tokenizer_that_was_not_proven_is_refused(workspace: Workspace, tiny_config: Config, tmp_path: Path) -> None:
    base = tmp_path / "base"
    source = learnt(workspace, tiny_config(model=small_model(base)))
    built = json.loads((base / "tokenizer.json").read_text())
    for changed in (
        built | {"pre_tokenizer": {"type": "Whitespace"}},
        built | {"normalizer": {"type": "Lowercase"}},
        built | {"model": built["model"] | {"byte_fallback": True}},
        built | {"model": built["model"] | {"merges": []}},
    ):
        with pytest.raises(ModelError, match="not proven for GGUF"):
            catalogued._split_of(changed)
    with pytest.raises(ModelError, match="letter by letter"):
        Gguf().check(learnt(workspace, tiny_config()))
    assert [catalogued._split_of(json.loads(small_tokenizer(each).backend_tokenizer.to_str())) for each in SPLITS] == [
        *SPLITS
    ]
    assert source


def test_k_quants_are_made_by_llama_cpp_or_refused(
    workspace: Workspace, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program is one of our own here, which is called in the same way and hands on what it was given."""
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base")))
    monkeypatch.setattr(catalogued, "quantiser", lambda: "")
    with pytest.raises(ConfigError, match="not installed here"):
        Gguf(quantization="q4_k_m").check(source)
    program, asked = tmp_path / "llama-quantize", tmp_path / "asked"
    program.write_text(
        f"#!{sys.executable}\nimport shutil, sys\nopen({str(asked)!r}, 'w').write(sys.argv[3])\n"
        "why = f'llama_quant: failed to quantize: no {sys.argv[1]}, nor {sys.argv[2]} \\xff'.encode('latin-1')\n"
        "if sys.argv[3] == 'Q6_K':\n    sys.stderr.buffer.write(why + b'!' * 999 + b'\\nof /home')\n    sys.exit(1)\n"
        "shutil.copyfile(sys.argv[1], sys.argv[2])\n"
    )
    program.chmod(0o755)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "made"
    folder.mkdir()
    told = Gguf(quantization="q4_k_m").write(source, folder / "made.gguf", quiet)
    assert "the weights 100% as f16. A k-quant wants rows of a multiple of 256; those of 64, 96 are held in" in told[2]
    assert asked.read_text() == "Q4_K_M"
    assert [writing._share(each) for each in (0.5, 0.01, 0.004)] == ["50%", "1%", "under 1%"]
    assert [each.name for each in folder.iterdir()] == ["made.gguf"]
    with pytest.raises(ModelError, match=r"the model: no other-f16\.gguf, nor other\.gguf \ufffd!+\. Take") as refused:
        Gguf(quantization="q6_k").write(source, folder / "other.gguf", quiet)
    assert len(refused.value.problem) < 400


@pytest.mark.skipif(not catalogued.quantiser(), reason="llama.cpp's quantiser is not installed")
@pytest.mark.parametrize(
    ("kind", "quantization", "stored"),
    [
        ("llama, wide", "q6_k", {"Q6_K"}),
        ("llama, wide", "q5_k_m", {"Q5_K", "Q6_K"}),
        ("llama, wide", "q4_k_m", {"Q4_K", "Q6_K"}),
        ("llama, wide", "q3_k_m", {"Q3_K", "Q4_K", "Q5_K", "Q6_K"}),
        ("llama", "q6_k", {"Q8_0"}),
        ("llama", "q4_k_m", {"Q5_0", "Q8_0"}),
    ],
)
def test_llama_cpps_own_k_quants_read_back(
    kind: str, quantization: Any, stored: set[str], workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    source = learnt(workspace, tiny_config(model=small_model(tmp_path / "base", kind)))
    export, to = Gguf(quantization=quantization), tmp_path / "made.gguf"
    told = export.write(source, to, quiet)
    found = {each.tensor_type.name for each in GGUFReader(to).tensors if len(each.shape) > 1}
    assert found == stored
    assert all(name.lower() in told[2] for name in stored)
    assert ("are held in other formats" in told[2]) == (kind == "llama")


@pytest.mark.skipif(catalogued.quantiser() != "llama_cpp", reason="llama-cpp-python is not installed")
def test_llama_cpp_makes_the_same_q8_0_of_the_same_model(
    workspace: Workspace, tiny_config: Config, tmp_path: Path
) -> None:
    merged = whole(learnt(workspace, tiny_config(model=small_model(tmp_path / "base"))), quiet)
    for kind in ("f32", "q8_0"):
        writing.written(merged, tmp_path / kind, kind, "gpt-2", quiet)
    writing._by_library(tmp_path / "f32", tmp_path / "theirs", "q8_0")
    mine, theirs = ({each.name: each for each in GGUFReader(tmp_path / name).tensors} for name in ("q8_0", "theirs"))
    assert mine.keys() == theirs.keys()
    assert all(mine[name].data.tobytes() == theirs[name].data.tobytes() for name in mine)


STARTER = {  # name → shape; thirty layers of 576, as files of it had them that llama.cpp quantised
    "model.embed_tokens.weight": (49_152, 576),
    "model.norm.weight": (576,),
    **{
        f"model.layers.{layer}.{name}.weight": shape
        for layer in range(30)
        for name, shape in {
            "self_attn.q_proj": (576, 576), "self_attn.k_proj": (192, 576), "self_attn.v_proj": (192, 576),
            "self_attn.o_proj": (576, 576), "mlp.gate_proj": (1536, 576), "mlp.up_proj": (1536, 576),
            "mlp.down_proj": (576, 1536), "input_layernorm": (576,), "post_attention_layernorm": (576,),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "measured"),  # bytes of the weights, without the tokenizer
    [
        ("f16", 269_100_288), ("q8_0", 143_025_408), ("q6_k", 136_597_248), ("q5_k_m", 110_317_824),
        ("q4_k_m", 103_668_480), ("q3_k_m", 91_724_544),
    ],
)  # fmt: skip
def test_the_room_is_what_llama_cpp_takes(kind: str, measured: int) -> None:
    assert measured <= catalogued.taken(STARTER, kind) <= 1.05 * measured


# -- the process that makes them ---------------------------------------------------------------------------


@pytest.fixture
def engine(workspace: Workspace) -> Iterator[Exporter]:
    running = Exporter(workspace)
    yield running
    running.close()


def test_an_export_is_whole_with_what_is_known_of_it(
    workspace: Workspace, engine: Exporter, tiny_config: Config
) -> None:
    source = learnt(workspace, tiny_config())
    *told, found = engine.export(source.folder.id, Adapter())
    assert all(isinstance(each, Progress) for each in told)
    assert isinstance(found, Exported)
    assert made(workspace) == [found]
    file = found.path(workspace)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == found.sha256
    assert (found.bytes, found.run, found.export) == (file.stat().st_size, source.folder.id, {"name": "adapter"})
    assert found.checked[0].startswith("Read back")
    assert engine.child.pid is None  # its memory is free again
    assert sorted(each.name for each in workspace.exports.iterdir()) == [".lock", found.name]

    client = TestClient(_routes(workspace))
    link = _downloads.kept_link(file, "Download").partition('href="')[2].partition('"')[0]
    assert client.get(link).content == file.read_bytes()
    assert client.get(link, headers={"Range": "bytes=2-4"}).content == file.read_bytes()[2:5]
    secret = link.split("/")[3]
    for other in (link.replace(secret, "0" * 32), link.replace(file.name, "about.json"), f"/studio/export/{secret}/"):
        assert client.get(other).status_code == 404
    for name in ("../runs", found.name.upper(), ".lock"):
        with pytest.raises(RunError):
            delete(workspace, name)
    delete(workspace, found.name)
    assert made(workspace) == []
    assert client.get(link).status_code == 404


def _routes(workspace: Workspace) -> FastAPI:
    app = FastAPI()
    app.include_router(_downloads.router(workspace))
    return app


def test_what_ends_early_leaves_nothing(
    workspace: Workspace, engine: Exporter, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = learnt(workspace, tiny_config())
    (workspace.exports / ".making-00").mkdir(parents=True)  # of a process that was killed
    parts = engine.export(source.folder.id, Merged())
    assert isinstance(next(iter(parts)), Progress)
    assert len(list(workspace.exports.glob(".making-*"))) == 1
    with pytest.raises(RunError, match="Another export"):
        list(Exporter(workspace).export(source.folder.id, Adapter()))
    parts.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [each.name for each in workspace.exports.iterdir()] == [".lock"]
    assert engine.child.pid is None

    usage = namedtuple("usage", "total used free")
    free = exporter.LEFT_FREE + 1000
    monkeypatch.setattr(exporter.shutil, "disk_usage", lambda _: usage(free, 0, free))
    with pytest.raises(RunError, match="are lacking"):
        list(engine.export(source.folder.id, Merged()))
    assert [each.name for each in workspace.exports.iterdir()] == [".lock"]


def test_beside_a_training_only_what_needs_no_model_is_made(
    workspace: Workspace, engine: Exporter, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = learnt(workspace, tiny_config())
    monkeypatch.setattr(exporter, "device_room", lambda: SimpleNamespace(gpu=False))
    with device_now(workspace):
        with pytest.raises(RunError, match="training on this machine's processor"):
            list(engine.export(source.folder.id, Merged()))
        *_, found = engine.export(source.folder.id, Adapter())
    assert isinstance(found, Exported)


# -- the command line --------------------------------------------------------------------------------------


def test_the_command_line_exports(
    workspace: Workspace, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = learnt(workspace, tiny_config())

    def said(*words: str) -> tuple[int, str, str]:
        code = cli.main(lambda *_: None, ["export", *words, "--workspace", str(workspace.root)])
        told = capsys.readouterr()
        return code, told.out, told.err

    to = tmp_path / "mine.zip"
    code, text, _ = said(str(source.folder.path), "merged", "--set", "precision=float32", "--to", str(to), "--json")
    assert code == 0
    told = json.loads(text)
    assert told["export"] == {"name": "merged", "precision": "float32"}
    assert told["path"] == str(to)
    assert zipfile.is_zipfile(to)
    assert made(workspace) == []
    code, text, _ = said(source.folder.id, "adapter")
    assert (code, text.splitlines()[-1]) == (0, str(made(workspace)[0].path(workspace)))
    for words, why in (
        ((source.folder.id, "adapter", "--to", str(to)), "there already"),
        ((source.folder.id, "painting"), "not a known export"),
        ((source.folder.id, "merged", "--set", "precision=int3"), "precision"),
        ((source.folder.id, "merged", "--set", "precision"), "NAME=VALUE"),
        (("nothing", "adapter"), "no such run"),
    ):
        code, text, fault = said(*words)
        assert (code, text) == (1, "")
        assert why in fault
