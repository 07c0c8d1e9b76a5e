"""A merged model written as GGUF and read back. For workers only."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from torch import Tensor

from studio.errors import ModelError
from studio.exports import Tell
from studio.exports._whole import ROWS, Agreement, Whole, said
from studio.exports.gguf import BLOCK, EIGHT_FOR_EMBEDDINGS, quantiser
from studio.models.generate import answering, encode, sample_batch
from studio.models.quiet import no_bars
from studio.redaction import redacted

ANSWER = 24  # tokens at most of the answers that are compared
# As in `_whole`: a share of the logits' spread. What was measured on the starter, and on models that are smaller and
# lose most, stayed under three quarters of it.
LIMITS = {
    "f32": 0.001, "f16": 0.05, "bf16": 0.1, "q8_0": 0.15, "q5_1": 0.4, "q5_0": 0.4, "q4_1": 0.6, "q4_0": 0.6,
    "q6_k": 0.25, "q5_k_m": 0.4, "q4_k_m": 0.6, "q3_k_m": 0.8,
}  # fmt: skip
_EMBEDDINGS = ("token_embd.weight", "output.weight")
_LONGEST = 300  # letters of what llama.cpp says


@dataclass(frozen=True)
class Reading:
    """What the model answers before it is written."""

    prompts: list[list[int]]
    answers: list[list[int]]

    @classmethod
    def of(cls, merged: Whole, tell: Tell) -> Reading:
        """Of held-out questions, or of how paragraphs go on."""
        asked = [encode(merged.tokenizer, each[:-1]) for each in merged.conversations if len(each) > 1]
        prompts = asked or [row[:16] for row in merged.rows[:ROWS]]
        return cls(prompts, _answers(merged.model, merged.tokenizer, prompts, tell))

    def held_against(self, merged: Whole, file: Path, kind: str, tell: Tell) -> list[str]:
        """Sentences on `file`, loaded anew. Raises ModelError where it is another model, or splits text otherwise."""
        merged.model = None
        gc.collect()
        tell("Loading it back", 0, 0)
        model, tokenizer = _loaded(file)
        _check_tokenizer(merged, tokenizer)
        found = Agreement.of(merged.before, said(model, merged.rows, tell))
        found.check(LIMITS[kind])
        written = _answers(model, merged.tokenizer, self.prompts, tell)
        same = sum(one == other for one, other in zip(self.answers, written, strict=True))
        return [
            found.sentence(
                f"the file, read back as transformers reads GGUF ({kind}),", "base and adapter", merged.asked
            ),
            f"Asked {len(written)} times without chance, it writes the same answer {same} times, of up to {ANSWER} "
            "tokens. Its tokenizer, read back, splits all of these texts alike.",
        ]


def _answers(model: Any, tokenizer: Any, prompts: list[list[int]], tell: Tell) -> list[list[int]]:
    """The likeliest token each time; one prompt after the other, so that nothing is padded."""
    found = []
    with answering(model, adapter=True):
        for done, prompt in enumerate(prompts):
            tell("Comparing answers", done, len(prompts))
            found += sample_batch(model, tokenizer, [prompt], max_new_tokens=ANSWER, temperature=0.0)
    return found


def _loaded(file: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    with no_bars():
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **options
        )
        return model.eval(), AutoTokenizer.from_pretrained(file.parent, **options)


def _check_tokenizer(merged: Whole, tokenizer: Any) -> None:
    for row in merged.rows:
        text = merged.tokenizer.decode(row)
        ours, theirs = (each(text, add_special_tokens=False)["input_ids"] for each in (merged.tokenizer, tokenizer))
        if ours != theirs:
            raise ModelError(
                "Read back from the file, the tokenizer splits text otherwise than the run's. Nothing was exported.",
                remedy="Export the merged model and convert it with llama.cpp's own convert_hf_to_gguf.py.",
            )


# -- writing -------------------------------------------------------------------------------------------


def written(merged: Whole, to: Path, kind: str, split: str, tell: Tell) -> None:
    """The model as GGUF, weight by weight. `split` is llama.cpp's name for how the tokenizer splits text."""
    config, weights = merged.model.config, dict(_weights(merged.model))
    writer = gguf.GGUFWriter(None, config.model_type)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(f"{merged.title} tuned")
    _describe(writer, config)
    writer.add_file_type(gguf.LlamaFileType[f"{'ALL' if kind == 'f32' else 'MOSTLY'}_{kind.upper()}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _describe_tokenizer(writer, merged.tokenizer, config.vocab_size, split)
    types = {name: _type(name, each.shape, kind) for name, each in weights.items()}
    for name, weight in weights.items():
        block, size = gguf.GGML_QUANT_SIZES[types[name]]
        taken = weight.numel() // block * size
        writer.add_tensor_info(name, tuple(weight.shape), np.dtype(np.float32), taken, types[name])
    writer.write_header_to_file(to)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done, total = 0, sum(each.numel() for each in weights.values())
    for name, weight in weights.items():
        tell(f"Writing {kind}", done, total)
        writer.write_tensor_data(gguf.quantize(weight.contiguous().numpy(), types[name]))
        done += weight.numel()
    writer.close()


def _weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Names as GGUF has them, in the model's order; an output layer tied to the embeddings is left out."""
    config = model.config
    names = gguf.get_tensor_name_map(_architecture(config.model_type), config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for name, weight in model.named_parameters():
        if tied and name.startswith("lm_head."):
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise ModelError(
                f"GGUF has no name for the weight {name}.", remedy="Export the merged model; and please report it."
            )
        weight = weight.detach().float()
        if config.model_type == "llama" and ".attn_q." in known:
            weight = _interleaved(weight, config.num_attention_heads)
        elif config.model_type == "llama" and ".attn_k." in known:
            weight = _interleaved(weight, config.num_key_value_heads)
        yield known, weight


def _architecture(model_type: str) -> gguf.MODEL_ARCH:
    return next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == model_type)


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows as llama.cpp turns them for this architecture: each with its neighbour, not with that half a head away."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def _type(name: str, shape: torch.Size, kind: str) -> Type:
    """Of one weight: vectors stay as they are, and rows that no block divides are 16 bits."""
    wanted = Type[kind.upper()]
    if len(shape) == 1:
        return Type.F32
    if name in _EMBEDDINGS and kind in EIGHT_FOR_EMBEDDINGS:
        wanted = Type.Q8_0
    return wanted if shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0 else Type.F16


def _describe(writer: gguf.GGUFWriter, config: Any) -> None:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "llama":
        writer.add_rope_dimension_count(width)


def _describe_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, size: int, split: str) -> None:
    """`size`: rows of the embeddings, of which some may belong to no token."""
    known = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for number in range(size):
        tokens.append(known.get(number, f"[PAD{number}]"))
        if number not in known:
            kinds.append(gguf.TokenType.UNUSED)
        elif number in added:
            kinds.append(gguf.TokenType.CONTROL if added[number].special else gguf.TokenType.USER_DEFINED)
        else:
            kinds.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    for name in ("bos", "eos", "unk", "pad"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    begins = tokenizer("a")["input_ids"][0]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and begins == tokenizer.bos_token_id)
    writer.add_chat_template(tokenizer.chat_template)


# -- what llama.cpp does -------------------------------------------------------------------------------


def quantised(source: Path, to: Path, kind: str, tell: Tell) -> str:
    """The file in another number format, by llama.cpp's own quantiser; a sentence on the formats. Raises ModelError."""
    tell(f"Quantising to {kind}", 0, 0)
    found = quantiser()
    if found == "llama_cpp":
        _by_library(source, to, kind)
    else:
        command = [found, str(source), str(to), kind.upper()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not to.is_file():
            raise _refused(_why(done.stderr or done.stdout, (Path(found), source, to)))
    return _stored(to)


def _why(said: str, files: Sequence[Path]) -> str:
    """The program's own reason, `files` without their folders; its last line only repeats a file's name."""
    for each in files:
        said = said.replace(str(each), each.name)
    lines = said.strip().splitlines() or ["without a word"]
    reason = next((line for line in lines if "failed to quantize: " in line), lines[-1])
    return redacted(reason.partition("failed to quantize: ")[2] or reason)[:_LONGEST]


def _stored(file: Path) -> str:
    """Which formats the weights of a file have, those of most weights first."""
    counts: Counter[str] = Counter()
    rows = set()
    for each in gguf.GGUFReader(file).tensors:
        if len(each.shape) > 1:
            counts[each.tensor_type.name.lower()] += int(each.n_elements)
            rows.add(int(each.shape[0]))
    shares = ", ".join(f"{_share(count / counts.total())} as {name}" for name, count in counts.most_common())
    narrow = ", ".join(f"{each:,}" for each in sorted(rows) if each % BLOCK)
    told = f"llama.cpp stored the weights {shares}."
    if narrow:
        told += f" A k-quant wants rows of a multiple of {BLOCK}; those of {narrow} are held in other formats."
    return told


def _share(of: float) -> str:
    return f"{of:.0%}" if of >= 0.01 else "under 1%"


def _by_library(source: Path, to: Path, kind: str) -> None:
    import llama_cpp  # pyright: ignore[reportMissingImports]

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"].value
    if llama_cpp.llama_model_quantize(str(source).encode(), str(to).encode(), ctypes.byref(params)):
        raise _refused("its log may say more")


def _refused(why: str) -> ModelError:
    return ModelError(f"llama.cpp could not quantise the model: {why}.", remedy="Take q8_0 or q4_0.")
